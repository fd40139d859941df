"""From a checked question to a running answer; what HTTP and the ZeroMQ protocol share."""

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import Struct

from config.errors import (
    Draining,
    EngineUnavailable,
    InvalidRequest,
    ModelNotFound,
)
from config.limits import Allowance
from config.settings import LimitsSettings, ServerSettings, StructuredOutputSettings
from gateway.answer import Answer, Answers, Dispatch, Output
from gateway.auth.identity import LOCAL, Identity
from gateway.constraints import chat_grammar, constraint, grammar_of, held_by
from gateway.conversation import Conversation, conversation
from gateway.dispatch.types import EmbeddingRequest, GenerationRequest, ModelView, Sink
from gateway.limits.accounts import Accounts
from gateway.models import check_loadable
from gateway.parameters import (
    check_kind,
    check_parameters,
    check_prompt_parameters,
    check_timeout,
    check_tokens,
    room,
    sampling,
    seed_of,
    stop_texts,
    token_limit,
    top_logprobs,
)
from gateway.text.model import TextModel, TextModels
from gateway.text.parser import AnswerParser
from transport.messages.client import ChatMessage, GenerationParameters
from transport.messages.topology import ModelCard
from transport.parameters import clipped

LOADING_POLL_S = 0.05


class Caller(Struct, frozen=True):
    """Who asks, where and when; `endpoint` is for the metrics.

    All that is done for the request has to be done `timeout_s` after `arrived_at` (monotonic).
    `identity` says which models there are for them, whose stored prompts they share and whose
    limits they use up.
    """

    endpoint: str
    session: str | None = None
    timeout_s: float | None = None
    arrived_at: float = msgspec.field(default_factory=time.monotonic)
    identity: Identity = LOCAL
    on_wait: Callable[[], None] | None = None  # called often while a model is loaded for them


class Prepared(Struct, frozen=True):
    """A question that can be answered: tokenised, checked, and it fits.

    It has a request for each answer that is wanted, and they differ in their seeds alone.
    """

    requests: list[GenerationRequest]
    text: TextModel
    stops: list[str]
    parser: Callable[[], AnswerParser | None] = lambda: None  # a new one for each answer

    def begin(self, dispatch: Dispatch, request: GenerationRequest, output: Output) -> Answer:
        """Start one of the answers."""
        parser = self.parser()
        text = self.text.stream(self.stops, parsed=parser is not None)
        return Answer(dispatch, request, text, parser, output)


class Tokenized(Struct, frozen=True):
    """Something as its model sees it; `texts` is what each token stands for, where asked for."""

    card: ModelCard
    tokens: list[int]
    texts: list[str] | None = None
    allowance: Allowance | None = None  # what is left to who asked


