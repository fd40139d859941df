"""LFM 2: `<|tool_call_start|>[f(a="x", n=1), g()]<|tool_call_end|>`, a list in Python's syntax.

Source: https://docs.liquid.ai/lfm/key-concepts/tool-use
"""

import ast
import re
from collections.abc import Sequence
from typing import Any

from gateway.text.tools.arguments import json_text, json_value
from gateway.text.tools.family import (
    Call,
    Family,
    Function,
    Opener,
    Schemas,
    alternatives,
    listed,
    repeated,
)
from gateway.text.tools.json_family import call_of
from gateway.text.tools.lark import Lark
from gateway.text.tools.schemas import definitions, properties

OPENS, CLOSES = "<|tool_call_start|>", "<|tool_call_end|>"
MAX_CHARS = 100_000  # what Python's parser is given
_STANDS_FOR = "function_of_place_"
_JSON_NAMES = {"true": True, "false": False, "null": None}


class _JsonNames(ast.NodeTransformer):
    """These models mix JSON's constants with Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node


class Pythonic(Family):
    """Calls are passed on whole."""

    name = "pythonic"
    openers = (Opener(OPENS, r"[\[{]", CLOSES, r"\)(?=\s*[,\]])"),)

    def calls(self, text: str, schemas: Schemas) -> list[Call] | None:
        """See `Family`."""
        body = text.removeprefix(OPENS).removesuffix(CLOSES).strip()
        given = json_value(body)
        found = [call_of(it) for it in given] if isinstance(given, list) else _parsed(body, schemas)
        return None if None in found else [it for it in found if it] or None

    def grammar(self, lark: Lark, functions: Sequence[Function], most: int) -> str:
        """See `Family`; the values are JSON, which is read as well as Python's."""
        call = alternatives([_call_rule(lark, it) for it in functions])
        calls = repeated(lark.rule(call), lark.text(", "), most)
        return f"{lark.text(OPENS, '[')} {calls} {lark.text(']', CLOSES)}"


def _parsed(body: str, schemas: Schemas) -> list[Call | None]:
    if len(body) > MAX_CHARS:
        return [None]
    if body.startswith("[") and not body.endswith("]"):  # the rest of the list did not come
        body += "]"
    known = [name for name in schemas if not name.replace(".", "_").isidentifier()]
    for place, name in enumerate(known):  # Python has no such names
        body = re.sub(rf"(?<![\w.-]){re.escape(name)}\(", f"{_STANDS_FOR}{place}(", body)
    try:
        tree = ast.parse(body, mode="eval").body
        return [_call(it, known) for it in (tree.elts if isinstance(tree, ast.List) else [tree])]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return [None]


def _call(node: ast.expr, known: Sequence[str]) -> Call | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    values: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            return None
        values[keyword.arg] = ast.literal_eval(_JsonNames().visit(keyword.value))
    name = ast.unparse(node.func)
    if name.startswith(_STANDS_FOR):
        name = known[int(name.removeprefix(_STANDS_FOR))]
    return Call(name, json_text(values))


def _call_rule(lark: Lark, function: Function) -> str:
    defined, parts = definitions(function.parameters), []
    for key, schema, required in properties(function):
        given = schema if isinstance(schema, dict) else {}
        parts.append(
            (f"{lark.text(key, '=')} {lark.json({**defined, **given}, function.param)}", required)
        )
    before = lark.text(function.name, "(")
    return lark.rule(f"{before} {listed(parts, lark.text(', '))} {lark.text(')')}")
