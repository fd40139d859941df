import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from gateway.text.grammar import json_object
from gateway.text.parser import TaggedParser
from gateway.text.pieces import Piece
from gateway.text.thoughts import ThinkTags, ThoughtCounter, ThoughtSplitter, think_tags
from tests.gateway.text.families import STYLES, make_folder, make_model, make_style, parsed, tool

TAGS = ThinkTags("<think>", "</think>")
TURNS = [{"role": "user", "content": "Hi"}]
QWEN3 = (
    "{{ tools }}<tool_call>{% for m in messages %}{{ m.content }}{% endfor %}\nassistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}"
)
R1 = "{{ messages[0].content }}</think><|Assistant|><think>\n"
V31 = "{{ messages[0].content }}{{ '<think>' if thinking else '</think>' }}"
THINKERS = ("<think>", "</think>")


def read(text, *, inside=False, size=None):
    size = size or len(text) or 1
    parser = TaggedParser(ThoughtSplitter(TAGS, inside=inside), None)
    return parsed(parser, [text[at : at + size] for at in range(0, len(text), size)])


@pytest.mark.parametrize("size", [1, 3, None])
@pytest.mark.parametrize(
    ("text", "inside", "reasoning", "content"),
    [
        ("\n<think>\nHm.\n\n</think>\n\nHi", False, "Hm.", "Hi"),
        ("Hm. </thin </think>Hi</think>", True, "Hm. </thin", "Hi</think>"),
        ("<think>\n\n</think>\n\nHi ", False, "", "Hi "),
        ("<think>a\n b", False, "a\n b", ""),
        ("a </thi", True, "a </thi", ""),
        (" <thin", False, "", " <thin"),
        (" <b>", False, "", " <b>"),
        ("A <think> tag</think>", False, "", "A <think> tag</think>"),
        ("", True, "", ""),
    ],
)
def test_thoughts_come_first_and_apart(size, text, inside, reasoning, content):
    assert read(text, inside=inside, size=size) == Piece(content, reasoning)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<th", " ", "\n", "a", "</"]), max_size=8),
    st.integers(1, 9),
    st.booleans(),
)
def test_pieces_do_not_matter(parts, size, inside):
    text = "".join(parts)
    assert read(text, inside=inside, size=size) == read(text, inside=inside)


def test_tags_are_told_by_the_template_or_the_vocabulary():
    assert think_tags("a <think> b </think>", lambda _: False) == TAGS
    assert think_tags("", {"<think>", "</think>"}.__contains__) == TAGS
    assert think_tags("", {"[THINK]", "[/THINK]"}.__contains__) == ThinkTags("[THINK]", "[/THINK]")
    assert think_tags("<think>", lambda _: False) is None


def test_a_prompt_that_opens_the_thoughts_is_noticed(tmp_path):
    model = make_model(tmp_path, R1, THINKERS)
    assert model.capabilities.reasoning
    prompt = model.encode(model.render(TURNS), add_special_tokens=False)
    assert parsed(model.parser(prompt, None), ["a</think>b"]) == Piece("b", "a")
    assert parsed(model.parser([], None), ["a</think>b"]) == Piece("a</think>b")
    grammar = json_object(param="response_format")
    closing = model.encode("</think>", add_special_tokens=False)
    assert model.after_thoughts(grammar, prompt).starts_after == closing
    assert model.after_thoughts(grammar, []).starts_after == []


def test_either_name_says_whether_to_think(tmp_path):
    model = make_model(tmp_path, V31, THINKERS)
    assert model.render(TURNS) == "Hi</think>"
    for name in ("enable_thinking", "thinking"):
        assert model.render(TURNS, arguments={name: True}) == "Hi<think>"


def test_thoughts_are_opened_only_where_a_grammar_must_know(tmp_path):
    model = make_model(tmp_path, QWEN3, THINKERS)
    assert model.render(TURNS).endswith("assistant\n")
    assert model.render(TURNS, constrained=True).endswith("assistant\n<think>\n")
    for on, end in ((True, "<think>\n"), (False, "</think>\n\n")):
        arguments = {"enable_thinking": on}
        assert model.render(TURNS, arguments=arguments, constrained=True).endswith(end)
    plain = make_model(tmp_path, "{{ messages[0].content }}", THINKERS)
    assert plain.render(TURNS, constrained=True) == "Hi"


def test_thoughts_then_a_call_that_must_be_made(tmp_path):
    model = make_model(tmp_path, QWEN3, THINKERS)
    tools = [tool("f", {"n": {"type": "integer"}}, required=["n"])]
    text = model.render(TURNS, tools, constrained=True)
    prompt = model.encode(text, add_special_tokens=False)
    grammar = model.tool_grammar(prompt, tools)
    assert len(grammar.starts_after) == 1
    answer = 'Hm.\n</think>\n\n<tool_call>\n{"name": "f", "arguments": {"n": 1}}\n</tool_call>'
    got = parsed(model.parser(prompt, tools), [answer])
    assert got == Piece("", "Hm.", [["f", '{"n": 1}']])


def takes(folder, grammar, model, text):
    state = LLMatcher(LLTokenizer(str(folder / "tokenizer.json"), eos_token=2), grammar.source)
    tokens = model.encode(text, add_special_tokens=False)
    return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()


def test_where_the_closing_tag_is_many_tokens_the_grammar_holds_the_thoughts_too(tmp_path):
    folder = make_folder(tmp_path, R1)
    model = make_model(tmp_path, R1)
    prompt = model.encode(model.render(TURNS), add_special_tokens=False)
    grammar = model.after_thoughts(json_object(param="response_format"), prompt)
    assert not grammar.starts_after
    assert takes(folder, grammar, model, 'Well, </th.</think>{"a": 1}')
    assert not takes(folder, grammar, model, '{"a": 1}')
    assert not takes(folder, grammar, model, "Well</think>x")


def test_channels(tmp_path):
    model = make_style("harmony", tmp_path)
    text = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
        "<|channel|>commentary<|message|>Let me see.<|end|><|start|>assistant"
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"n": 1}<|call|>'
    )
    wanted = Piece("Let me see.", "Hm.", [["f", '{"n": 1}']])
    for size in (1, 5, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert parsed(model.parser([], [tool("f")]), pieces) == wanted
    final = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"
    assert parsed(model.parser([], None), final + '{"a": 1}') == Piece('{"a": 1}', "Hm.")
    grammar = model.after_thoughts(json_object(param="response_format"), [])
    assert takes(tmp_path, grammar, model, final + '{"a": 1}')
    assert takes(tmp_path, grammar, model, '<|channel|>final<|message|>{"a": 1}')
    assert not takes(tmp_path, grammar, model, '{"a": 1}')
    assert STYLES["harmony"].tokens[0] in model.stream([], parsed=True).feed(
        model.encode(final, add_special_tokens=False)
    )


def test_tokens_of_thoughts_are_counted_with_those_held_back_before_them():
    counter = ThoughtCounter()
    for piece in [Piece(), Piece(reasoning="a"), Piece(), Piece(reasoning="b"), Piece()]:
        counter.add(piece, 1)
    counter.add(Piece("c"), 1)
    counter.add(Piece(reasoning="d"), 0)
    assert counter.count == 4
