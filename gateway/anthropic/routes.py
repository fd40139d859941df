"""The endpoints of Anthropic's API."""

import msgspec

from gateway.anthropic.conversation import conversation
from gateway.anthropic.output import BufferedBlocks, StreamedBlocks
from gateway.anthropic.parameters import (
    check_thinking,
    generation_parameters,
    prompt_parameters,
    told_in_our_names,
)
from gateway.anthropic.schema import CountBody, MessagesBody, read_count, read_messages
from gateway.anthropic.shapes import Message, TokenCount, Usage, new_message_id, stopped, usage
from gateway.http.caller import caller_of
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.limits.headers import limit_headers
from gateway.service import Prepared, Service

_encode = msgspec.json.Encoder().encode


class AnthropicApi:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="POST",
                path="/v1/messages",
                handler=self.create,
                shape="anthropic",
                body=MessagesBody,
                answer=Message,
                summary="Continue a conversation, as Anthropic's API does.",
            ),
            Route(
                method="POST",
                path="/v1/messages/count_tokens",
                handler=self.count_tokens,
                shape="anthropic",
                body=CountBody,
                answer=TokenCount,
                summary="Count the tokens of a conversation, as Anthropic's API does.",
            ),
        ]

    async def create(self, request: Request) -> Response | None:
        """`POST /v1/messages`."""
        body = read_messages(request.body)
        said = conversation(body.system, body.messages)
        with told_in_our_names(said.places):
            asked = generation_parameters(body)
            user = body.metadata.user_id if body.metadata else None
            caller = caller_of(request, "messages", user, stream=body.stream)
            prepared = await self._service.prepare_chat(said.messages, body.model, asked, caller)
            check_thinking(body, prepared.text)
            answer = self._stream if body.stream else self._whole
            return await answer(request, prepared, tell_thoughts=_tells_thoughts(body))

    async def count_tokens(self, request: Request) -> Response:
        """`POST /v1/messages/count_tokens`."""
        body = read_count(request.body)
        said = conversation(body.system, body.messages)
        with told_in_our_names(said.places):
            asked = prompt_parameters(body)
            caller = caller_of(request, "count_tokens")
            read = await self._service.read_chat(said.messages, body.model, asked, caller)
        count = TokenCount(len(read.tokens))
        return Response(_encode(count), headers=limit_headers(read.allowance))

    async def _whole(
        self, request: Request, prepared: Prepared, *, tell_thoughts: bool
    ) -> Response | None:
        output = BufferedBlocks(tell_thoughts=tell_thoughts)
        answers = self._service.begin([prepared], [output])
        try:
            end = await output.end
        finally:
            answers.cancel()
        stop = stopped(end)
        message = Message(
            id=new_message_id(),
            model=prepared.requests[0].model,
            content=output.blocks,
            stop_reason=stop.stop_reason,
            stop_sequence=stop.stop_sequence,
            usage=usage(end),
        )
        return Response(_encode(message), headers=limit_headers(answers.allowance))

    async def _stream(
        self, request: Request, prepared: Prepared, *, tell_thoughts: bool
    ) -> Response | None:
        (wanted,) = prepared.requests
        begun = Message(id=new_message_id(), model=wanted.model, usage=Usage(len(wanted.tokens), 0))
        output = StreamedBlocks(begun, tell_thoughts=tell_thoughts)
        answers = self._service.begin([prepared], [output])
        try:
            await output.events.run(lambda: request.start_events(limit_headers(answers.allowance)))
        finally:
            answers.cancel()
        return None


def _tells_thoughts(body: MessagesBody) -> bool:
    return body.thinking is None or body.thinking.display != "omitted"
