"""Texts and conversations as token ids, and back."""

import msgspec

from config.errors import InvalidRequest
from config.limits import Allowance
from gateway.parameters import check_tokens
from gateway.service import Caller, Service, Tokenized
from gateway.text.model import CHARS_PER_TOKEN
from transport.messages.client import ChatMessage, GenerationParameters

MAX_CHARS = 1_000_000
MAX_TOKENS = 250_000


async def tokenize(
    service: Service,
    text: str,
    model: str | None,
    caller: Caller,
    *,
    add_special_tokens: bool,
    spelled: bool,
    param: str = "prompt",
) -> Tokenized:
    """Token ids of a text, which is the client's parameter `param`.

    Raises:
        ServingError: there is no such model, the text is too long, or there were too many.
    """
    if len(text) > MAX_CHARS:
        raise InvalidRequest(
            f"the text has {len(text)} characters, and may have {MAX_CHARS}", param=param
        )
    card = await service.card(model, caller)
    allowance = await service.admit(caller)
    side = await service.texts.get(card)

    def work() -> Tokenized:
        tokens = side.encode(text, add_special_tokens=add_special_tokens)
        return Tokenized(card, tokens, side.texts(tokens) if spelled else None, allowance)

    return await service.texts.run(len(text), work)


async def tokenize_chat(
    service: Service,
    messages: list[ChatMessage],
    model: str | None,
    asked: GenerationParameters,
    caller: Caller,
    *,
    spelled: bool,
) -> Tokenized:
    """Token ids of a conversation's prompt, up to where the answer begins.

    Raises:
        ServingError: as `Service.read_chat`.
    """
    read = await service.read_chat(messages, model, asked, caller)
    if not spelled:
        return read
    side = await service.texts.get(read.card)
    chars = len(read.tokens) * CHARS_PER_TOKEN
    texts = await service.texts.run(chars, lambda: side.texts(read.tokens))
    return msgspec.structs.replace(read, texts=texts)


async def detokenize(
    service: Service, tokens: list[int], model: str | None, caller: Caller
) -> tuple[str, Allowance | None]:
    """The text that tokens stand for, and what is left to who asked.

    Raises:
        ServingError: there is no such model, or no such token, or there are too many.
    """
    if len(tokens) > MAX_TOKENS:
        raise InvalidRequest(
            f"there are {len(tokens)} tokens, and may be {MAX_TOKENS}", param="tokens"
        )
    card = await service.card(model, caller)
    check_tokens(tokens, card.vocab_size, "tokens")
    allowance = await service.admit(caller)
    side = await service.texts.get(card)
    chars = len(tokens) * CHARS_PER_TOKEN
    return await service.texts.run(chars, lambda: side.decode(tokens)), allowance
