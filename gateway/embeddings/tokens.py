"""Inputs as token ids, within what the model takes."""

from collections.abc import Sequence

from config.errors import ContextTooLong, InvalidRequest
from gateway.parameters import check_tokens
from gateway.text.model import CHARS_PER_TOKEN, CUT_TOKENS, TextModel
from transport.messages.topology import ModelCard


def tokens_of(
    inputs: list[str] | list[list[int]], text: TextModel, card: ModelCard, cut: int | None
) -> list[list[int]]:
    """Token ids of each input, those that are text with the model's own around them; cut to `cut`
    tokens, -1: to what the model takes. Slow for much text: not on the event loop.

    Raises:
        InvalidRequest: a token that the model does not have, or no room for any in `cut`.
        ContextTooLong: an input that is longer than the model takes, and nothing was said of
            cutting.
    """
    longest = _longest(text, card, cut)
    texts = [it for it in inputs if isinstance(it, str)]
    if not texts:
        ids = [it[:longest] for it in inputs if isinstance(it, list)]
        for place, one in enumerate(ids):
            _check_length(len(one), place, card)
            check_tokens(one, card.vocab_size, "input")
        return ids
    if longest is not None:
        return text.encode_cut(texts, longest)
    for place, given in enumerate(texts):
        _check_beginning(given, place, text, card)
    ids = text.encode_all(texts)
    for place, found in enumerate(ids):
        _check_length(len(found), place, card)
    return ids


def _longest(text: TextModel, card: ModelCard, cut: int | None) -> int | None:
    """Of an input, in tokens; None: it is not cut."""
    if cut is None:
        return None
    least = text.special_tokens + 1
    if cut == -1:
        return card.context_tokens
    if not least <= cut <= card.context_tokens:
        raise InvalidRequest(
            f"truncate_prompt_tokens must be -1 or from {least} to {card.context_tokens}",
            param="truncate_prompt_tokens",
        )
    return cut


def _check_beginning(given: str, place: int, text: TextModel, card: ModelCard) -> None:
    """Of a text that is far too long, no more is looked at than is needed to say so."""
    enough = card.context_tokens * CHARS_PER_TOKEN
    if len(given) > enough:
        # The cut may have split a word into more tokens than it is, the others stay.
        sure = card.context_tokens + CUT_TOKENS
        if len(text.encode(given[:enough], add_special_tokens=True)) > sure:
            raise _too_long(f"more than {sure}", place, card)


def _check_length(tokens: int, place: int, card: ModelCard) -> None:
    if tokens > card.context_tokens:
        raise _too_long(str(tokens), place, card)


def _too_long(tokens: str, place: int, card: ModelCard) -> ContextTooLong:
    return ContextTooLong(
        f"this model takes up to {card.context_tokens} tokens, and the input at place {place} has "
        f"{tokens}; shorten it, or send truncate_prompt_tokens: -1 to have it cut",
        param="input",
    )


def chars_in(inputs: Sequence[str | list[int]]) -> int:
    """About how much work the inputs are, in characters to tokenise."""
    return sum(map(len, inputs))
