"""The endpoint `/v1/embeddings`."""

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain

import msgspec

from config.errors import InvalidRequest
from gateway.dispatch.types import EmbeddingRequest
from gateway.embeddings.parts import Collected, Part, parts_of
from gateway.embeddings.schema import (
    Embedding,
    EmbeddingsBody,
    EmbeddingsReply,
    EmbeddingsUsage,
    read_embeddings_body,
)
from gateway.embeddings.tokens import chars_in, tokens_of
from gateway.http.caller import caller_of
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.limits.headers import limit_headers
from gateway.parameters import check_kind, check_timeout
from gateway.service import Caller, Service
from gateway.text.model import LONG_TEXT_CHARS
from transport.messages.topology import ModelCard

MAX_BYTES_AT_ONCE = 256 * 1024  # of vectors; more are written aside
_encode = msgspec.json.Encoder().encode


def routes(service: Service) -> list[Route]:
    """All of them."""
    return [
        Route(
            method="POST",
            path="/v1/embeddings",
            handler=Embeddings(service).create,
            body=EmbeddingsBody,
            answer=EmbeddingsReply,
            summary="Make vectors of texts.",
        )
    ]


class Embeddings:
    """The handler; its task is cancelled when the client goes away."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """`POST /v1/embeddings`."""
        body = read_embeddings_body(request.body)
        inputs = body.inputs()
        caller = caller_of(request, "embeddings")
        check_timeout(caller.timeout_s)
        card = await self._service.card(body.model, caller)
        check_kind(card, "embedding")
        _check_dimensions(body.dimensions, card)
        text = await self._service.texts.get(card)
        tokenise = partial(tokens_of, inputs, text, card, body.truncate_prompt_tokens)
        long = chars_in(inputs) >= LONG_TEXT_CHARS
        tokens = await self._service.texts.aside(tokenise) if long else tokenise()
        collected = Collected(len(tokens))
        parts = list(parts_of([len(one) for one in tokens]))
        take_back = self._service.embed(
            list(self._requests(parts, tokens, card, body.dimensions, caller)),
            [Part(collected, places) for places in parts],
            caller,
        )
        try:
            vectors = await collected.all()
        finally:
            take_back()
        write = partial(_reply, vectors, card.name, sum(map(len, tokens)), body.encoding_format)
        large = sum(map(len, vectors)) > MAX_BYTES_AT_ONCE
        reply = await self._service.texts.aside(write) if large else write()
        return Response(reply, headers=limit_headers(collected.allowance))

    def _requests(
        self,
        parts: list[list[int]],
        tokens: list[list[int]],
        card: ModelCard,
        dimensions: int | None,
        caller: Caller,
    ) -> Iterator[EmbeddingRequest]:
        ahead = 0
        for places in parts:
            part = [tokens[place] for place in places]
            request = EmbeddingRequest(
                model=card.name,
                tokens=list(chain.from_iterable(part)),
                lengths=[len(one) for one in part],
                dimensions=dimensions or 0,
                ahead_tokens=ahead,
                timeout_s=self._service.timeout_s(caller),
                arrived_at=caller.arrived_at,
                endpoint=caller.endpoint,
            )
            ahead += len(request.tokens)
            yield request


def _check_dimensions(asked: int | None, card: ModelCard) -> None:
    if asked is not None and not 1 <= asked <= card.dimensions:
        text = f"dimensions must be from 1 to {card.dimensions}, not {asked}"
        raise InvalidRequest(text, param="dimensions")


def _reply(vectors: Sequence[bytes], model: str, tokens: int, form: str | None) -> bytes:
    write = _base64 if form == "base64" else _numbers
    data = [Embedding(index=i, embedding=write(vector)) for i, vector in enumerate(vectors)]
    return _encode(EmbeddingsReply(data=data, model=model, usage=EmbeddingsUsage(tokens, tokens)))


def _base64(vector: bytes) -> msgspec.Raw:
    return msgspec.Raw(b'"' + base64.b64encode(vector) + b'"')


def _numbers(vector: bytes) -> msgspec.Raw:
    return msgspec.Raw(_encode(memoryview(vector).cast("f").tolist()))
