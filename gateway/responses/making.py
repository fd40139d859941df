"""Making a response: for a client that waits for it, or in the background."""

import asyncio
import time

from msgspec import structs

from config.errors import InvalidRequest, ServingError
from config.limits import Allowance
from gateway.answer import Answers, Ending
from gateway.http.logprobs import ChatSpelling
from gateway.http.sse import HeldEvents
from gateway.responses.ending import final_event, final_response
from gateway.responses.events import Events
from gateway.responses.output import ItemWriter
from gateway.responses.parameters import NAMES
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
        self._question = question
        self._response = question.record.response
        self._events = events
        prepared = question.prepared
        wanted = prepared.requests[0].logprobs is not None
        spelling = ChatSpelling(prepared.text.token_bytes) if wanted else None
        self._writer = ItemWriter(question.ids, events, spelling)
        self._answers: Answers = service.begin([prepared], [self._writer])

    @property
    def allowance(self) -> Allowance | None:
        """What is left of the client's limits, once it has begun."""
        return self._answers.allowance

    def cancel(self) -> None:
        """Stop generating, unless it is over."""
        self._answers.cancel()

    async def whole(self) -> ResponseObject:
        """The response, once it is whole.

        Raises:
            ServingError: there is none.
        """
        end = await self._end()
        if isinstance(end, ServingError):
            raise end
        return await self._kept(self._final(end))

    async def streamed(self, stream: HeldEvents) -> None:
        """Wait while events write themselves; the last one comes when the response is stored."""
        end = await self._end()
        final = self._final(end)
        if isinstance(end, ServingError):
            if final.output:
                final = await self._kept(final)
            stream.fail(end, self._events.numbered(final_event(final)))
            return
        self._events.send(final_event(await self._kept(final)))
        stream.finish()

    async def in_background(self) -> None:
        """Wait while it is made, as long as the store says that it is wanted.

        Raises:
            OSError: its end cannot be stored.
        """
        ended = self._writer.ended
        while not ended.done():
            await asyncio.wait({ended}, timeout=POLL_S)
            if not ended.done() and not await asyncio.to_thread(self._wanted):
                return
        final = self._final(await self._end())
        tenant, change = self._question.tenant, finished(final)
        record = await asyncio.to_thread(self._store.change, tenant, final.id, change)
        if record is not None and record.response.status == final.status:
            self._events.send(final_event(final))

    async def _end(self) -> Ending | ServingError:
        """How it ended; a fault of the client's that only the engine found has our names."""
        end = await self._writer.ended
        return NAMES.fault(end, self._question.places) if isinstance(end, InvalidRequest) else end

    def _final(self, end: Ending | ServingError) -> ResponseObject:
        return final_response(self._response, self._writer, end, time.time())

    async def _kept(self, final: ResponseObject) -> ResponseObject:
        """The response, stored if it is to be; it says whether it is."""
        if not final.store:
            return final
        record = structs.replace(self._question.record, response=final)
        stored = await asyncio.to_thread(self._store.keep, self._question.tenant, record)
        return final if stored else structs.replace(final, store=False)

    def _wanted(self) -> bool:
        record = self._store.get(self._question.tenant, self._response.id)
        return record is not None and record.running
