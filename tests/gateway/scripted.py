"""A dispatcher that follows a script, and a gateway around it on a real port."""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import zmq
from tokenizers import Tokenizer

from config.errors import ServingError
from config.settings import ResponsesSettings, ServerSettings
from gateway.auth.identity import Authenticator
from gateway.client.server import ClientServer
from gateway.dispatch.admissions import Admissions
from gateway.dispatch.types import Completed, GenerationRequest, ModelView, Sink
from gateway.http.answers import RouteAnswers
from gateway.http.routes import all_routes
from gateway.http.server.connection import Limits
from gateway.http.server.routes import Routes
from gateway.http.server.server import HttpServer
from gateway.responses.routes import Responses
from gateway.responses.store import Store
from gateway.service import Service
from transport.endpoints import RuntimeDirectory
from transport.messages.data import TokenLogprobs
from transport.messages.topology import ModelCard

DEMO_FOLDER = Path(__file__).parents[2] / "demo" / "model"
CONTEXT = 512
WAIT_S = 20.0  # generous: for conditions that are true within milliseconds
Step = list[int] | Completed | ServingError
Script = Callable[[GenerationRequest], list[Step]]


def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json"))


def demo_card(name: str = "demo", folder: Path = DEMO_FOLDER) -> ModelCard:
    return ModelCard(
        name=name,
        folder=str(folder),
        context_tokens=CONTEXT,
        eos_token_ids=[2],
        vocab_size=3072,
        architecture="llama",
        batching="batch",
        weights_bytes=1,
        kv_bytes_per_token=1,
        created_time=1_700_000_000,
    )


def demo_view(name: str = "demo", folder: Path = DEMO_FOLDER) -> ModelView:
    card = demo_card(name, folder)
    return ModelView(name=name, state="ready", replicas=1, ready_replicas=1, card=card)


