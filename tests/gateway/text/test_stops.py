import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.text.stops import StopMatcher
from gateway.text.stream import TextStream

FEW_LETTERS = st.text("ab", max_size=30)
STOPS = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4)


def run(stops: list[str], pieces: list[str]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    out = ""
    for piece in pieces:
        out += matcher.feed(piece)
        if matcher.stopped:
            return out, matcher.found
    return out + matcher.finish(), matcher.found


def expected(stops: list[str], text: str) -> tuple[str, str | None]:
    """By definition: the first end of any stop text, of several the longest."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            longest = max(ending, key=len)
            return text[: end - len(longest)], longest
    return text, None


@settings(deadline=None)
@given(STOPS, FEW_LETTERS, st.integers(1, 7))
def test_any_cut_into_pieces_gives_what_the_definition_says(stops, text, size):
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    assert run(stops, cut) == expected(stops, text)


@settings(deadline=None)
@given(STOPS, FEW_LETTERS)
def test_nothing_of_a_stop_text_gets_out_before_it_is_clear(stops, text):
    matcher = StopMatcher(stops)
    out = ""
    for letter in text:
        out += matcher.feed(letter)
        assert expected(stops, text)[0].startswith(out)
        if matcher.stopped:
            break


def test_ordinary_text_is_not_held_back():
    matcher = StopMatcher(["END"])
    assert matcher.feed("hello") == "hello"
    assert matcher.feed(" E") == " "
    assert matcher.feed("x") == "Ex"


@pytest.mark.parametrize(
    ("stops", "pieces", "out"),
    [
        (["\n\n"], ["a\n", "\nb"], "a"),
        (["STOP", "TOP"], ["xSTOP"], "x"),
        (["abcd", "bc"], ["abc", "d"], "a"),
        (["🚀"], ["go 🚀 now"], "go "),
    ],
)
def test_examples(stops, pieces, out):
    given, found = run(stops, pieces)
    assert given == out
    assert found in stops


def test_without_stops_everything_passes():
    assert run([], ["a", "b"]) == ("ab", None)


def test_nothing_comes_after_a_stop_text_not_even_half_a_character():
    class Halves:
        """Gives a space, and at the end what is left of half a character."""

        def feed(self, tokens):
            return "Hello " if tokens else ""

        def finish(self):
            return "\ufffd"

    stream = TextStream(Halves(), [" "])
    assert stream.feed([1]) == "Hello"
    assert stream.stopped
    assert stream.stop_text == " "
    assert stream.finish() == ""
