import asyncio
import json
import shutil
import threading
from pathlib import Path

import pytest

from config.errors import ContextTooLong, InvalidRequest, ModelLoadFailed
from gateway.text.model import CHARS_PER_TOKEN, LONG_TEXT_CHARS, TextModel, TextModels, chars_of
from tests.gateway.scripted import DEMO_FOLDER, demo_card

TURNS = [{"role": "user", "content": "Hi"}]


def folder_with(tmp_path: Path, **config: object) -> Path:
    shutil.copy(DEMO_FOLDER / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def test_the_demo_model_renders_and_encodes():
    model = TextModel("demo", DEMO_FOLDER)
    prompt = model.render(TURNS)
    assert prompt.endswith("<|im_start|>assistant\n")
    tokens = model.encode(prompt, add_special_tokens=False)
    assert "".join(model.texts(tokens)) == prompt


def test_a_template_may_lie_in_the_tokenizer_s_config(tmp_path):
    folder = folder_with(
        tmp_path, chat_template="{{ eos_token }}!", eos_token={"content": "<|im_end|>"}
    )
    assert TextModel("m", folder).render(TURNS) == "<|im_end|>!"


def test_of_named_templates_the_default_is_taken(tmp_path):
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    assert TextModel("m", folder_with(tmp_path, chat_template=named)).render(TURNS) == "d"


def test_the_jinja_file_goes_first(tmp_path):
    folder = folder_with(tmp_path, chat_template="config")
    (folder / "chat_template.jinja").write_text("file")
    assert TextModel("m", folder).render(TURNS) == "file"


def test_without_a_template_conversations_are_refused(tmp_path):
    model = TextModel("plain", folder_with(tmp_path))
    with pytest.raises(InvalidRequest, match="'plain' has no chat template"):
        model.render(TURNS)


def test_without_a_tokenizer_the_model_cannot_be_served(tmp_path):
    with pytest.raises(ModelLoadFailed, match=r"'m' has no tokenizer\.json"):
        TextModel("m", tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named_and_the_rest_is_logged(tmp_path, name, caplog):
    folder = folder_with(tmp_path)
    (folder / name).write_text("{")
    with pytest.raises(ModelLoadFailed) as caught:
        TextModel("m", folder)
    assert caught.value.message == f"{name} of model 'm' is damaged"
    assert str(folder / name) in caplog.text


def test_truncation_of_the_tokenizer_s_file_does_not_apply(tmp_path):
    folder = folder_with(tmp_path)
    given = json.loads((folder / "tokenizer.json").read_text())
    given["truncation"] = {
        "max_length": 2,
        "stride": 0,
        "strategy": "LongestFirst",
        "direction": "Right",
    }
    (folder / "tokenizer.json").write_text(json.dumps(given))
    assert len(TextModel("m", folder).encode("one two three four", add_special_tokens=True)) > 2


def test_a_model_is_read_once_for_all_who_wait():
    async def run():
        models = TextModels()
        first, second = await asyncio.gather(models.get(demo_card()), models.get(demo_card()))
        assert first is second
        models.keep({"demo"})
        assert await models.get(demo_card()) is first
        models.keep(set())
        assert await models.get(demo_card()) is not first
        models.close()

    asyncio.run(run())


def test_a_failed_read_is_tried_again(tmp_path):
    async def run():
        models = TextModels()
        card = demo_card(folder=tmp_path)
        with pytest.raises(ModelLoadFailed):
            await models.get(card)
        folder_with(tmp_path)
        assert (await models.get(card)).encode("a", add_special_tokens=False)
        models.close()

    asyncio.run(run())


def test_another_folder_under_the_same_name_is_another_model(tmp_path):
    async def run():
        models = TextModels()
        first = await models.get(demo_card())
        assert await models.get(demo_card(folder=folder_with(tmp_path))) is not first
        models.close()

    asyncio.run(run())


class Watched:
    """A text side that notes on which threads it works."""

    def __init__(self) -> None:
        self.model = TextModel("demo", DEMO_FOLDER)
        self.threads: set[str] = set()

    def __getattr__(self, name: str):
        def call(*args, **kwargs):
            self.threads.add(threading.current_thread().name.split("_")[0])
            return getattr(self.model, name)(*args, **kwargs)

        return call


def in_models(work):
    """What `work(models, watched)` gives, and the threads on which the text was worked on."""

    async def run():
        models, watched = TextModels(), Watched()
        done = await work(models, watched)
        models.close()
        return done, watched.threads

    return asyncio.run(run())


LONG = "word " * LONG_TEXT_CHARS
MANY = TURNS * 200  # little text, but much to render


def calling(arguments: object) -> list[dict]:
    function = {"name": "f", "arguments": arguments}
    call = {"id": "1", "type": "function", "function": function}
    return [*TURNS, {"role": "assistant", "content": "", "tool_calls": [call]}]


def tools(schema: dict) -> list[dict]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


WIDE = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(200)}}


