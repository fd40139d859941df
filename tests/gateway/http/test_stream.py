"""Streams byte for byte, and what happens when the reader is slow or gone."""

import asyncio
import json
import re
import socket

import pytest

from config.errors import EngineFailed
from gateway.http import sse
from tests.gateway.scripted import WAIT_S, fails, says, served, tokenizer, until

ASK = {"messages": [{"role": "user", "content": "Hello"}]}
CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
USAGE = {"stream_options": {"include_usage": True}}


def events(text: str) -> list[str]:
    """The data of each event; ids and times are made constant."""
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    constant = re.sub(r'"(id|system_fingerprint)":"\w+[-_][0-9a-f]+"', r'"\1":"*"', text)
    constant = re.sub(r'"created":\d+', '"created":1', constant)
    return [it.removeprefix("data: ") for it in constant.removesuffix("\n\n").split("\n\n")]


def stream_of(script, path: str, body: dict) -> list[str]:
    async def run():
        async with served(script) as server:
            return events(await server.stream(path, body))

    return asyncio.run(run())


def test_chat_stream_byte_for_byte():
    head = (
        '{"id":"*","object":"chat.completion.chunk","created":1,"model":"demo",'
        '"system_fingerprint":"*","choices":[{"index":0,"delta":'
    )
    first, *pieces, last, done = stream_of(says('Say "hi" ü\n'), CHAT, ASK)
    assert first == head + (
        '{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}'
    )
    assert last == head + '{},"logprobs":null,"finish_reason":"stop"}]}'
    assert done == "[DONE]"
    for piece in pieces:
        assert piece.startswith(head + '{"content":"')
        assert piece.endswith('"},"logprobs":null,"finish_reason":null}]}')
    text = "".join(json.loads(piece)["choices"][0]["delta"]["content"] for piece in pieces)
    assert text == 'Say "hi" ü\n'


def test_completion_stream_byte_for_byte():
    head = (
        '{"id":"*","object":"text_completion","created":1,"model":"demo",'
        '"system_fingerprint":"*","choices":[{"index":0,"text":'
    )
    *pieces, last, done = stream_of(says("one two"), COMPLETE, {"prompt": "x"})
    assert last == head + '"","logprobs":null,"finish_reason":"stop"}]}'
    assert done == "[DONE]"
    for piece in pieces:
        assert piece.startswith(head)
        assert piece.endswith(',"logprobs":null,"finish_reason":null}]}')
    assert "".join(json.loads(it)["choices"][0]["text"] for it in pieces) == "one two"


def test_usage_comes_last_with_no_choices_and_null_before():
    *chunks, usage, done = stream_of(says("one two"), CHAT, ASK | USAGE)
    assert all(json.loads(chunk)["usage"] is None for chunk in chunks)
    used = json.loads(usage)
    assert used["choices"] == []
    assert used["usage"]["total_tokens"] > used["usage"]["prompt_tokens"] > 0
    assert done == "[DONE]"


