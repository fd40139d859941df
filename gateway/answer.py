"""One answer on its way: tokens come from the dispatcher, text goes to whoever asked."""

import logging
from collections.abc import Iterable
from typing import Literal, Protocol

from msgspec import Struct

from config.errors import Cancelled, ServingError
from config.limits import Allowance
from gateway.dispatch.admissions import Admissions
from gateway.dispatch.types import Completed, GenerationRequest, ModelView, Sink
from gateway.text.parser import AnswerParser
from gateway.text.pieces import Piece
from gateway.text.stream import TextStream
from gateway.text.thoughts import ThoughtCounter
from transport.messages.data import FinishReason, TokenLogprobs

log = logging.getLogger(__name__)
NO_LOGPROBS: list[TokenLogprobs] = []  # never changed


class Dispatch(Protocol):
    """What answers need of `gateway.dispatch.dispatcher.Dispatcher`; event loop only."""

    admissions: Admissions

    def models(self) -> list[ModelView]:
        """All models that are served."""

    def model(self, name: str) -> ModelView | None:
        """One of them."""

    def want(self, name: str) -> None:
        """Somebody waits for a model that is not loaded."""

    def submit(self, request: GenerationRequest, sink: Sink) -> str:
        """Begin; the sink hears of it from the next loop turn on."""

    def cancel(self, request_id: str, reason: FinishReason = "cancelled") -> None:
        """Take a request back, or say that it has all it needs; unknown ones are ignored.

        The sink's `on_end` comes before this returns.
        """


class Ending(Struct, frozen=True, kw_only=True):
    """How an answer ended well."""

    reason: Literal["stop", "length", "tool_calls"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int | None = None  # None where thoughts are not told apart
    stop_text: str | None = None  # the one of the client's that ended it


class Output(Protocol):
    """Takes one answer, on the event loop; must return at once."""

    def on_text(self, text: str, tokens: list[int]) -> None:
        """More text; it may be empty while it is held back, and then tokens are not."""

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """The same in place of `on_text` for answers that hold more than plain text.

        `logprobs` has an entry for each token where they were asked for. Pieces may be empty.
        """

    def on_end(self, end: Ending | ServingError) -> None:
        """The last call, exactly once, unless the answer was cancelled."""


class Answer:
    """A `Sink` that turns tokens into text and ends the answer at a stop text.

    With a `parser` thoughts and tool calls are told apart from the answer's own words, and the
    answer ends when the parser says that it is over.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        request: GenerationRequest,
        text: TextStream,
        parser: AnswerParser | None,
        output: Output,
    ) -> None:
        self._dispatch = dispatch
        self._text, self._feed = text, text.feed
        self._parser = parser
        self._thoughts = ThoughtCounter() if parser is not None and parser.thinks else None
        self._plain = parser is None and request.logprobs is None
        self._may_stop = parser is not None or text.has_stops
        self._output = output
        self._prompt_tokens = len(request.tokens)
        self._completion_tokens = 0
        self._ended = False
        self.allowance: Allowance | None = None  # known with the first token
        self._request_id = dispatch.submit(request, self)

    def cancel(self) -> None:
        """Stop generating; nothing is put out any more. Does nothing after the end."""
        if not self._ended:
            self._ended = True
            self._dispatch.cancel(self._request_id)

    @property
    def cost(self) -> tuple[int, int]:
        """Prompt and completion tokens so far."""
        return self._prompt_tokens, self._completion_tokens

    def on_allowed(self, allowance: Allowance) -> None:
        """See `Sink`."""
        self.allowance = allowance

    def on_tokens(self, tokens: list[int], logprobs: list[TokenLogprobs] = NO_LOGPROBS) -> None:
        """See `Sink`."""
        if self._ended:
            return
        try:
            self._completion_tokens += len(tokens)
            text = self._feed(tokens)
            if self._plain:
                self._output.on_text(text, tokens)
            else:
                piece = self._parsed(text)
                if self._thoughts is not None:
                    self._thoughts.add(piece, len(tokens))
                self._output.on_piece(piece, tokens, logprobs)
        except Exception:  # a sink must not raise: the dispatcher serves others as well
            log.exception("an answer could not be written")
            self.cancel()
            self._output.on_end(ServingError("the server failed on this request"))
            return
        if self._may_stop and self._stopped:
            self._dispatch.cancel(self._request_id, "stop")

    def on_end(self, end: Completed | ServingError) -> None:
        """See `Sink`."""
        if self._ended:
            return
        self._ended = True
        self._output.on_end(self._finish(end) if isinstance(end, Completed) else end)

    @property
    def _stopped(self) -> bool:
        return self._text.stopped or (self._parser is not None and self._parser.over)

    def _parsed(self, text: str) -> Piece:
        return Piece(text) if self._parser is None else self._parser.feed(text)

    def _finish(self, end: Completed) -> Ending | ServingError:
        if end.reason == "cancelled":
            return Cancelled("the request was cancelled")
        try:
            self._put_rest()
        except Exception:
            log.exception("the end of an answer could not be written")
            return ServingError("the server failed on this request")
        return Ending(
            reason=self._reason(end.reason),
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            cached_tokens=end.cached_tokens,
            reasoning_tokens=self._reasoning_tokens(end),
            stop_text=self._text.stop_text,
        )

    def _put_rest(self) -> None:
        rest = self._text.finish()
        if self._plain:
            if rest:
                self._output.on_text(rest, [])
            return
        for piece in self._last_pieces(rest):
            if piece:
                if self._thoughts is not None:
                    self._thoughts.add(piece, 0)
                self._output.on_piece(piece, [], [])

    def _last_pieces(self, rest: str) -> list[Piece]:
        if self._parser is None:
            return [Piece(rest)]
        return [self._parser.feed(rest), self._parser.finish()]

    def _reasoning_tokens(self, end: Completed) -> int | None:
        return min(self._thoughts.count, end.completion_tokens) if self._thoughts else None

    def _reason(self, told: Literal["stop", "length"]) -> Literal["stop", "length", "tool_calls"]:
        """How it ended; the last words, held back so far, may have had a stop text in them."""
        if told == "length" and not self._text.stopped:
            return "length"
        return "tool_calls" if self._parser is not None and self._parser.called else "stop"


class Answers:
    """The answers to one request: begun together, and taken back together."""

    def __init__(self, begin: Iterable[Answer]) -> None:
        """`begin` begins each when it is asked for it."""
        self._answers: list[Answer] = []
        try:
            for answer in begin:
                self._answers.append(answer)
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop those that still generate."""
        for answer in self._answers:
            answer.cancel()

    @property
    def allowance(self) -> Allowance | None:
        """What limits left to the client; None before the first token, and without limits.

        `gateway.limits.headers.limit_headers` has it for HTTP.
        """
        return self._answers[0].allowance if self._answers else None

    @property
    def cost(self) -> tuple[int, int]:
        """Prompt and completion tokens so far; the prompt, which they share, is counted once."""
        costs = [answer.cost for answer in self._answers]
        return costs[0][0], sum(completion for _, completion in costs)
