"""From a request's body to a question that can be answered."""

import asyncio
import time

from msgspec import Struct

from config.errors import InvalidRequest, NoPreviousResponse
from gateway.efforts import check_effort
from gateway.http.caller import caller_of
from gateway.http.server.exchange import Request
from gateway.parameters import check_parameters
from gateway.responses.conversation import conversation
from gateway.responses.ids import ItemIds, new_response_id, response_of
from gateway.responses.input import kept_items, referred_ids
from gateway.responses.items import Item
from gateway.responses.parameters import NAMES, generation_parameters
from gateway.responses.record import Record
from gateway.responses.schema import ResponseBody
from gateway.responses.shapes import begun
from gateway.responses.store import Store, tenant_of
from gateway.responses.truncation import leaves_room, shortened
from gateway.service import Caller, Prepared, Service
from transport.messages.client import ChatMessage, GenerationParameters
from transport.parameters import clipped


class Question(Struct, frozen=True):
    """A request that can be answered.

    `record` is what is kept of it so far, and `ids` go on with its output's items.
    """

    tenant: str
    record: Record
    ids: ItemIds
    prepared: Prepared
    places: list[str]  # where its messages come from, for faults that are found later


async def ask(service: Service, store: Store, request: Request, body: ResponseBody) -> Question:
    """Check a request and prepare its answer.

    Raises:
        ServingError: every reason for which it cannot be answered.
    """
    tenant = tenant_of(request.identity)
    asked = generation_parameters(body)
    previous, known = await _stored(store, tenant, body)
    now = time.time()
    response_id = new_response_id(now)
    ids = ItemIds(response_id)
    given = kept_items(body.input, ids, known.get)
    history = previous.items if previous is not None else []
    said = conversation(body.instructions, history, given)
    kept = previous.session if previous is not None else None
    first = response_id if body.stored else None  # nothing goes on with one that is not kept
    sessions = body.prompt_cache_key, body.user, kept, first
    caller = caller_of(request, "responses", *sessions, stream=body.stream)

    with NAMES.told(said.places):
        check_parameters(asked)  # before a model is loaded for it
        messages = said.messages
        if body.truncation == "auto":
            messages = await _fitting(service, body, asked, caller, messages)
        prepared = await service.prepare_chat(messages, body.model, asked, caller)
        effort = body.reasoning.effort if body.reasoning else None
        check_effort(effort, prepared.text, "reasoning.effort")
    record = Record(
        response=begun(body, response_id, prepared.requests[0].model, int(now)),
        history=history,
        input=given,
        session=caller.session,
    )
    return Question(tenant, record, ids, prepared, said.places)


async def _stored(
    store: Store, tenant: str, body: ResponseBody
) -> tuple[Record | None, dict[str, Item]]:
    """The response to go on from, and the items that are referred to by their ids."""
    references = referred_ids(body.input)
    if body.previous_response_id is None and not references:
        return None, {}

    def look() -> tuple[Record | None, dict[str, Item]]:
        previous = _previous(store, tenant, body.previous_response_id)
        known: dict[str, Item] = {}
        for response_id in {response_of(it) for it in references} - {None}:
            record = store.get(tenant, response_id or "")
            known |= {item.id: item for item in record.items} if record is not None else {}
        return previous, known

    return await asyncio.to_thread(look)


def _previous(store: Store, tenant: str, response_id: str | None) -> Record | None:
    if response_id is None:
        return None
    record = store.get(tenant, response_id)
    if record is None:
        raise NoPreviousResponse(
            f"there is no response '{clipped(response_id)}' here (any more); send the whole "
            "conversation as input",
            param="previous_response_id",
        )
    if record.running:
        raise InvalidRequest(
            "the previous response is still in progress", param="previous_response_id"
        )
    return record


async def _fitting(
    service: Service,
    body: ResponseBody,
    asked: GenerationParameters,
    caller: Caller,
    messages: list[ChatMessage],
) -> list[ChatMessage]:
    """As much of the conversation as leaves room for an answer."""

    async def fits(some: list[ChatMessage]) -> bool:
        read = await service.read_chat(some, body.model, asked, caller, counts=False)
        return leaves_room(len(read.tokens), read.card.context_tokens, body.max_output_tokens)

    return await shortened(messages, fits)
