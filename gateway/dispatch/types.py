"""What the dispatcher takes and gives; everything here lives on the gateway's event loop."""

from typing import Protocol

from msgspec import Struct

from config.errors import ServingError
from config.limits import Allowance
from transport.messages.control import Charge
from transport.messages.data import FinishReason, Grammar, Sampling, TokenLogprobs
from transport.messages.topology import ModelCard, ModelState


class GenerationRequest(Struct, frozen=True, kw_only=True):
    """One sequence to generate, validated and tokenised."""

    model: str
    tokens: list[int]
    max_tokens: int
    sampling: Sampling
    timeout_s: float
    arrived_at: float | None = None  # monotonic, the time counts from here; None: from `submit`
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    session: str | None = None
    shared_tokens: int = 0  # so many of the first ones, others of this session bring at once
    salt: str = ""  # of whom the prompt is: stored prefixes are not shared with others
    grammar: Grammar | None = None
    grammar_param: str | None = None  # the client's parameter that it was made from
    logprobs: int | None = None  # of how many best tokens; None: not asked
    endpoint: str = "other"  # where it came in, for the metrics
    charge: Charge | None = None  # whose limits it counts against; None: there are none
    priority: int = 0  # lower goes earlier


class EmbeddingRequest(GenerationRequest, frozen=True, kw_only=True):
    """Texts to make vectors of: `tokens` are those of all, one after the other, `lengths` how many
    each has. It ends in `CompletedEmbedding`; until then an engine may die over it, and it is done
    anew elsewhere.
    """

    lengths: list[int]
    dimensions: int = 0  # of each vector, the first ones; 0: all
    ahead_tokens: int = 0  # of the same client's request, submitted before
    max_tokens: int = 1  # there is something left to do until it ends
    sampling: Sampling = Sampling()


class Completed(Struct, frozen=True, kw_only=True):
    """How a sequence ended well; counts are over all attempts."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int  # the stop token included
    cached_tokens: int = 0


class CompletedEmbedding(Completed, frozen=True, kw_only=True):
    """The end of an `EmbeddingRequest`; see `transport.messages.data.Embedded`."""

    vectors: bytes


class Sink(Protocol):
    """Receives one sequence, on the event loop; must return at once and not raise."""

    def on_allowed(self, allowance: Allowance) -> None:
        """The limits let it through, and so much is left: before the first token, only of a
        request with a `charge`, and again if an engine turned it away."""

    def on_tokens(self, tokens: list[int], logprobs: list[TokenLogprobs] = ...) -> None:
        """New tokens, in order, each exactly once even when an engine died in between.

        `logprobs` comes with an entry for each token where they were asked for, else not at all.
        """

    def on_end(self, end: Completed | ServingError) -> None:
        """The last call, exactly once."""


class ModelView(Struct, frozen=True, kw_only=True):
    """A model as the gateway knows it; `card` is known once an engine of it was up.

    What its files say, the last two, may be known before.
    """

    name: str
    state: ModelState
    replicas: int
    ready_replicas: int
    card: ModelCard | None
    reason: str = ""  # why it is failed, or why there is no room to load it
    retry_after_s: float | None = None  # failed or no room: ask again then
    context_tokens: int | None = None
    created_time: int | None = None


class Generation(Struct, frozen=True, kw_only=True):
    """What became of one sequence, for the metrics; times are as the gateway saw them."""

    model: str
    endpoint: str
    code: str  # "stop", "length", "cancelled" or the code of an error
    prompt_tokens: int
    completion_tokens: int
    duration_s: float
    route_s: float | None = None  # from asking for an engine to the lease, the last time
    first_token_s: float | None = None  # from submit
    mean_gap_s: float | None = None  # between tokens, recoveries included
    max_gap_s: float | None = None  # between tokens of one engine


class Observer(Protocol):
    """Hears of every sequence, on the event loop."""

    def started(self) -> None:
        """A sequence came in; exactly one `ended` follows."""

    def recovered(self, model: str, pause_s: float) -> None:
        """A sequence that lost its engine has its next token."""

    def ended(self, generation: Generation) -> None:
        """A sequence is over."""
