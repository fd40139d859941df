"""Gateways that share a store of responses, each around a scripted dispatcher."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import openai

from config.errors import Unauthenticated
from config.settings import ResponsesSettings
from gateway.auth.identity import Identity
from gateway.responses.store import Store
from tests.gateway.scripted import ScriptedDispatch, served


class ByTenant:
    """Whoever has a key is of the tenant of that name."""

    def identify(self, header) -> Identity:
        scheme, _, key = (header("Authorization") or "").partition(" ")
        if scheme != "Bearer":
            raise Unauthenticated("no key")
        return Identity(name=key, tenant=key, key_id=key)


class Gateway:
    """One of them; `responses` is the official client's side of the API."""

    def __init__(self, dispatch, service, store, url, api) -> None:
        self.dispatch = dispatch
        self.service = service
        self.store = store
        self.url = url
        self.api = api
        self.responses = api.responses

    def of(self, tenant: str):
        """The same for somebody of another tenant."""
        return self.api.with_options(api_key=tenant).responses


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, script, *, settings: ResponsesSettings | None = None, view=None
) -> AsyncIterator[Gateway]:
    dispatch = ScriptedDispatch(script, None if view is None else [view])
    store = Store(folder, settings or ResponsesSettings())
    async with (
        served(dispatch=dispatch, authenticator=ByTenant(), store=store) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="one", max_retries=0) as api,
    ):
        yield Gateway(dispatch, server.service, store, server.url, api)
