import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import InvalidRequest
from gateway.text.tools.arguments import ArgumentScanner, json_text
from gateway.text.tools.check import MAX_DESCRIPTION_CHARS, closed, functions_of
from gateway.text.tools.head import Head, read_head
from gateway.text.tools.values import kinds, typed
from tests.gateway.text.families import tool

ROOT = {"$defs": {"e": {"enum": ["a", 1]}, "loop": {"$ref": "#/$defs/loop"}}}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("12", {"type": "string"}, "12"),
        ("null", {"type": "string"}, "null"),
        ("12", {"type": "integer"}, 12),
        ("12.0", {"type": "integer"}, 12),
        ("12.5", {"type": "integer"}, "12.5"),
        ("12", {"type": "number"}, 12),
        (" true\n", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("None", {"type": ["integer", "null"]}, None),
        ("x", {"type": ["integer", "null"]}, "x"),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ('{"a": 1}', {}, {"a": 1}),
        ("1", {}, "1"),
        ("1", None, "1"),
        ("[1, 2]", {"anyOf": [{"type": "array"}, {"type": "null"}]}, [1, 2]),
        ("1", {"$ref": "#/$defs/e"}, 1),
        ("a", {"$ref": "#/$defs/e"}, "a"),
        ("1", {"$ref": "#/$defs/loop"}, "1"),
        ("1", {"$ref": "#/nowhere"}, "1"),
        ("1", {"enum": ["1", "2"]}, "1"),
        ("NaN", {"type": "number"}, "NaN"),
        ("1e999", {"type": "number"}, "1e999"),
    ],
)
def test_text_becomes_what_the_schema_says(text, schema, value):
    got = typed(text, schema, ROOT)
    assert got == value
    assert type(got) is type(value)


def test_a_schema_that_does_not_say_allows_anything():
    assert kinds({"anyOf": [{"type": "null"}, {}]}, {}) == set()
    assert kinds({"allOf": [{"const": 1.5}]}, {}) == {"number"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=3), st.booleans(), st.integers(1, 7))
def test_an_object_s_end_is_found(value, plain, size):
    text = json.dumps(value, ensure_ascii=plain)
    scanner, passed, rest = ArgumentScanner(), "", ""
    for at in range(0, len(text), size):
        more, rest = scanner.feed(text[at : at + size])
        passed += more
        assert scanner.done == (at + size >= len(text))
    assert (passed, rest) == (text, "")
    more, rest = ArgumentScanner().feed(text + "}} x")
    assert (more, rest) == (text, "}} x")


def test_json_text_can_always_be_encoded():
    assert json_text({"a": "é"}) == '{"a": "é"}'
    assert json.loads(json_text("\ud800").encode()) == "\ud800"


def test_heads_are_told_from_the_first_character_on():
    pattern, text = '{ "name" : "$" , "x" :', '{"name":  "f-1.b", "x": {'
    for cut in range(len(text)):
        assert read_head(pattern, text[:cut]) == "more"
    assert read_head(pattern, text + "...") == Head("f-1.b", len(text) - 1)
    assert read_head(pattern, text[:-1] + '"') is None
    assert read_head(pattern, '{"nome') is None
    assert read_head(pattern, '{"name": "' + "n" * 300) is None


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        (tool("f", ["a"]), "properties", "object"),
        (tool("f", type="array"), "type", "schema of an object"),
        (tool("f", required="a"), "required", "list of names"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused(given, param, said):
    with pytest.raises(InvalidRequest, match=said) as caught:
        functions_of([tool("ok"), given])
    assert caught.value.param == f"tools[1].function.parameters.{param}"


def test_descriptions_have_a_limit():
    given = {"type": "function", "function": {"name": "f", "description": "x"}}
    (function,) = functions_of([given])
    assert function.parameters["additionalProperties"] is False
    given["function"]["description"] = "x" * (MAX_DESCRIPTION_CHARS + 1)
    with pytest.raises(InvalidRequest, match="16384 characters") as caught:
        functions_of([given])
    assert caught.value.param == "tools[0].function.description"


def test_arguments_nobody_declared_are_not_made_up_unless_allowed():
    def allowed(**more):
        return closed(functions_of([tool("f", **more)])[0]).parameters.get("additionalProperties")

    assert allowed() is False
    assert allowed(additionalProperties=True) is True
    assert allowed(anyOf=[{}]) is None