@pytest.mark.parametrize(("text", "thread"), [(LONG, "text"), ("word", "MainThread")])
def test_long_texts_are_encoded_alike_and_elsewhere(text, thread):
    plain = TextModel("demo", DEMO_FOLDER).encode(text, add_special_tokens=False)
    tokens, threads = in_models(lambda it, side: it.prompts(side, [text], 10**6))
    assert (tokens, threads) == ([plain], {thread})


@pytest.mark.parametrize(
    ("turns", "more", "thread"),
    [
        (TURNS, {}, "MainThread"),
        (calling({"a": 1}), {"tools": tools({"type": "object"})}, "MainThread"),
        (TURNS, {"arguments": {"enable_thinking": False}}, "MainThread"),
        (MANY, {}, "text"),
        ([{"role": "user", "content": LONG}], {}, "text"),
        ([*TURNS, {"role": "assistant", "content": "", "reasoning_content": LONG}], {}, "text"),
        (calling({"a": LONG}), {}, "text"),
        (calling({"a": list(range(1000))}), {}, "text"),
        (calling(LONG), {}, "text"),
        (TURNS, {"tools": tools(WIDE)}, "text"),
        (TURNS, {"arguments": {"x": LONG}}, "text"),
    ],
)
def test_long_conversations_are_rendered_alike_and_elsewhere(turns, more, thread):
    model = TextModel("demo", DEMO_FOLDER)
    tokens, threads = in_models(lambda it, side: it.conversation(side, turns, 10**6, **more))
    assert tokens == model.encode(model.render(turns, **more), add_special_tokens=False)
    assert threads == {thread}


def test_many_short_prompts_are_one_long_text():
    prompts = ["word " * 100] * 20
    tokens, threads = in_models(lambda it, side: it.prompts(side, prompts, 10**6))
    assert threads == {"text"}
    assert len(tokens) == 20
    assert all(it == tokens[0] for it in tokens)


def test_what_is_too_long_anyway_is_not_looked_into():
    class Counted(list):
        looked = 0

        def __iter__(self):
            type(self).looked += 1
            return super().__iter__()

    assert chars_of([Counted(["x"] * 10_000) for _ in range(10)]) >= LONG_TEXT_CHARS
    assert Counted.looked == 0
    assert chars_of([Counted(["x"] * 10) for _ in range(10)]) < LONG_TEXT_CHARS
    assert Counted.looked == 10


def test_a_text_far_over_the_context_is_refused_by_its_beginning():
    model = TextModel("demo", DEMO_FOLDER)
    seen = []
    encode = model.encode
    model.encode = lambda text, **options: seen.append(len(text)) or encode(text, **options)
    for text in ("word " * 10**6, "x" * 5 * 10**6):
        with pytest.raises(ContextTooLong, match="2048 tokens, and the prompt has more than 2112"):
            model.encode_prompt(text, "prompt", 2048)
    assert max(seen) <= 2048 * CHARS_PER_TOKEN


def test_a_long_text_of_few_tokens_is_encoded_whole():
    model = TextModel("demo", DEMO_FOLDER)
    text = " " * 4000 + "word"
    whole = model.encode(text, add_special_tokens=False)
    assert model.encode_prompt(text, "prompt", 8 * len(whole)) == whole
