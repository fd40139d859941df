"""`/v1/models`: which models there are, and what each can do."""

import asyncio
from typing import Literal

import msgspec
from msgspec import Struct

from config.errors import ModelLoadFailed
from gateway.dispatch.types import ModelView
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.service import Service
from gateway.text.model import TextModel
from transport.messages.topology import ModelState

_encode = msgspec.json.Encoder().encode


class ModelCapabilities(Struct, frozen=True):
    """What a model may be asked for."""

    chat: bool = False
    completions: bool = False
    tools: bool = False
    reasoning: bool = False
    structured_output: bool = False
    embeddings: bool = False


class Model(Struct, frozen=True):
    """A model that is served.

    What is null is known once an engine of it was up. `created` is when its files were put there;
    0 where they are not there yet. `batching` "serial": its requests are answered one after the
    other, since what it computes in batches is wrong.
    """

    id: str
    created: int
    state: ModelState
    context_length: int | None = None
    batching: Literal["batch", "serial"] | None = None
    capabilities: ModelCapabilities | None = None
    object: Literal["model"] = "model"
    owned_by: str = "mlx-serving"


class ModelList(Struct, frozen=True):
    """All models that may be used."""

    data: list[Model]
    object: Literal["list"] = "list"


class Models:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="GET",
                path="/v1/models",
                handler=self.list,
                answer=ModelList,
                summary="List the models.",
            ),
            Route(
                method="GET",
                path="/v1/models/{model+}",
                handler=self.one,
                answer=Model,
                summary="Tell of one model.",
            ),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /v1/models`."""
        views = self._service.models(request.identity)
        models = await asyncio.gather(*map(self._model, views))
        return Response(_encode(ModelList(list(models))))

    async def one(self, request: Request) -> Response:
        """`GET /v1/models/{model}`; ids of the hub have a slash in them."""
        view = self._service.model(request.params["model"], request.identity)
        return Response(_encode(await self._model(view)))

    async def _model(self, view: ModelView) -> Model:
        card = view.card
        if card is None:
            return Model(view.name, view.created_time or 0, view.state, view.context_tokens)
        try:
            able = _capabilities(view, await self._service.texts.get(card))
        except ModelLoadFailed:  # its tokenizer is damaged: whoever asks it is told
            able = None
        return Model(
            id=view.name,
            created=card.created_time,
            state=view.state,
            context_length=card.context_tokens,
            batching=card.batching,
            capabilities=able,
        )


def _capabilities(view: ModelView, text: TextModel) -> ModelCapabilities:
    if view.card is not None and view.card.kind == "embedding":
        return ModelCapabilities(embeddings=True)
    able = text.capabilities
    return ModelCapabilities(
        chat=text.has_template,
        completions=True,
        tools=able.tools and text.has_template,
        reasoning=able.reasoning,
        structured_output=True,
    )
