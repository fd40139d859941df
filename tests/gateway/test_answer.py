import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import EngineFailed, ServingError
from gateway.answer import Answer, Ending
from gateway.dispatch.types import Completed, GenerationRequest
from gateway.text.detokenize import ByteLevelDetokenizer, TokenBytes
from gateway.text.pieces import Piece
from gateway.text.stream import TextStream
from tests.gateway.scripted import tokenizer
from transport.messages.data import Sampling, TokenLogprobs

TABLE = TokenBytes(tokenizer())
FULL = Completed(reason="length", prompt_tokens=3, completion_tokens=9)


class Calling:
    """A parser for which one call is enough; it is complete at the first brace."""

    thinks = False

    def __init__(self) -> None:
        self.over = False

    @property
    def called(self) -> bool:
        return self.over

    def feed(self, text: str) -> Piece:
        self.over = self.over or "}" in text
        return Piece(text)

    def finish(self) -> Piece:
        return Piece()


class Recorder:
    """Both what an answer talks to and whom it tells."""

    def __init__(self, fails: bool = False) -> None:
        self.text = ""
        self.tokens: list[int] = []
        self.ends: list[Ending | ServingError] = []
        self.cancelled: list[str] = []
        self.reasons: list[str] = []
        self.fed = 0
        self._fails = fails

    def models(self):
        return []

    def model(self, name):
        return None

    def submit(self, request, sink) -> str:
        self.sink = sink
        return "1"

    def cancel(self, request_id, reason="cancelled") -> None:
        self.cancelled.append(request_id)
        self.reasons.append(reason)
        counts = {"prompt_tokens": 3, "completion_tokens": self.fed, "cached_tokens": 2}
        self.sink.on_end(Completed(reason=reason, **counts))

    def on_text(self, text: str, tokens: list[int]) -> None:
        assert not self.ends
        if self._fails:
            raise RuntimeError("broken pipe")
        self.text += text
        self.tokens += tokens

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        self.on_text(piece.content, tokens)

    def on_end(self, end: Ending | ServingError) -> None:
        self.ends.append(end)


def answer(recorder: Recorder, *stops: str, parser: Calling | None = None) -> Answer:
    request = GenerationRequest(
        model="demo", tokens=[1, 2, 3], max_tokens=9, sampling=Sampling(), timeout_s=9.0
    )
    stream = TextStream(ByteLevelDetokenizer(TABLE), list(stops))
    return Answer(recorder, request, stream, parser, recorder)


def ids(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False).ids


TOKENS = st.lists(st.integers(0, 3071), max_size=9)
CALLS = st.lists(st.one_of(TOKENS, st.just(FULL), st.just(EngineFailed("x"))), max_size=12)


@settings(deadline=None)
@given(CALLS, st.sampled_from([(), ("a",), ("\n", "e ")]))
def test_whatever_comes_there_is_one_end_at_most_and_nothing_after_it(calls, stops):
    recorder = Recorder()
    made = answer(recorder, *stops)
    for call in calls:
        if isinstance(call, list):
            made.on_tokens(call)
        else:
            made.on_end(call)
    ended = [call for call in calls if not isinstance(call, list)]
    assert len(recorder.ends) == (1 if ended or recorder.cancelled else 0)
    assert not any(stop in recorder.text for stop in stops)


def test_a_stop_text_cancels_and_counts_what_was_generated():
    recorder = Recorder()
    made = answer(recorder, "STOP")
    tokens = ids("Hello STOP and more")
    for token in tokens:
        recorder.fed += not recorder.ends
        made.on_tokens([token])
    assert recorder.text == "Hello "
    assert recorder.cancelled == ["1"]
    assert recorder.reasons == ["stop"]
    (end,) = recorder.ends
    assert end.reason == "stop"
    assert (end.prompt_tokens, end.completion_tokens) == (3, recorder.fed)
    assert end.completion_tokens < len(tokens)
    assert end.cached_tokens == 2


def test_when_the_parser_is_over_the_generation_is():
    recorder = Recorder()
    made = answer(recorder, parser=Calling())
    for token in ids('{"a": 1} and more'):
        recorder.fed += not recorder.ends
        made.on_tokens([token])
    assert recorder.text == '{"a": 1}'
    assert recorder.reasons == ["stop"]
    (end,) = recorder.ends
    assert (end.reason, end.completion_tokens) == ("tool_calls", len(recorder.tokens))


def test_half_a_stop_text_at_the_end_is_ordinary_text():
    recorder = Recorder()
    made = answer(recorder, "STOP")
    made.on_tokens(ids("Hello STO"))
    assert recorder.text == "Hello "
    made.on_end(FULL)
    assert recorder.text == "Hello STO"
    assert recorder.ends[0].reason == "length"


def test_an_output_that_fails_ends_the_generation(caplog):
    recorder = Recorder(fails=True)
    made = answer(recorder)
    made.on_tokens([100])
    assert recorder.cancelled == ["1"]
    assert recorder.ends[0].code == "internal_error"
    assert "broken pipe" in caplog.text


@pytest.mark.parametrize("times", [1, 2])
def test_cancel_ends_it_silently(times):
    recorder = Recorder()
    made = answer(recorder)
    made.on_tokens([100, 101])
    for _ in range(times):
        made.cancel()
    made.on_end(FULL)
    assert recorder.cancelled == ["1"]
    assert recorder.ends == []
    assert recorder.reasons == ["cancelled"]
    assert made.cost == (3, 2)
