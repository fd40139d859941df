"""A model's text side: its tokenizer and its chat template, read from the model's folder."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from config.errors import InvalidRequest
from gateway.parameters import over_context
from gateway.text.dialect import Capabilities, Dialect
from gateway.text.files import read_template, read_tokenizer
from gateway.text.parser import AnswerParser
from gateway.text.spelling import Spelling
from gateway.text.stream import TextStream
from gateway.text.turns import Renderer
from transport.messages.data import Grammar
from transport.messages.topology import ModelCard

LONG_TEXT_CHARS = 8192  # about a millisecond of tokenising: from here on in a thread
CHARS_PER_TOKEN = 16  # more than any language needs: text beyond is looked at in two steps
CUT_TOKENS = 64
VALUE_CHARS = 16  # what rendering a value costs (a message is about four), as if it were text
END_TOKENS = 16  # more than any tag has
T = TypeVar("T")
_NONE = "", None


class TextModel:
    """Reads a model folder; slow (up to seconds), so not on the event loop.

    Raises:
        ModelLoadFailed: the tokenizer is missing or damaged.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._tokenizer = read_tokenizer(name, folder)
        template = read_template(name, folder)
        self._renderer = None if template is None else Renderer(*template)
        self._dialect = Dialect(
            name,
            "" if template is None else template[1],
            {it.content: id_ for id_, it in self._tokenizer.get_added_tokens_decoder().items()},
            self._renderer.thinking() if self._renderer else None,
        )
        self._spelling = Spelling(self._tokenizer, self._dialect.tokens)

    @property
    def capabilities(self) -> Capabilities:
        """What this model can do beyond plain text."""
        return self._dialect.capabilities

    @property
    def has_template(self) -> bool:
        """Whether it can hold conversations."""
        return self._renderer is not None

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
        *,
        constrained: bool = False,
    ) -> str:
        """The prompt of a conversation; `arguments` are further variables for the template.

        `constrained` when the answer will be held to a grammar: then a model that thinks has its
        thoughts opened, so that `after_thoughts` knows where they are.

        Raises:
            InvalidRequest: there is no chat template, or it refuses these messages or tools.
        """
        if self._renderer is None:
            raise InvalidRequest(
                f"model '{self.name}' has no chat template; use completions with a prompt",
                param="messages",
            )
        if tools:
            self._dialect.check_tools(tools)
        given = arguments or {}
        prompt = self._renderer.render(messages, tools, given)
        if constrained:
            asked = given.get("enable_thinking", given.get("thinking"))
            prompt += self._dialect.opening(prompt, asked)
        return prompt

    def parser(
        self, prompt: Sequence[int], tools: list[dict[str, Any]] | None, *, parallel: bool = True
    ) -> AnswerParser | None:
        """What sorts one answer to a prompt; None when it can only be plain text.

        `tools` are those that the model may call, checked by `render`; with `parallel` false only
        its first call counts.
        """
        return self._dialect.parser(self._end(prompt), tools or (), parallel=parallel)

    def tool_grammar(
        self,
        prompt: Sequence[int],
        tools: list[dict[str, Any]],
        *,
        named: str | None = None,
        parallel: bool = True,
    ) -> Grammar:
        """For answers to a prompt that must call one of the tools, or the one that is named.

        Raises:
            InvalidRequest: a tool's schema has what calls cannot be held to; names it.
        """
        return self._dialect.tool_grammar(self._end(prompt), tools, named=named, parallel=parallel)

    def after_thoughts(self, grammar: Grammar, prompt: Sequence[int]) -> Grammar:
        """A grammar of answers, made to begin where the model's thoughts end, if it thinks."""
        return self._dialect.after_thoughts(grammar, self._end(prompt))

    def _end(self, prompt: Sequence[int]) -> str:
        """The last words of a prompt, which say whether it ends within thoughts."""
        return self.decode(list(prompt[-END_TOKENS:]))

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text; any thread, without the interpreter's lock, which the tokenizer's
        plain `encode` would hold."""
        (found,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        ids: list[int] = found.ids
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, with the model's own around each; as `encode`."""
        return [it.ids for it in self._tokenizer.encode_batch_fast(texts, add_special_tokens=True)]

    def encode_cut(self, texts: Sequence[str], longest: int) -> list[list[int]]:
        """The same of the beginnings of texts, so that none has more than `longest` tokens."""
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for one in found:
            one.truncate(longest - self.special_tokens)
        return [self._tokenizer.post_process(one).ids for one in found]

    @property
    def special_tokens(self) -> int:
        """How many of its own a model puts around a text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def encode_prompt(self, text: str, param: str, context_tokens: int) -> list[int]:
        """Token ids of a prompt; a template wrote its special tokens into "messages" already.

        Raises:
            ContextTooLong: its beginning is over the context already; the rest is not looked at.
        """
        special, enough = param == "prompt", context_tokens * CHARS_PER_TOKEN
        if len(text) > enough:
            beginning = self.encode(text[:enough], add_special_tokens=special)
            # The cut may have split a word into more tokens than it is, the others stay.
            sure = context_tokens + CUT_TOKENS
            if len(beginning) > sure:
                raise over_context(f"more than {sure}", context_tokens, param)
        return self.encode(text, add_special_tokens=special)

    def texts(self, tokens: list[int]) -> list[str]:
        """What each token stands for, alone."""
        return [self._tokenizer.decode([token], skip_special_tokens=False) for token in tokens]

    def decode(self, tokens: list[int]) -> str:
        """The text that tokens stand for together; special ones too."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for, alone; special ones too."""
        return self._spelling.bytes_of(token)

    def stream(self, stops: list[str], *, parsed: bool = False) -> TextStream:
        """The text side of a new answer; `parsed` when a `parser` will read it, which needs to see
        some special tokens."""
        return TextStream(self._spelling.detokenizer(parsed=parsed), stops)