def test_without_a_word_there_is_still_a_whole_stream():
    first, last, done = stream_of(says(""), CHAT, ASK)
    assert json.loads(first)["choices"][0]["delta"]["role"] == "assistant"
    assert json.loads(last)["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"


def test_an_error_after_the_first_byte_is_an_event_and_the_end():
    script = fails(EngineFailed("the engine broke"), after="Hello there")
    *_, last = stream_of(script, CHAT, ASK)
    assert json.loads(last)["error"] == {
        "message": "the engine broke",
        "type": "service_unavailable_error",
        "param": None,
        "code": "engine_failed",
    }


def test_the_answer_s_length_is_the_reason_when_it_is_cut():
    *_, last, _ = stream_of(says("one two three four"), CHAT, ASK | {"max_tokens": 2})
    assert json.loads(last)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_text_ends_the_answer_and_the_generation(stream):
    async def run():
        async with served(says("one two STOP three", reason="")) as server:
            body = {"prompt": "x", "stop": ["nothing", " STOP"], "stream": stream}
            async with server.session.post(server.url + COMPLETE, json=body) as response:
                text = await response.text()
            assert server.dispatch.cancelled == ["1"]
        assert "STOP" not in text
        assert '"finish_reason":"stop"' in text

    asyncio.run(run())


def test_several_prompts_are_several_choices():
    async def run():
        async with served(says("yes")) as server:
            status, body = await server.post(COMPLETE, {"prompt": ["a", "b", "c"]})
            assert status == 200
            assert [it["index"] for it in body["choices"]] == [0, 1, 2]
            assert {it["text"] for it in body["choices"]} == {"yes"}
            chunks = events(await server.stream(COMPLETE, {"prompt": [[5], [6]]}))
        choices = [json.loads(it)["choices"][0] for it in chunks[:-1]]
        assert [it["index"] for it in choices if it["finish_reason"]] == [0, 1]
        assert chunks.count("[DONE]") == 1

    asyncio.run(run())


def test_headers_of_a_stream():
    async def run():
        async with served(says("x")) as server:
            headers = {"X-Request-ID": "mine-1"}
            url, body = server.url + CHAT, ASK | {"stream": True}
            async with server.session.post(url, json=body, headers=headers) as response:
                assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
                assert response.headers["Cache-Control"] == "no-cache"
                assert response.headers["X-Request-ID"] == "mine-1"
                await response.read()

    asyncio.run(run())


def test_a_connection_serves_one_stream_after_the_other():
    async def run():
        async with served(says("Hello there")) as server:
            raw = await asyncio.open_connection("127.0.0.1", server.port)
            for _ in range(3):
                await send(raw[1], CHAT, ASK | {"stream": True})
                answer = await asyncio.wait_for(
                    raw[0].readuntil(b"[DONE]\n\n\r\n0\r\n\r\n"), WAIT_S
                )
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            raw[1].close()

    asyncio.run(run())


def test_http_1_0_gets_its_stream_without_chunks():
    async def run():
        async with served(says("Hello there")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await send(writer, CHAT, ASK | {"stream": True}, version="1.0")
            answer = await asyncio.wait_for(reader.read(), WAIT_S)
            body = answer.partition(b"\r\n\r\n")[2].decode()
            assert events(body)[-1] == "[DONE]"
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_goes_the_generation_is_cancelled(stream):
    async def run():
        async with served(says("a b c", reason="")) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await send(writer, CHAT, ASK | {"stream": stream})
            await until(lambda: server.dispatch.running)
            writer.close()
            await until(lambda: server.dispatch.cancelled)

    asyncio.run(run())


def test_a_reader_that_is_too_slow_is_cut_off():
    tokens = tokenizer().encode("many words in each piece of the answer " * 200).ids

    async def run():
        async with served(lambda request: [tokens] * 2000) as server:
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            _, writer = await asyncio.open_connection(sock=sock, limit=1024)
            await send(writer, CHAT, ASK | {"stream": True})
            await until(lambda: server.dispatch.cancelled)
            writer.transport.abort()

    asyncio.run(run())


@pytest.mark.parametrize("said", ["", "Hello"])
def test_between_signs_of_life_there_are_words_and_then_an_error_as_an_event(monkeypatch, said):
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)

    async def run():
        async with served(says(said, reason="")) as server:
            url, body = server.url + CHAT, ASK | {"stream": True}
            async with server.session.post(url, json=body) as response:
                for _ in range(3):
                    await response.content.readuntil(b"\n\n: keep-alive\n\n")
                (sink,) = server.dispatch.running.values()
                sink.on_tokens(tokenizer().encode(" again", add_special_tokens=False).ids)
                await response.content.readuntil(b" again")
                await response.content.readuntil(b"\n\n: keep-alive\n\n")
                sink.on_end(EngineFailed("it broke"))
                rest = [it for it in (await response.text()).split("\n\n") if it.startswith("d")]
            assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "engine_failed"

    asyncio.run(run())


async def send(writer, path: str, body: dict, version: str = "1.1") -> None:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
