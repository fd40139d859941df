"""Gateways that serve the Responses API of one store, around scripted dispatchers."""

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import openai

from config.errors import Unauthenticated
from config.settings import ResponsesSettings, ServerSettings
from gateway.auth.identity import Identity
from gateway.http.answers import RouteAnswers
from gateway.http.server.connection import Limits
from gateway.http.server.routes import Routes
from gateway.http.server.server import HttpServer
from gateway.responses.routes import Responses
from gateway.responses.store import Store
from gateway.service import Service
from tests.gateway.scripted import ScriptedDispatch


class ByTenant:
    """Whoever has a key is of the tenant of that name."""

    def identify(self, header) -> Identity:
        scheme, _, key = (header("Authorization") or "").partition(" ")
        if scheme != "Bearer":
            raise Unauthenticated("no key")
        return Identity(name=key, tenant=key, key_id=key)


class Gateway:
    """One of them; `api` is the official client."""

    def __init__(self, dispatch, store, url, responses) -> None:
        self.dispatch = dispatch
        self.store = store
        self.url = url
        self.responses = responses
        self.api = self.client("one")

    def client(self, key: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, script, *, settings: ResponsesSettings | None = None, view=None
) -> AsyncIterator[Gateway]:
    dispatch = ScriptedDispatch(script, None if view is None else [view])
    service = Service(dispatch, ServerSettings())
    store = Store(folder, settings or ResponsesSettings())
    responses = Responses(service, store)
    server = HttpServer(
        RouteAnswers(Routes(responses.routes()), ByTenant()), Limits(body_bytes=1_000_000)
    )
    sock = socket.create_server(("127.0.0.1", 0))
    await server.start(sock)
    found = Gateway(dispatch, store, f"http://127.0.0.1:{sock.getsockname()[1]}", responses)
    try:
        async with found.api:
            yield found
    finally:
        await server.close()
        await responses.close()
        service.close()
