"""`/tokenize` and `/detokenize`.

Source: vLLM, whose wire shapes these are (vllm/entrypoints/serve/tokenize/protocol.py).
"""

from typing import Any

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.http.body import BodyReader
from gateway.http.caller import caller_of
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.limits.headers import limit_headers
from gateway.service import Service, Tokenized
from gateway.tokenizing import detokenize, tokenize, tokenize_chat
from transport.messages.client import ChatMessage, GenerationParameters

_encode = msgspec.json.Encoder().encode


class TokenizeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /tokenize`: either `prompt` or `messages`.

    `tools` and `chat_template_kwargs` go with messages, whose template writes their special tokens;
    `add_special_tokens` (true) goes with a prompt. What comes below is known and not done.
    """

    model: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: Any = None
    mm_processor_kwargs: Any = None


class TokenizeReply(Struct, frozen=True):
    """The tokens; `token_strs` is what each of them stands for alone."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /detokenize`."""

    tokens: list[int]
    model: str | None = None


class DetokenizeReply(Struct, frozen=True):
    """The text that the tokens stand for, special ones too."""

    prompt: str


_INERT: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
    "mm_processor_kwargs": ({},),
}
_read_tokenize = BodyReader(TokenizeBody, _INERT).read
_read_detokenize = BodyReader(DetokenizeBody).read


class Tokens:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="POST",
                path="/tokenize",
                handler=self.tokenize,
                body=TokenizeBody,
                answer=TokenizeReply,
                summary="Show a text or a conversation as its model sees it.",
            ),
            Route(
                method="POST",
                path="/detokenize",
                handler=self.detokenize,
                body=DetokenizeBody,
                answer=DetokenizeReply,
                summary="Make a text of token ids.",
            ),
        ]

    async def tokenize(self, request: Request) -> Response:
        """`POST /tokenize`."""
        body = _read_tokenize(request.body)
        if (body.prompt is None) == (body.messages is None):
            raise InvalidRequest("give a prompt or messages, one of them", param="prompt")
        if body.messages is None:
            found = await self._prompt(request, body)
        else:
            found = await self._chat(request, body, body.messages)
        reply = TokenizeReply(
            len(found.tokens), found.card.context_tokens, found.tokens, found.texts
        )
        return Response(_encode(reply), headers=limit_headers(found.allowance))

    async def _prompt(self, request: Request, body: TokenizeBody) -> Tokenized:
        for name in ("tools", "chat_template_kwargs"):
            if getattr(body, name):
                raise InvalidRequest(f"{name} is only for conversations", param=name)
        return await tokenize(
            self._service,
            body.prompt or "",
            body.model,
            caller_of(request, "tokenize"),
            add_special_tokens=body.add_special_tokens is not False,
            spelled=bool(body.return_token_strs),
        )

    async def _chat(
        self, request: Request, body: TokenizeBody, messages: list[ChatMessage]
    ) -> Tokenized:
        if body.add_special_tokens:
            raise InvalidRequest(
                "add_special_tokens is only for a prompt; the template has those of messages",
                param="add_special_tokens",
            )
        asked = GenerationParameters(
            tools=body.tools, chat_template_kwargs=body.chat_template_kwargs
        )
        caller = caller_of(request, "tokenize")
        spelled = bool(body.return_token_strs)
        return await tokenize_chat(
            self._service, messages, body.model, asked, caller, spelled=spelled
        )

    async def detokenize(self, request: Request) -> Response:
        """`POST /detokenize`."""
        body = _read_detokenize(request.body)
        caller = caller_of(request, "detokenize")
        text, left = await detokenize(self._service, body.tokens, body.model, caller)
        return Response(_encode(DetokenizeReply(text)), headers=limit_headers(left))
