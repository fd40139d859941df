import random

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from gateway.text import segments as module
from gateway.text.model import TextModel
from gateway.text.segments import segments_of
from tests.gateway.scripted import DEMO_FOLDER, tokenizer

TEMPLATE = (DEMO_FOLDER / "chat_template.jinja").read_text()
PIECES = [
    "<|im_start|>", "<|im_end|>", "<|im_", "start|>", "<tool_call>", "<", "|", ">", "\n", " ",
    "user", "It's 12 o'clock", "e\u0301", "\u0301", "\u65e5\u672c", "\U0001f600", "a", "  b",
]  # fmt: skip


class Counting:
    """A tokenizer that keeps what it was given to read."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self.read: list[str] = []

    def encode_batch_fast(self, texts, **options):
        self.read += texts
        return self.inner.encode_batch_fast(texts, **options)


@pytest.fixture
def counted():
    segments = segments_of(tokenizer(), TEMPLATE)
    assert segments is not None
    counting = Counting(tokenizer())
    segments._tokenizer = counting
    return segments, counting


def test_any_text_comes_to_what_the_whole_comes_to(counted):
    segments, _ = counted
    whole, chance = tokenizer(), random.Random(1)
    for _ in range(500):
        text = "".join(chance.choices(PIECES, k=chance.randrange(20)))
        assert segments.encode(text, "") == whole.encode(text, add_special_tokens=False).ids


def test_the_next_turn_reads_only_what_is_new(counted):
    segments, counting = counted
    model = TextModel("demo", DEMO_FOLDER)
    turns = [{"role": "user", "content": "Tell me about a fox."}]
    first = segments.encode(model.render(turns), "")
    turns += [{"role": "assistant", "content": "No."}, {"role": "user", "content": "And a hen?"}]
    counting.read.clear()
    again = segments.encode(model.render(turns), "")
    assert counting.read == ["assistant\nNo.", "user\nAnd a hen?"]
    assert again[: len(first) - 2] == first[:-2]  # up to where the assistant began


def test_others_have_their_own(counted):
    segments, counting = counted
    segments.encode("<|im_start|>secret", "a")
    counting.read.clear()
    segments.encode("<|im_start|>secret", "b")
    assert "secret" in counting.read
    counting.read.clear()
    segments.encode("<|im_start|>secret", "a")
    assert counting.read == []


def test_what_was_not_used_for_longest_goes(counted, monkeypatch):
    segments, counting = counted
    monkeypatch.setattr(module, "MAX_CHARS", 3 * (module.ENTRY_CHARS + 5))
    segments._kept.clear()
    segments._chars = 0
    for text in ("one", "two", "one", "three", "four"):
        segments.encode(text, "")
    counting.read.clear()
    for text in ("one", "two"):
        segments.encode(text, "")
    assert counting.read == ["two"]
    assert segments._chars == sum(module.ENTRY_CHARS + len(text) for _, text in segments._kept)


def test_a_very_long_one_is_not_kept(counted, monkeypatch):
    segments, counting = counted
    monkeypatch.setattr(module, "MAX_CHARS", 8000)
    long = "word " * 300
    assert segments.encode(long, "") == segments.encode(long, "")
    assert counting.read == [long, long]


def no_marks(it: Tokenizer) -> None:
    pass


def stripping(it: Tokenizer) -> None:
    it.add_special_tokens([AddedToken("[M]", lstrip=True)])


def one_within_another(it: Tokenizer) -> None:
    it.add_special_tokens(["[M]", "[M]\n"])


def one_that_reaches_into_it(it: Tokenizer) -> None:
    it.add_special_tokens(["[M]", "x["])


def found_after_changes(it: Tokenizer) -> None:
    it.normalizer = normalizers.Lowercase()
    it.add_tokens([AddedToken("[M]", normalized=True)])


@pytest.mark.parametrize(
    "change",
    [no_marks, stripping, one_within_another, one_that_reaches_into_it, found_after_changes],
)
def test_where_it_might_not_hold_all_is_read_as_a_whole(change):
    changed = tokenizer()
    change(changed)
    assert segments_of(changed, "{{ '[M]' }}") is None


@pytest.mark.parametrize(("scheme", "holds"), [("first", False), ("always", True)])
def test_where_the_first_word_is_read_otherwise_all_is_read_as_a_whole(scheme, holds):
    words = Tokenizer(models.WordLevel({"\u2581a": 0, "a": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    words.add_special_tokens(["[M]"])
    assert (segments_of(words, "{{ '[M]' }}") is not None) == holds


def test_a_mark_that_stands_for_itself_will_do():
    changed = tokenizer()
    changed.add_special_tokens(["[M]"])
    assert segments_of(changed, "{{ '[M]' }}") is not None
