"""How a response ends, and how that is told."""

from msgspec import structs

from config.errors import ServingError
from gateway.answer import Ending
from gateway.responses.events import Completed, Event, Failed, Incomplete
from gateway.responses.output import ItemWriter
from gateway.responses.shapes import IncompleteDetails, ResponseObject, error_shape, usage


def final_response(
    response: ResponseObject, writer: ItemWriter, end: Ending | ServingError, now: float
) -> ResponseObject:
    """The response with its output; `now` is wall clock."""
    if isinstance(end, ServingError):
        return structs.replace(
            response, status="failed", output=writer.items, error=error_shape(end)
        )
    cut = end.reason == "length"
    return structs.replace(
        response,
        status="incomplete" if cut else "completed",
        incomplete_details=IncompleteDetails() if cut else None,
        completed_at=None if cut else int(now),
        output=writer.items,
        usage=usage(end),
    )


def final_event(response: ResponseObject) -> Event:
    """The last event of a stream."""
    match response.status:
        case "completed":
            return Completed(response=response)
        case "incomplete":
            return Incomplete(response=response)
    return Failed(response=response)