class TextModels:
    """The text sides of the models that are served, read when first needed; event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="text")
        self._loaded: dict[str, tuple[str, asyncio.Future[TextModel]]] = {}

    async def get(self, card: ModelCard) -> TextModel:
        """The text side of a model.

        Raises:
            ModelLoadFailed: its tokenizer is missing or damaged; the next call tries again.
        """
        folder, loading = self._loaded.get(card.name, _NONE)
        if loading is None or folder != card.folder or _failed(loading):
            loading = asyncio.get_running_loop().run_in_executor(
                self._threads, TextModel, card.name, Path(card.folder)
            )
            loading.add_done_callback(_failed)  # so that an error nobody waits for is not lost
            self._loaded[card.name] = (card.folder, loading)
        return loading.result() if loading.done() else await asyncio.shield(loading)

    async def prompts(
        self, text: TextModel, prompts: Sequence[str], context_tokens: int
    ) -> list[list[int]]:
        """Tokenise prompts without holding up the event loop.

        Raises:
            ContextTooLong: as `TextModel.encode_prompt`.
        """

        def work() -> list[list[int]]:
            return [text.encode_prompt(prompt, "prompt", context_tokens) for prompt in prompts]

        return await self.run(chars_of(prompts), work)

    async def conversation(
        self,
        text: TextModel,
        messages: list[dict[str, Any]],
        context_tokens: int,
        *,
        tools: list[dict[str, Any]] | None = None,
        arguments: Mapping[str, Any] | None = None,
        constrained: bool = False,
    ) -> list[int]:
        """Render a conversation and tokenise it, without holding up the event loop; the rest as
        in `TextModel.render`.

        Raises:
            InvalidRequest: as `TextModel.render`.
            ContextTooLong: as `TextModel.encode_prompt`.
        """

        def work() -> list[int]:
            prompt = text.render(messages, tools, arguments, constrained=constrained)
            return text.encode_prompt(prompt, "messages", context_tokens)

        return await self.run(chars_of([messages, tools, arguments]), work)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do something slow without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def keep(self, names: Container[str]) -> None:
        """Forget every other model."""
        self._loaded = {name: it for name, it in self._loaded.items() if name in names}

    def close(self) -> None:
        """Take no more work; what a thread does right now is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, chars: int, work: Callable[[], T]) -> T:
        """Do work on so many characters, aside if they are many."""
        if chars < LONG_TEXT_CHARS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def chars_of(given: object) -> int:
    """What rendering JSON costs, in characters of text.

    From `LONG_TEXT_CHARS` on nothing more is looked into, so that it takes no time itself.
    """
    chars, waiting = 0, [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            chars += len(value)
        elif isinstance(value, Mapping | list | tuple):
            chars += VALUE_CHARS * len(value)
            if chars < LONG_TEXT_CHARS:
                waiting += [*value, *value.values()] if isinstance(value, Mapping) else value
    return chars


def _failed(loading: asyncio.Future[TextModel]) -> bool:
    return loading.done() and (loading.cancelled() or loading.exception() is not None)
