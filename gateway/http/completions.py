"""The endpoints of the OpenAI API that continue conversations and texts."""

import functools
import time
from collections.abc import Callable, Sequence
from zlib import crc32

import msgspec

from config.errors import InvalidRequest
from config.version import server_version
from gateway.efforts import check_effort
from gateway.http.buffered import BufferedChoice, chat_body, text_body
from gateway.http.caller import caller_of
from gateway.http.chunks import ChatChunks, L, TextChunks
from gateway.http.logprobs import ChatSpelling, Spelling, TextSpelling, TokenBytes
from gateway.http.schema import Body, ChatBody, CompletionBody, read_body
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.http.shapes import ChatCompletion, Head, TextCompletion
from gateway.http.sse import EventStream
from gateway.ids import random_hex
from gateway.limits.headers import limit_headers
from gateway.service import Prepared, Service
from gateway.text.model import chars_of

MAX_CHOICES = 128


class Completions:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="POST",
                path="/v1/chat/completions",
                handler=self.chat,
                body=ChatBody,
                answer=ChatCompletion,
                summary="Continue a conversation.",
            ),
            Route(
                method="POST",
                path="/v1/completions",
                handler=self.complete,
                body=CompletionBody,
                answer=TextCompletion,
                summary="Continue texts or token ids.",
            ),
        ]

    async def chat(self, request: Request) -> Response | None:
        """`POST /v1/chat/completions`."""
        body = read_body(ChatBody, request.body).with_effort()
        sessions = body.prompt_cache_key, body.user
        caller = caller_of(request, "chat", *sessions, stream=body.stream)
        prepared = await self._service.prepare_chat(body.messages, body.model, body, caller)
        check_effort(body.reasoning_effort, prepared.text, "reasoning_effort")
        n = len(prepared.requests)
        head = _head("chatcmpl", prepared, tier=body.service_tier is not None)
        spellings = _spellings([prepared], ChatSpelling)
        if body.stream:
            chunks = ChatChunks(head, include_usage=_wants_usage(body))
            await self._stream(request, EventStream(chunks, n=n), [prepared], spellings)
            return None
        outputs = [BufferedChoice(spelling) for spelling in spellings]
        answers = self._service.begin([prepared], outputs)
        try:
            content = await chat_body(head, outputs, n)
            return Response(content, headers=limit_headers(answers.allowance))
        finally:
            answers.cancel()

    async def complete(self, request: Request) -> Response | None:
        """`POST /v1/completions`."""
        body = read_body(CompletionBody, request.body)
        sessions = body.prompt_cache_key, body.user
        caller = caller_of(request, "completions", *sessions, stream=body.stream)
        prompts = body.prompts()
        n = body.n or 1
        if len(prompts) * n > MAX_CHOICES:
            raise InvalidRequest(f"n times the prompts may be up to {MAX_CHOICES}", param="n")
        prepared = await self._service.prepare_prompts(prompts, body.model, body, caller)
        head = _head("cmpl", prepared[0])
        spellings = _spellings(prepared, TextSpelling)
        echoes = await self._echoes(prompts, prepared) if body.echo else [""] * len(spellings)
        if body.stream:
            chunks = TextChunks(head, echoes, include_usage=_wants_usage(body))
            await self._stream(request, EventStream(chunks, n=n), prepared, spellings)
            return None
        outputs = list(map(BufferedChoice, spellings, echoes))
        answers = self._service.begin(prepared, outputs)
        try:
            content = await text_body(head, outputs, n)
            return Response(content, headers=limit_headers(answers.allowance))
        finally:
            answers.cancel()

    async def _echoes(
        self, prompts: Sequence[str | list[int]], prepared: list[Prepared]
    ) -> list[str]:
        """What each choice begins with: its prompt."""

        def work() -> list[str]:
            return [
                prompt if isinstance(prompt, str) else one.text.decode(prompt)
                for prompt, one in zip(prompts, prepared, strict=True)
                for _ in one.requests
            ]

        return await self._service.texts.run(chars_of(prompts), work)

    async def _stream(
        self,
        request: Request,
        stream: EventStream[L],
        prepared: list[Prepared],
        spellings: list[Spelling[L] | None],
    ) -> None:
        outputs = [stream.choice(spelling) for spelling in spellings]
        answers = self._service.begin(prepared, outputs)
        try:
            await stream.run(lambda: request.start_events(limit_headers(answers.allowance)))
        finally:
            answers.cancel()


def _wants_usage(body: Body) -> bool:
    return bool(body.stream_options and body.stream_options.include_usage)


def _spellings(
    prepared: list[Prepared], kind: Callable[[TokenBytes], Spelling[L]]
) -> list[Spelling[L] | None]:
    """What writes the log-probabilities of each choice, where they were asked for."""
    return [
        None if request.logprobs is None else kind(one.text.token_bytes)
        for one in prepared
        for request in one.requests
    ]


def _head(prefix: str, prepared: Prepared, *, tier: bool = False) -> Head:
    model = prepared.requests[0].model
    return Head(
        id=f"{prefix}-{random_hex(28)}",
        created=int(time.time()),
        model=model,
        system_fingerprint=_fingerprint(model),
        service_tier="default" if tier else msgspec.UNSET,
    )


@functools.lru_cache(maxsize=256)
def _fingerprint(model: str) -> str:
    """What stays the same while the same seed gives the same answer."""
    return f"fp_{crc32(f'{server_version()} {model}'.encode()):08x}"
