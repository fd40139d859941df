"""The endpoints of the Responses API."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from config.errors import AdmissionError, InvalidRequest, ResponseNotFound, ServingError
from gateway.http.query import read_query
from gateway.http.server.exchange import EventSink, Request, Response
from gateway.http.server.routes import Route
from gateway.http.sse import HeldEvents
from gateway.limits.headers import limit_headers
from gateway.responses.events import Events, Put, error_event, opening
from gateway.responses.journal import Journal, replayed
from gateway.responses.listing import PageQuery, RetrieveQuery, page
from gateway.responses.making import Making
from gateway.responses.presence import Presence
from gateway.responses.question import Question, ask
from gateway.responses.record import Record, cancelled
from gateway.responses.schema import ResponseBody, read_response_body
from gateway.responses.shapes import Deleted, ItemList, ResponseObject
from gateway.responses.store import Store, tenant_of
from gateway.service import Service
from transport.parameters import clipped

SWEEP_S = 60.0
CLOSE_S = 1.0  # for what has just ended to be stored
log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Responses:
    """Handlers, and the responses that are made in the background; event loop only."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service = service
        self._store = store
        self._presence = Presence(store.folder)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def routes(self) -> list[Route]:
        """All of them."""
        one = "/v1/responses/{id}"
        return [
            Route(
                method="POST",
                path="/v1/responses",
                handler=self.create,
                error_event=error_event,
                body=ResponseBody,
                answer=ResponseObject,
                summary="Continue a conversation of items.",
            ),
            Route(
                method="GET",
                path=one,
                handler=self.retrieve,
                query=RetrieveQuery,
                answer=ResponseObject,
                summary="Get a stored response, or the events of a background one.",
            ),
            Route(
                method="DELETE",
                path=one,
                handler=self.delete,
                answer=Deleted,
                summary="Forget a stored response.",
            ),
            Route(
                method="POST",
                path=f"{one}/cancel",
                handler=self.cancel,
                answer=ResponseObject,
                summary="Stop a background response.",
            ),
            Route(
                method="GET",
                path=f"{one}/input_items",
                handler=self.input_items,
                query=PageQuery,
                answer=ItemList,
                summary="List the items that a response was made from.",
            ),
        ]

    async def close(self) -> None:
        """Let what has ended be stored; what has not is a failure to whoever asks for it."""
        self._sweeping.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        self._presence.close()

    async def create(self, request: Request) -> Response | None:
        """`POST /v1/responses`."""
        body = read_response_body(request.body)
        question = await ask(self._service, self._store, request, body)
        if body.background:
            return await self._in_background(request, question, stream=bool(body.stream))
        if body.stream:
            await self._stream(request, question)
            return None
        making = Making(self._service, self._store, question, Events())
        try:
            content = _encode(await making.whole())
            return Response(content, headers=limit_headers(making.allowance))
        finally:
            making.cancel()

    async def retrieve(self, request: Request) -> Response | None:
        """`GET /v1/responses/{id}`."""
        record = await self._record(request)
        asked = read_query(RetrieveQuery, request.query)
        if not asked.stream:
            return Response(_encode(record.response))
        if not record.replayable:
            raise InvalidRequest(
                "only what was made with background: true and stream: true can be streamed again",
                param="stream",
            )
        tenant, response_id = tenant_of(request.identity), record.response.id
        path = self._store.events_path(tenant, response_id)
        given_up = partial(self._store.is_given_up, tenant, response_id)
        stream = HeldEvents()
        await _run(
            stream, request.start_events, _replay(stream, path, asked.starting_after + 1, given_up)
        )
        return None

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/responses/{id}`; one that is being made is cancelled by it."""
        response_id = request.params["id"]
        tenant = tenant_of(request.identity)
        if not await asyncio.to_thread(self._store.delete, tenant, response_id):
            raise _not_found(response_id)
        return Response(_encode(Deleted(response_id)))

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/responses/{id}/cancel`; whichever gateway makes it learns it from the store."""
        record = await self._record(request)
        if not record.response.background:
            raise InvalidRequest("only background responses can be cancelled", param="id")
        tenant, response_id = tenant_of(request.identity), record.response.id
        changed = await asyncio.to_thread(self._store.change, tenant, response_id, cancelled)
        if changed is None:
            raise _not_found(response_id)
        return Response(_encode(changed.response))

    async def input_items(self, request: Request) -> Response:
        """`GET /v1/responses/{id}/input_items`: all that was said before the output."""
        record = await self._record(request)
        asked = read_query(PageQuery, request.query)
        return Response(_encode(page([*record.history, *record.input], asked)))

    async def _stream(self, request: Request, question: Question) -> None:
        stream = HeldEvents(opening(question.record.response))
        making = Making(self._service, self._store, question, Events(stream.write))

        def begin() -> EventSink:
            return request.start_events(limit_headers(making.allowance))

        try:
            await _run(stream, begin, making.streamed(stream))
        finally:
            making.cancel()

    async def _in_background(
        self, request: Request, question: Question, *, stream: bool
    ) -> Response | None:
        record = structs.replace(question.record, owner=self._presence.name, replayable=stream)
        question = structs.replace(question, record=record)
        if not await asyncio.to_thread(self._store.keep, question.tenant, record):
            raise AdmissionError("there is no room to store a background response")
        events = HeldEvents(opening(record.response)) if stream else None
        try:
            task = self._begun(question, events)
        except (ServingError, OSError):
            await asyncio.to_thread(self._store.delete, question.tenant, record.response.id)
            raise
        if events is None:
            return Response(_encode(record.response))
        events.write(b"")  # nothing is waited for
        task.add_done_callback(lambda _: events.finish())
        await events.run(request.start_events)  # the client may go, the work goes on
        return None

    def _begun(self, question: Question, stream: HeldEvents | None) -> asyncio.Task[None]:
        """What makes a response whether somebody waits or not; with a `stream` its events are kept
        as well as passed on."""
        journal, put = None, None
        response = question.record.response
        if stream is not None:
            journal = Journal(self._store.events_path(question.tenant, response.id))
            journal.put(opening(response))
            put = _both(journal.put, stream.write)
        making = Making(self._service, self._store, question, Events(put))
        task = asyncio.create_task(self._work(question, making, journal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self, question: Question, making: Making, journal: Journal | None) -> None:
        try:
            await making.in_background()
        except OSError as error:
            response_id = question.record.response.id
            log.warning("%s: its end could not be stored: %s", response_id, error.strerror)
            await asyncio.to_thread(self._store.delete, question.tenant, response_id)
        finally:
            making.cancel()
            if journal is not None:
                journal.close()

    async def _record(self, request: Request) -> Record:
        response_id, tenant = request.params["id"], tenant_of(request.identity)
        record = await asyncio.to_thread(self._store.get, tenant, response_id)
        if record is None:
            raise _not_found(response_id)
        return record

    async def _sweep(self) -> None:
        while True:
            await asyncio.to_thread(self._store.sweep)
            await asyncio.sleep(SWEEP_S)


async def _run(
    stream: HeldEvents, begin: Callable[[], EventSink], work: Coroutine[Any, Any, None]
) -> None:
    """Send the events of a stream while `work` makes them; they end together."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("events could not be made", exc_info=error)
        stream.fail(ServingError("internal"), b"")  # does nothing after the end

    task = asyncio.create_task(work)
    task.add_done_callback(ended)
    try:
        await stream.run(begin)
    finally:
        task.cancel()


async def _replay(stream: HeldEvents, path: Path, skip: int, given_up: Callable[[], bool]) -> None:
    stream.write(b"")  # there may be nothing more
    async for events in replayed(path, skip, given_up):
        stream.write(events)
    stream.finish()


def _both(one: Put, other: Put) -> Put:
    def put(event: bytes) -> None:
        one(event)
        other(event)

    return put


def _not_found(response_id: str) -> ResponseNotFound:
    return ResponseNotFound(
        f"there is no response '{clipped(response_id)}' here (any more)", param="id"
    )
