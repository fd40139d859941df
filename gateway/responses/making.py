"""Making a response: for a client that waits for it, or in the background."""

import asyncio
import time

from msgspec import structs

from config.errors import ServingError
from gateway.answer import Answers, Ending
from gateway.http.logprobs import ChatSpelling
from gateway.responses.ending import final_event, final_response
from gateway.responses.events import Created, Events, InProgress
from gateway.responses.output import ItemWriter
from gateway.responses.question import Question
from gateway.responses.record import finished
from gateway.responses.shapes import ResponseObject
from gateway.responses.store import Store
from gateway.service import Service

POLL_S = 0.2  # how often the store is asked whether a background response is still wanted


class Making:
    """One response on its way; event loop only.

    Whoever begins it sees to `cancel` in the end.
    """

    def __init__(self, service: Service, store: Store, question: Question, events: Events) -> None:
        """Raises: Draining: nothing is begun any more."""
        self._store = store
        self._tenant = question.tenant
        self._record = question.record
        self._events = events
        response = question.record.response
        events.send(Created(response=response))
        events.send(InProgress(response=response))
        prepared = question.prepared
        wanted = prepared.requests[0].logprobs is not None
        spelling = ChatSpelling(prepared.text.token_bytes) if wanted else None
        self.writer = ItemWriter(question.ids, events, spelling)
        self._answers: Answers = service.begin([prepared], [self.writer])

    def cancel(self) -> None:
        """Stop generating, unless it is over."""
        self._answers.cancel()

    async def started(self, patience_s: float) -> None:
        """Wait for the first sign of it, but not for long.

        Raises:
            ServingError: it failed before there was any.
        """
        await asyncio.wait({self.writer.started}, timeout=patience_s)
        ended = self.writer.ended
        if ended.done() and not self.writer.items:
            end = ended.result()
            if isinstance(end, ServingError):
                raise end

    async def whole(self) -> ResponseObject:
        """The response, once it is whole.

        Raises:
            ServingError: there is none.
        """
        end = await self.writer.ended
        if isinstance(end, ServingError):
            raise end
        return await self._kept(self._final(end))

    async def streamed(self) -> None:
        """Wait while events write themselves; the last one comes when the response is stored."""
        final = self._final(await self.writer.ended)
        self._events.send(final_event(await self._kept(final)))

    async def in_background(self) -> None:
        """Wait while it is made, as long as the store says that it is wanted."""
        ended = self.writer.ended
        while not ended.done():
            await asyncio.wait({ended}, timeout=POLL_S)
            if not ended.done() and not await asyncio.to_thread(self._wanted):
                return
        final = self._final(ended.result())
        change = finished(final)
        record = await asyncio.to_thread(
            self._store.change, self._tenant, self._record.response.id, change
        )
        if record is not None and record.response.status == final.status:
            self._events.send(final_event(final))

    def _final(self, end: Ending | ServingError) -> ResponseObject:
        return final_response(self._record.response, self.writer, end, time.time())

    async def _kept(self, final: ResponseObject) -> ResponseObject:
        """The response, stored if it is to be; it says whether it is."""
        if not final.store:
            return final
        record = structs.replace(self._record, response=final)
        stored = await asyncio.to_thread(self._store.keep, self._tenant, record)
        return final if stored else structs.replace(final, store=False)

    def _wanted(self) -> bool:
        record = self._store.get(self._tenant, self._record.response.id)
        return record is not None and record.running
