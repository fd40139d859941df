"""Between users' programs and a gateway: the ZeroMQ client protocol, see docs/zmq-protocol.md.

The client chooses `request_id`, unique among its running requests. Every request ends in exactly
one message: `Finished`, `Models`, `Tokens` or `Failed`.
"""

from typing import Any, Literal

from msgspec import Struct

from transport.messages.data import TokenLogprobs
from transport.messages.topology import ModelState

CLIENT_PROTOCOL = 1  # grows with every change that an older client would misread


class ContentPart(Struct, frozen=True):
    """A part of a message; understood so far are the types `text` and `refusal`."""

    type: str
    text: str | None = None
    refusal: str | None = None


class FunctionCall(Struct, frozen=True):
    """Which function, and its arguments as a JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, frozen=True):
    """A call that the assistant made."""

    id: str
    function: FunctionCall
    type: str = "function"
    index: int | None = None  # as in streams, for clients that send those back


class ChatMessage(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One turn of a conversation.

    The fields after `name` are what clients echo from earlier answers; with the last ones, which
    OpenAI's client, LiteLLM and Open WebUI add to them, nothing is done.
    """

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None
    function_call: dict[str, Any] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None  # what a `tool` message answers
    reasoning_content: str | None = None  # what the assistant thought
    reasoning: str | None = None  # its other name
    parsed: Any = None
    reasoning_details: Any = None
    reasoning_items: Any = None
    thinking_blocks: Any = None
    provider_specific_fields: Any = None


class GenerationParameters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to generate, whichever way a request comes in; None leaves the choice to the server.

    What each may be is in docs/zmq-protocol.md and checked by the gateway. `guided_*` are other
    names of what `structured_outputs` holds.
    """

    max_tokens: int | None = None
    max_completion_tokens: int | None = None  # its newer name, which counts
    temperature: float | None = None  # 0: greedy
    top_p: float | None = None
    top_k: int | None = None  # 0: all
    min_p: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int | str, float] | None = None  # by token id
    seed: int | None = None
    n: int | None = None
    logprobs: bool | int | None = None  # conversations: whether; prompts: how many best ones
    top_logprobs: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    priority: int | None = None  # lower goes earlier
    response_format: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class Parameters(GenerationParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, and what HTTP has in its headers."""

    timeout_s: float | None = None
    session: str | None = None  # requests of one session prefer one engine


class ClientHello(Struct, frozen=True, tag="hello"):
    """Optional first message; answered with `Welcome`."""

    client: str = ""  # a name for people to read


class Chat(Struct, frozen=True, tag="chat", omit_defaults=True):
    """Answer a conversation."""

    request_id: str
    messages: list[ChatMessage]
    model: str | None = None  # may be left out when one model is served
    parameters: Parameters = Parameters()


class Complete(Struct, frozen=True, tag="complete", omit_defaults=True):
    """Continue a text, or token ids."""

    request_id: str
    prompt: str | list[int]
    model: str | None = None
    parameters: Parameters = Parameters()


class CancelRequest(Struct, frozen=True, tag="cancel"):
    """Stop a request; it ends in `Finished("cancelled")` unless it just ended."""

    request_id: str


class ListModels(Struct, frozen=True, tag="list_models"):
    """Answered with `Models`."""

    request_id: str


class Tokenize(Struct, frozen=True, tag="tokenize", omit_defaults=True):
    """Answered with `Tokens`."""

    request_id: str
    text: str
    model: str | None = None
    add_special_tokens: bool = False


Question = Chat | Complete | ListModels | Tokenize
ToGateway = ClientHello | Chat | Complete | CancelRequest | ListModels | Tokenize


class Welcome(Struct, frozen=True, tag="welcome"):
    """Who answers, and which protocol it speaks."""

    protocol: int
    server_version: str
    gateway_id: str


class ToolCallPart(Struct, frozen=True, omit_defaults=True):
    """A part of a call; `id` and `name` come once, with its first part."""

    index: int  # counts the calls of an answer
    arguments: str  # the next part of a JSON text
    id: str | None = None
    name: str | None = None


class Chunk(Struct, frozen=True, tag="chunk", omit_defaults=True):
    """More of the answer.

    `tokens` may run ahead of `text`, which is held back while it may still turn out to be half a
    character or the beginning of a stop text. `logprobs` has an entry for each token where they
    were asked for.
    """

    request_id: str
    text: str
    tokens: list[int]
    index: int = 0  # of the answer, where several were asked for
    logprobs: list[TokenLogprobs] = []
    reasoning: str = ""
    tool_calls: list[ToolCallPart] = []


AnswerEnd = Literal["stop", "length", "tool_calls", "cancelled"]


class Finished(Struct, frozen=True, tag="finished", omit_defaults=True):
    """The answer is complete, or all answers are; the counts are of all of them together."""

    request_id: str
    reason: AnswerEnd  # of the first answer
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasons: list[AnswerEnd] = []  # of each answer, where several were asked for


class Failed(Struct, frozen=True, tag="failed", omit_defaults=True):
    """There is no (further) answer; `code` is one of `config.errors`.

    `request_id` is empty when the frame it answers was not readable, and, with the code
    `cancelled`, when the client did not read its messages for so long that all its requests are
    over.
    """

    request_id: str
    code: str
    message: str
    retryable: bool
    param: str | None = None
    retry_after_s: float | None = None


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model as clients see it; what its card says is None until an engine of it was up."""

    name: str
    state: ModelState
    replicas: int
    ready_replicas: int
    context_tokens: int | None = None
    architecture: str | None = None
    created_time: int | None = None


class Models(Struct, frozen=True, tag="models"):
    """All models that are served."""

    request_id: str
    models: list[ModelInfo]


class Tokens(Struct, frozen=True, tag="tokens"):
    """A text as the model sees it: ids, and what each stands for."""

    request_id: str
    tokens: list[int]
    texts: list[str]


class Beat(Struct, frozen=True, tag="beat"):
    """Sent each second to a client with running requests, so that both notice a dead peer."""


FromGateway = Welcome | Chunk | Finished | Failed | Models | Tokens | Beat