class Service:
    """Answers questions with the models of the dispatcher; event loop only."""

    def __init__(
        self,
        dispatch: Dispatch,
        settings: ServerSettings,
        structured: StructuredOutputSettings = StructuredOutputSettings(),  # noqa: B008 - frozen
        limits: LimitsSettings = LimitsSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._dispatch = dispatch
        self._settings = settings
        self._max_schema_bytes = structured.max_schema_bytes
        self._accounts = Accounts(limits)
        self._texts = TextModels()
        self._draining = False

    @property
    def draining(self) -> bool:
        """Nothing new is taken any more."""
        return self._draining

    @property
    def texts(self) -> TextModels:
        """The text sides of the models."""
        return self._texts

    def drain(self) -> None:
        """Refuse every new question from now on."""
        self._draining = True

    def forget_unloaded(self) -> None:
        """Free the text sides of models that are no longer served."""
        self._texts.keep({view.name for view in self._dispatch.models()})

    def close(self) -> None:
        """Free what the text side holds."""
        self._texts.close()

    async def prepare_chat(
        self,
        messages: list[ChatMessage],
        model: str | None,
        asked: GenerationParameters,
        caller: Caller,
    ) -> Prepared:
        """Check, render and tokenise a conversation.

        Raises:
            ServingError: every reason for which it cannot be answered.
        """
        said = conversation(messages, asked, self._max_schema_bytes)
        count = top_logprobs(asked, chat=True)
        card = await self._check(model, asked, caller)
        text = await self._texts.get(card)
        tokens = await self._read(text, said, card.context_tokens, caller)
        request = self._request(card, tokens, asked, caller, "messages")
        grammar = None
        if said.held is not None:
            grammar = await self._texts.aside(
                partial(chat_grammar, text, tokens, said.use, said.form, self._max_schema_bytes)
            )
        if said.held is not None or count is not None:
            request = msgspec.structs.replace(
                request, grammar=grammar, grammar_param=said.held, logprobs=count
            )
        parser = partial(text.parser, tokens, said.tools, parallel=said.parallel)
        return Prepared(_choices(request, asked.n or 1), text, stop_texts(asked), parser)

    async def read_chat(
        self,
        messages: list[ChatMessage],
        model: str | None,
        asked: GenerationParameters,
        caller: Caller,
        *,
        counts: bool = True,
    ) -> Tokenized:
        """The tokens of a conversation's prompt, whether they fit the model's context or not;
        `counts` as a request of its own.

        Raises:
            ServingError: as `prepare_chat`.
        """
        said = conversation(messages, asked, self._max_schema_bytes)
        card = await self._check(model, asked, caller)
        allowance = await self.admit(caller) if counts else None
        tokens = await self._read(await self._texts.get(card), said, sys.maxsize, caller)
        return Tokenized(card, tokens, allowance=allowance)

    async def _read(
        self, text: TextModel, said: Conversation, context_tokens: int, caller: Caller
    ) -> list[int]:
        return await self._texts.conversation(
            text,
            said.turns,
            context_tokens,
            tools=said.tools,
            arguments=said.arguments,
            constrained=said.held is not None,
            salt=caller.identity.salt,
        )

    async def prepare_prompts(
        self,
        prompts: Sequence[str | list[int]],
        model: str | None,
        asked: GenerationParameters,
        caller: Caller,
    ) -> list[Prepared]:
        """Check and tokenise prompts, of which the same is asked.

        Raises:
            ServingError: every reason for which it cannot be answered.
        """
        check_prompt_parameters(asked)
        form = constraint(asked)
        count = top_logprobs(asked, chat=False)
        card = await self._check(model, asked, caller)
        text = await self._texts.get(card)
        tokens = await self._encode(text, card, prompts)
        requests = [self._request(card, it, asked, caller, "prompt") for it in tokens]
        held, grammar = held_by(None, form), None
        if form is not None:
            grammar = await self._texts.aside(partial(grammar_of, form, self._max_schema_bytes))
        if form is not None or count is not None:
            more = {"grammar": grammar, "grammar_param": held, "logprobs": count}
            requests = [msgspec.structs.replace(request, **more) for request in requests]
        stops = stop_texts(asked)
        return [Prepared(_choices(request, asked.n or 1), text, stops) for request in requests]

    async def _encode(
        self, text: TextModel, card: ModelCard, prompts: Sequence[str | list[int]]
    ) -> list[list[int]]:
        """Token ids of prompts, which may be that already."""
        for prompt in prompts:
            if not isinstance(prompt, str):
                room(len(prompt), 1, card.context_tokens, "prompt")  # too many: not looked at
                check_tokens(prompt, card.vocab_size, "prompt")
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        if not texts:
            return list(prompts)  # type: ignore[arg-type]  # all of them are ids
        encoded = iter(await self._texts.prompts(text, texts, card.context_tokens))
        return [next(encoded) if isinstance(prompt, str) else prompt for prompt in prompts]

    def begin(self, prepared: Sequence[Prepared], outputs: Sequence[Output]) -> Answers:
        """Start generating; there is an output for every request of every question, in order.

        Raises:
            Draining: the server began to drain in the meantime.
        """
        self._check_open()
        requests = self._accounts.together([one.requests for one in prepared])
        each = [(one, it) for one, of in zip(prepared, requests, strict=True) for it in of]
        return Answers(
            one.begin(self._dispatch, request, output)
            for (one, request), output in zip(each, outputs, strict=True)
        )

    def embed(
        self, requests: Sequence[EmbeddingRequest], sinks: Sequence[Sink], caller: Caller
    ) -> Callable[[], None]:
        """Start all parts of a client's request, which are charged to it; what is returned takes
        back those that have not ended.

        Raises:
            Draining: the server drains.
        """
        self._check_open()
        charge = self._accounts.charge(caller.identity, streams=0)
        parts: list[list[GenerationRequest]]
        parts = [[msgspec.structs.replace(part, charge=charge)] for part in requests]
        each = zip(self._accounts.together(parts), sinks, strict=True)
        ids = [self._dispatch.submit(part, sink) for (part,), sink in each]

        def take_back() -> None:
            for request_id in ids:
                self._dispatch.cancel(request_id)

        return take_back

    async def admit(self, caller: Caller) -> Allowance | None:
        """Count a request that needs no engine; what is left to those who have limits.

        Raises:
            ServingError: it is more than they may make.
        """
        charge = self._accounts.charge(caller.identity, streams=0)
        return None if charge is None else await self._dispatch.admissions.ask(charge)

    def models(self, identity: Identity = LOCAL) -> list[ModelView]:
        """All models that are served and that they may use."""
        return [view for view in self._dispatch.models() if identity.may_use(view.name)]

    def model(self, name: str | None, identity: Identity = LOCAL) -> ModelView:
        """The model that is meant; no name will do when there is only one.

        One that they may not use is not there for them, and its name is not told.

        Raises:
            InvalidRequest: there are several, and none was named.
            ModelNotFound: there is none of this name.
            EngineUnavailable: nothing at all is served (yet).
        """
        view = self._dispatch.model(name) if name is not None else None
        if view is not None and identity.may_use(view.name):
            return view
        if not self._dispatch.models():
            raise EngineUnavailable("no model is served yet", param="model")
        if name is not None:
            raise ModelNotFound(f"the model '{clipped(name)}' is not served here", param="model")
        views = self.models(identity)
        if not views:
            raise ModelNotFound("none of the models served here is for this key", param="model")
        if len(views) > 1:
            names = ", ".join(sorted(view.name for view in views))
            raise InvalidRequest(f"name one of the models: {names}", param="model")
        return views[0]

    async def card(self, name: str | None, caller: Caller) -> ModelCard:
        """What is known of a model that can be asked; one that is loading is waited for, and one
        that is not loaded is wanted.

        Raises:
            ServingError: as `model`, or no engine of it was up within the caller's time.
        """
        deadline_at = caller.arrived_at + self.timeout_s(caller)
        while (view := self.model(name, caller.identity)).card is None:
            self._check_open()
            check_loadable(view)
            if view.state == "unloaded":
                self._dispatch.want(view.name)
            if time.monotonic() >= deadline_at:
                raise EngineUnavailable(f"the model '{view.name}' is {view.state}", param="model")
            if caller.on_wait is not None:
                caller.on_wait()
            await asyncio.sleep(LOADING_POLL_S)
        return view.card

    def timeout_s(self, caller: Caller) -> float:
        """How long their request may take."""
        limit_s, wanted_s = self._settings.request_timeout_s, caller.timeout_s
        return wanted_s if wanted_s and wanted_s < limit_s else limit_s

    def _check_open(self) -> None:
        if self._draining:
            raise Draining("the server is shutting down", retry_after_s=1.0)

    async def _check(
        self, model: str | None, asked: GenerationParameters, caller: Caller
    ) -> ModelCard:
        self._check_open()
        check_parameters(asked)
        check_timeout(caller.timeout_s)
        card = await self.card(model, caller)
        self._check_open()
        check_kind(card, "generation")
        check_tokens(asked.stop_token_ids or (), card.vocab_size, "stop_token_ids")
        return card

    def _request(
        self,
        card: ModelCard,
        tokens: list[int],
        asked: GenerationParameters,
        caller: Caller,
        param: str,
    ) -> GenerationRequest:
        wanted = token_limit(asked) or self._settings.default_max_tokens
        return GenerationRequest(
            model=card.name,
            tokens=tokens,
            max_tokens=room(len(tokens), wanted, card.context_tokens, param),
            sampling=sampling(asked, card.vocab_size),
            timeout_s=self.timeout_s(caller),
            arrived_at=caller.arrived_at,
            stop_token_ids=asked.stop_token_ids or [],
            ignore_eos=bool(asked.ignore_eos),
            session=caller.session,
            salt=caller.identity.salt,
            endpoint=caller.endpoint,
            charge=self._accounts.charge(caller.identity),
            priority=asked.priority or 0,
        )


def _choices(request: GenerationRequest, n: int) -> list[GenerationRequest]:
    """`n` requests that go to one engine, where the prompt is read once."""
    if n == 1:
        return [request]
    session = request.session or f"choices-{secrets.token_hex(8)}"
    return [
        msgspec.structs.replace(
            request,
            session=session,
            shared_tokens=len(request.tokens),
            sampling=msgspec.structs.replace(
                request.sampling, seed=seed_of(request.sampling.seed, choice)
            ),
        )
        for choice in range(n)
    ]
