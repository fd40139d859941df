"""Bodies that are nested deeply, or have very many parts."""

import asyncio

import pytest

from config.errors import InvalidRequest
from gateway.http.depth import MAX_DEPTH, MAX_PARTS, check_depth
from tests.gateway.scripted import says, served

FINE = [
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
    b"[" + b"[]," * 1000 + b"[]]",
    b'["' + b"[{" * 1000 + b'"]',
    b'["' + b'[\\"[' * 1000 + b'"]',
    b'["\\\\",' + b'"[' * 100 + b'"]',
    b"",
]
DEEP = [
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b'{"a":[' * MAX_DEPTH,
    b'["\\\\",' + b"[" * MAX_DEPTH,
    b"[" * 100_000,
]
LARGE = [
    b"[" + b"[]," * MAX_PARTS + b"1]",
    b"[" * 65 + b'"",' * (2 * MAX_PARTS),
    b"[" * 65 + b'"\\\\",' * (3 * MAX_PARTS),
]


@pytest.mark.parametrize("raw", FINE, ids=range(len(FINE)))
def test_what_is_nested_as_people_do_is_fine(raw):
    check_depth(raw)


@pytest.mark.parametrize("raw", DEEP + LARGE, ids=range(len(DEEP + LARGE)))
def test_what_is_not_is_refused(raw):
    with pytest.raises(InvalidRequest):
        check_depth(raw)


@pytest.mark.parametrize("end", [b'"', b"\\", b'\\"', b""])
def test_strings_without_an_end_take_no_longer_than_others(end):
    check_depth(b"[" + b"[]," * 100 + b'"' + b'\\"' * 1_000_000 + end + b"[")


BODIES = [
    ("/v1/chat/completions", b'{"messages":[{"role":"user","content":"x"}],"metadata":{"a":%b}}'),
    ("/v1/completions", b'{"prompt":"x","guided_json":{"a":%b}}'),
    ("/v1/responses", b'{"input":"x","chat_template_kwargs":{"a":%b}}'),
    ("/v1/messages", b'{"max_tokens":1,"messages":[],"cache_control":{"a":%b}}'),
    ("/v1/embeddings", b'{"input":[%b]}'),
    ("/tokenize", b'{"messages":[{"role":"user","content":"x"}],"tools":[{"a":%b}]}'),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
@pytest.mark.parametrize("levels", [100, 2000, 100_000])
def test_every_endpoint_refuses_it_with_a_reason(path, body, levels):
    async def run():
        async with served(says("x")) as server:
            data = body % (b"[" * levels + b"]" * levels)
            async with server.session.post(server.url + path, data=data) as response:
                assert response.status == 400
                assert "nested" in (await response.json())["error"]["message"]

    asyncio.run(run())