def thinking_view(folder: Path) -> ModelView:
    """The demo model's text side, as if it thought; `folder` is an empty one."""
    shutil.copy(DEMO_FOLDER / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").write_text("{}")
    template = (
        "{% for it in messages %}{{ it.content }}{% endfor %}"
        "{% if enable_thinking is not false %}<think>\n{% else %}</think>{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    return demo_view("demo", folder)


def says(text: str, reason: str = "stop") -> Script:
    """Answers with this text, token by token; without an end when `reason` is empty."""
    tokens = tokenizer().encode(text, add_special_tokens=False).ids

    def script(request: GenerationRequest) -> list[Step]:
        used = tokens[: request.max_tokens]
        cut = "length" if len(used) < len(tokens) else reason
        end = Completed(
            reason=cut,
            prompt_tokens=len(request.tokens),
            completion_tokens=len(used) + (cut == "stop"),
            cached_tokens=1,
        )
        return [[token] for token in used] + ([end] if reason else [])

    return script


def fails(error: ServingError, after: str = "") -> Script:
    return lambda request: [*says(after, reason="")(request), error]


def fake_logprobs(token: int, count: int) -> TokenLogprobs:
    """Told by the token alone; the last one is impossible."""
    top = [(token + place, -0.5 - place) for place in range(count)]
    return TokenLogprobs(-0.5, [*top[:-1], (token + count - 1, float("-inf"))] if top else [])


class ScriptedDispatch:
    def __init__(self, script: Script, views: list[ModelView] | None = None) -> None:
        self.script = script
        self.admissions = Admissions()
        self.views = [demo_view()] if views is None else views
        self.requests: list[GenerationRequest] = []
        self.running: dict[str, Sink] = {}
        self.given: Counter[str] = Counter()
        self.cancelled: list[str] = []

    def models(self) -> list[ModelView]:
        return self.views

    def model(self, name: str) -> ModelView | None:
        return next((view for view in self.views if view.name == name), None)

    def submit(self, request: GenerationRequest, sink: Sink) -> str:
        self.requests.append(request)
        request_id = str(len(self.requests))
        self.running[request_id] = sink
        self._next(request_id, sink, iter(self.script(request)))
        return request_id

    def cancel(self, request_id: str, reason: str = "cancelled") -> None:
        sink = self.running.pop(request_id, None)
        if sink is None:
            return
        self.cancelled.append(request_id)
        prompt = len(self.requests[int(request_id) - 1].tokens)
        given = self.given[request_id]
        sink.on_end(
            Completed(reason=reason, prompt_tokens=prompt, completion_tokens=given, cached_tokens=1)
        )

    def _next(self, request_id, sink, steps) -> None:
        asyncio.get_running_loop().call_soon(self._step, request_id, sink, steps)

    def _step(self, request_id, sink, steps) -> None:
        if request_id not in self.running:
            return
        step = next(steps, None)
        if isinstance(step, list):
            self._give(request_id, sink, step)
            self._next(request_id, sink, steps)
        elif step is not None:
            del self.running[request_id]
            sink.on_end(step)

    def _give(self, request_id, sink, tokens) -> None:
        self.given[request_id] += len(tokens)
        count = self.requests[int(request_id) - 1].logprobs
        if count is None:
            sink.on_tokens(tokens)
        else:
            sink.on_tokens(tokens, [fake_logprobs(token, count) for token in tokens])


class Served:
    """A gateway's HTTP side around a scripted dispatcher."""

    def __init__(self, dispatch, service, port, session) -> None:
        self.dispatch = dispatch
        self.service = service
        self.port = port
        self.session = session
        self.url = f"http://127.0.0.1:{port}"

    async def post(self, path: str, body: object = None, **kwargs) -> tuple[int, dict]:
        given = kwargs if "data" in kwargs else kwargs | {"json": body}
        async with self.session.post(self.url + path, **given) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> tuple[int, dict]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.json()

    async def stream(self, path: str, body: dict) -> str:
        async with self.session.post(self.url + path, json=body | {"stream": True}) as response:
            assert response.status == 200
            return await response.text()


@contextlib.asynccontextmanager
async def served(
    script: Script = says(""),  # noqa: B008
    *,
    views: list[ModelView] | None = None,
    dispatch: ScriptedDispatch | None = None,
    settings: ServerSettings = ServerSettings(max_body_bytes=1_000_000),  # noqa: B008
    limits: Limits | None = None,
    authenticator: Authenticator | None = None,
    store: Store | None = None,
) -> AsyncIterator[Served]:
    dispatch = dispatch or ScriptedDispatch(script, views)
    service = Service(dispatch, settings)
    sock = socket.create_server(("127.0.0.1", 0))
    limits = limits or Limits(body_bytes=settings.max_body_bytes)
    with tempfile.TemporaryDirectory(prefix="mlxs") as folder:
        responses = Responses(service, store or Store(Path(folder), ResponsesSettings()))
        routes = all_routes(service, responses, lambda: b"metrics 1\n")
        server = HttpServer(RouteAnswers(Routes(routes), authenticator), limits)
        await server.start(sock)
        try:
            async with aiohttp.ClientSession() as session:
                yield Served(dispatch, service, sock.getsockname()[1], session)
        finally:
            await server.close()
            await responses.close()
            service.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what it waits for knows no events
            await asyncio.sleep(0.005)


class ServedClients:
    """A gateway's ZeroMQ side around a scripted dispatcher."""

    def __init__(self, dispatch, service, runtime) -> None:
        self.dispatch = dispatch
        self.service = service
        self.runtime = runtime
        self.endpoint = runtime.client(0)


@contextlib.asynccontextmanager
async def served_clients(
    script: Script = says(""),  # noqa: B008
    *,
    views: list[ModelView] | None = None,
    max_bytes: int = 100_000,
) -> AsyncIterator[ServedClients]:
    dispatch = ScriptedDispatch(script, views)
    service = Service(dispatch, ServerSettings())
    context: zmq.Context = zmq.Context()
    server = ClientServer(service, "gateway:0", max_bytes)
    with tempfile.TemporaryDirectory(prefix="mlxs") as folder:
        runtime = RuntimeDirectory(Path(folder))
        server.start(context, runtime.client(0))
        try:
            yield ServedClients(dispatch, service, runtime)
        finally:
            server.close()
            service.close()
            context.destroy()
