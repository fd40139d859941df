import pytest

from config.errors import InvalidRequest, ModelLoadFailed
from gateway.text.template import ChatTemplate

TURNS = [{"role": "user", "content": "Hi <&> ü"}]


def render(source: str, **tokens: str) -> str:
    return ChatTemplate(source, tokens).render(TURNS)


def test_messages_and_special_tokens_are_variables():
    source = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"
    assert render(source, bos_token="<s>") == "<s>user: Hi <&> ü"


def test_blocks_leave_no_blank_lines():
    assert render("  {% if true %}\nyes\n  {% endif %}\n") == "yes\n"


def test_tojson_keeps_characters_as_they_are():
    assert render("{{ messages[0].content | tojson }}") == '"Hi <&> ü"'
    assert render("{{ {'a': [1]} | tojson(indent=1) }}") == '{\n "a": [\n  1\n ]\n}'


def test_loop_controls_and_generation_blocks_are_known():
    source = "{% for n in [1, 2, 3] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}"
    assert render(source) == "1"
    assert render("{% generation %}said{% endgeneration %}") == "said"


def test_the_date_can_be_asked_for():
    assert render("{{ strftime_now('%Y') }}").isdigit()


def test_what_the_template_raises_is_the_client_s_to_read():
    with pytest.raises(InvalidRequest, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].content + 1 }}",
        "{{ nothing.at.all }}",
    ],
)
def test_a_template_cannot_break_out_or_break_us(source):
    with pytest.raises(InvalidRequest):
        render(source)


def test_a_damaged_template_is_the_model_s_fault():
    with pytest.raises(ModelLoadFailed, match=r"template is damaged$"):
        ChatTemplate("{% if %}", {})
