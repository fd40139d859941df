"""The description of the API, which is made of the API."""

import asyncio
import base64
import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest

from gateway.http.body import READERS
from gateway.http.openapi.table import type_text
from gateway.http.schema import ChatBody
from tests.gateway.scripted import says, served

DOCS = Path(__file__).parents[3] / "docs"
REF = re.compile(r'"\$ref": "#/components/(\w+)/([^"]+)"')


@pytest.fixture(scope="module")
def document() -> dict:
    async def run():
        async with served(says("x")) as server:
            status, found = await server.get("/openapi.json")
            assert status == 200
            return found

    return asyncio.run(run())


def test_every_reference_leads_somewhere(document):
    found = REF.findall(json.dumps(document))
    assert len(found) > 100
    assert all(name in document["components"][kind] for kind, name in found)
    names = document["components"]["schemas"]
    assert not [name for name in names if "." in name]
    assert {"HttpMessage", "AnthropicMessage", "ResponsesMessage"} <= names.keys()


def test_every_endpoint_says_who_may_ask_and_how_errors_look(document):
    operations = {
        (method, path): it
        for path, methods in document["paths"].items()
        for method, it in methods.items()
    }
    assert ("get", "/v1/models/{model}") in operations
    assert ("get", "/docs") in operations
    roles = {key: it["security"] for key, it in operations.items()}
    assert roles["get", "/health"] == []
    assert roles["get", "/metrics"] == [{"bearer": ["admin"]}, {"apiKey": ["admin"]}]
    assert roles["post", "/v1/messages"] == [{"bearer": []}, {"apiKey": []}]
    errors = operations["post", "/v1/messages"]["responses"]
    assert errors["429"] == {"$ref": "#/components/responses/anthropic_429"}
    answers = operations["post", "/v1/chat/completions"]["responses"]["200"]["content"]
    assert answers.keys() == {"application/json", "text/event-stream"}
    count = operations["post", "/v1/messages/count_tokens"]["responses"]["200"]["content"]
    assert count.keys() == {"application/json"}
    assert operations["get", "/metrics"]["responses"]["200"]["content"].keys() == {"text/plain"}
    ready = operations["get", "/ready"]["responses"]["503"]["content"]["application/json"]
    assert ready["schema"]["$ref"].endswith("/Readiness")


def test_what_is_refused_and_ignored_and_out_of_range_is_in_it(document):
    properties = document["components"]["schemas"]["ChatBody"]["properties"]
    assert properties["functions"]["enum"] == [[], None]
    assert "use tools" in properties["functions"]["description"]
    assert properties["metadata"]["description"] == "Accepted, and changes nothing."
    number, nothing = properties["repetition_penalty"]["anyOf"]
    assert (number["exclusiveMinimum"], number["maximum"], nothing) == (0, 10, {"type": "null"})


def test_what_is_narrower_than_its_type_is_in_it(document):
    schemas = document["components"]["schemas"]
    chat, text = schemas["ChatBody"]["properties"], schemas["CompletionBody"]["properties"]
    assert [it["type"] for it in chat["logprobs"]["anyOf"]] == ["boolean", "null"]
    number, _ = text["logprobs"]["anyOf"]
    assert number == {"type": "integer", "minimum": 0, "maximum": 20}
    assert text["best_of"]["description"] == "May be the same as n."


def test_no_version_and_no_path_of_ours_is_told(document):
    assert document["info"]["version"] == "v1"
    text = json.dumps(document)
    assert "gateway." not in text
    assert str(DOCS.parent) not in text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_else():
    async def run():
        async with (
            served(says("x")) as server,
            server.session.get(server.url + "/docs") as response,
        ):
            assert response.content_type == "text/html"
            return await response.text(), response.headers["Content-Security-Policy"]

    page, policy = asyncio.run(run())
    assert not re.findall(r"https?://|//\w|\bimport\b|src=", page)
    assert 'fetch("openapi.json")' in page
    for tag in ("script", "style"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        (
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            "list of (string or integer)",
        ),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number over 0 to 1"),
        ({"type": "integer", "minimum": 1}, "integer from 1"),
        ({"enum": ["a", None]}, '`"a"`'),
        ({"$ref": "#/components/schemas/X"}, "object"),
        ({}, "anything"),
    ],
)
def test_schemas_in_words(schema, text):
    assert type_text(schema) == text


def test_every_name_that_is_refused_or_ignored_is_one_of_the_body_s():
    assert ChatBody in READERS
    for kind, reader in READERS.items():
        fields = {it.encode_name for it in msgspec.structs.fields(kind)}
        assert reader.inert.keys() | reader.ranges.keys() <= fields, kind
        assert reader.types.keys() <= fields, kind
        assert {it.partition(".")[0] for it in reader.notes} <= fields, kind
        assert not reader.inert.keys() & reader.ignored, kind


def test_what_may_stand_in_a_query_is_in_it(document):
    paths = document["paths"]
    one = paths["/v1/responses/{id}"]
    asked = {it["name"]: it for it in one["get"]["parameters"] if it.get("in") == "query"}
    assert asked.keys() == {"stream", "starting_after", "include", "include_obfuscation"}
    assert asked["stream"]["schema"] == {"type": "boolean", "default": False}
    assert asked["include"]["schema"] == {"type": "array", "items": {"type": "string"}}
    assert "events" in asked["stream"]["description"]
    assert one["get"]["responses"]["400"]
    assert "text/event-stream" in one["get"]["responses"]["200"]["content"]
    assert not [it for it in one["delete"]["parameters"] if it.get("in") == "query"]
    listing = paths["/v1/responses/{id}/input_items"]["get"]["parameters"]
    limit = next(it["schema"] for it in listing if it.get("name") == "limit")
    assert limit == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
