"""How one model writes thoughts and tool calls, told by its template and its vocabulary."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.text.calls import CallSplitter
from gateway.text.grammar import lark
from gateway.text.harmony import CHANNEL, MESSAGE, HarmonyParser
from gateway.text.parser import AnswerParser, TaggedParser
from gateway.text.thoughts import ThoughtSplitter, think_tags
from gateway.text.tools.check import closed, functions_of
from gateway.text.tools.choose import tool_family
from gateway.text.tools.family import MOST_CALLS, Family, Function
from gateway.text.tools.harmony import Harmony, thoughts
from gateway.text.tools.lark import Lark
from transport.messages.data import Grammar

Choice = Literal["auto", "none", "required"]
Tools = Sequence[dict[str, Any]]


class Capabilities(Struct, frozen=True):
    """What a model's text side can do beyond plain text."""

    tools: bool
    reasoning: bool
    tool_format: str | None = None  # the name of the family
    reasoning_optional: bool = False  # whether it thinks can be chosen


class Dialect:
    """`vocabulary` has the added tokens by their text; `thinking` is whether the template has the
    model think when nothing is said, None where it cannot be told to.
    """

    def __init__(
        self, name: str, template: str, vocabulary: Mapping[str, int], thinking: bool | None
    ) -> None:
        self._name = name
        self._family = tool_family(template, vocabulary.__contains__)
        self._tags = think_tags(template, vocabulary.__contains__)
        self._thinking = thinking
        self._closing = vocabulary.get(self._tags.closes) if self._tags else None
        self.capabilities = self._capabilities()
        self.tokens = {text: vocabulary[text] for text in self._markup() if text in vocabulary}

    def _capabilities(self) -> Capabilities:
        family = self._family
        return Capabilities(
            tools=family is not None,
            reasoning=self._tags is not None or isinstance(family, Harmony),
            tool_format=family.name if family else None,
            reasoning_optional=self._thinking is not None,
        )

    def check_tools(self, tools: Tools) -> None:
        """See that tools can be shown to the model.

        Raises:
            InvalidRequest: its template has none, or one of the tools cannot be used.
        """
        self._known_family()
        functions_of(tools)

    def opening(self, prompt: str, asked: object) -> str:
        """What a prompt lacks so that it is certain that the model thinks first.

        Some models open their thoughts themselves. A grammar has to know whether they do, so
        there they are opened for them. `asked` is what the client said of thinking, if anything.
        """
        if self._tags is None or self._thinking is None or self.inside(prompt):
            return ""
        on = self._thinking if asked is None else bool(asked)
        return f"{self._tags.opens}\n" if on else ""

    def inside(self, prompt: str) -> bool:
        """Whether a prompt ends within thoughts."""
        return self._tags is not None and prompt.rstrip().endswith(self._tags.opens)

    def parser(self, prompt: str, tools: Tools, *, parallel: bool) -> AnswerParser | None:
        """For one answer to a prompt, of which the end will do; None for plain text."""
        if isinstance(self._family, Harmony):
            return HarmonyParser(parallel=parallel)
        thinker = None
        if self._tags is not None:
            thinker = ThoughtSplitter(self._tags, inside=self.inside(prompt))
        if not tools or self._family is None:
            return TaggedParser(thinker, None) if thinker else None
        schemas = {it.name: it.parameters for it in functions_of(tools)}
        return TaggedParser(thinker, CallSplitter(self._family, schemas, single=not parallel))

    def tool_grammar(
        self, prompt: str, tools: Tools, *, named: str | None, parallel: bool
    ) -> Grammar:
        """An answer that is a call of one of the tools, or several.

        Raises:
            InvalidRequest: a schema that calls cannot be held to; names it.
        """
        family = self._known_family()
        wanted = [closed(it) for it in functions_of(tools) if named in (None, it.name)]
        most = MOST_CALLS if parallel and named is None else 1
        grammar = self._checked(family, wanted, most)
        return grammar if isinstance(family, Harmony) else self.after_thoughts(grammar, prompt)

    def after_thoughts(self, grammar: Grammar, prompt: str) -> Grammar:
        """The same for the part of the answer that follows the thoughts, if there are any."""
        rules = Lark(self.tokens)
        if isinstance(self._family, Harmony):
            final = rules.text(CHANNEL, "final", MESSAGE)
            return _preceded(rules, f"{thoughts(rules)} {final}", grammar)
        if self._tags is None or not self.inside(prompt):
            return grammar
        if self._closing is not None:
            return Grammar(grammar.source, [self._closing])
        free = rules.free([self._tags.closes])
        return _preceded(rules, rules.ended(free, self._tags.closes), grammar)

    def _known_family(self) -> Family:
        if self._family is None:
            raise InvalidRequest(
                f"the template of model '{self._name}' has no tools; ask without them",
                param="tools",
            )
        return self._family

    def _markup(self) -> set[str]:
        tags = {self._tags.opens, self._tags.closes} if self._tags else set()
        if "<|channel>thought" in tags:
            tags.add("<|channel>")
        return tags | (self._family.tags() if self._family else set())

    def _checked(self, family: Family, functions: Sequence[Function], most: int) -> Grammar:
        """The grammar of calls; when it is refused, the function at fault is named."""
        try:
            return lark(self._calls(family, functions, most), param="tools")
        except InvalidRequest:
            for one in functions:
                lark(self._calls(family, [one], 1), param=one.param)
            raise

    def _calls(self, family: Family, functions: Sequence[Function], most: int) -> str:
        rules = Lark(self.tokens)
        return rules.source(family.grammar(rules, functions, most))


def _preceded(rules: Lark, rule: str, grammar: Grammar) -> Grammar:
    """A grammar of what `rule` says, then the answer."""
    inner: list[dict[str, Any]] = [{"lark_grammar": grammar.source}]
    if grammar.source.startswith("{"):
        inner = json.loads(grammar.source)["grammars"]
    first = {"lark_grammar": rules.source(f"{rule} @answer")}
    parts = [first, inner[0] | {"name": "answer"}, *inner[1:]]
    return Grammar(json.dumps({"grammars": parts}))
