"""Texts and conversations as token ids, and back."""

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.parameters import check_tokens
from gateway.service import Caller, Service
from gateway.text.model import CHARS_PER_TOKEN
from transport.messages.client import ChatMessage, GenerationParameters
from transport.messages.topology import ModelCard

MAX_CHARS = 1_000_000
MAX_TOKENS = 250_000


class Tokenized(Struct, frozen=True):
    """A text as its model sees it; `texts` is what each token stands for, where asked for."""

    card: ModelCard
    tokens: list[int]
    texts: list[str] | None


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
        ServingError: there is no such model, or the text is too long.
    """
    if len(text) > MAX_CHARS:
        raise InvalidRequest(
            f"the text has {len(text)} characters, and may have {MAX_CHARS}", param=param
        )
    card = await service.card(model, caller)
    side = await service.texts.get(card)

    def work() -> Tokenized:
        tokens = side.encode(text, add_special_tokens=add_special_tokens)
        return Tokenized(card, tokens, side.texts(tokens) if spelled else None)

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
    card, tokens = await service.read_chat(messages, model, asked, caller)
    if not spelled:
        return Tokenized(card, tokens, None)
    side = await service.texts.get(card)
    chars = len(tokens) * CHARS_PER_TOKEN
    return Tokenized(card, tokens, await service.texts.run(chars, lambda: side.texts(tokens)))


async def detokenize(service: Service, tokens: list[int], model: str | None, caller: Caller) -> str:
    """The text that tokens stand for.

    Raises:
        ServingError: there is no such model, or no such token, or there are too many.
    """
    if len(tokens) > MAX_TOKENS:
        raise InvalidRequest(
            f"there are {len(tokens)} tokens, and may be {MAX_TOKENS}", param="tokens"
        )
    card = await service.card(model, caller)
    check_tokens(tokens, card.vocab_size, "tokens")
    side = await service.texts.get(card)
    return await service.texts.run(len(tokens) * CHARS_PER_TOKEN, lambda: side.decode(tokens))
