"""Streamed answers, byte for byte."""

import asyncio
import json
import re

import pytest

from config.errors import EngineFailed
from gateway.http import sse
from tests.gateway.anthropic.test_messages import ASK, MESSAGES, THOUGHT, TOOL, written
from tests.gateway.scripted import demo_view, fails, says, served, thinking_view, until

USAGE = '"cache_creation_input_tokens":0,"service_tier":"standard"}'


def stream_of(script, body=ASK, view=None) -> list[tuple[str, str]]:
    """Names and data of the events, ids starred and counts of the prompt too."""

    async def run():
        async with served(script, views=[view or demo_view()]) as server:
            text = await server.stream(MESSAGES, body)
            assert not server.dispatch.running
            return text

    text = asyncio.run(run())
    text = re.sub(r'"(msg|toolu)_\w+"', r'"\1_*"', text)
    text = re.sub(r'"input_tokens":\d+', '"input_tokens":0', text)
    assert text.endswith("\n\n")
    events = []
    for event in text[:-2].split("\n\n"):
        name, data = event.split("\n")
        events.append((name.removeprefix("event: "), data.removeprefix("data: ")))
        assert json.loads(events[-1][1])["type"] == events[-1][0]
    return events


def block(index: int, start: str, *deltas: str) -> list[tuple[str, str]]:
    where = f'"index":{index},'
    return [
        (
            "content_block_start",
            f'{{"type":"content_block_start",{where}"content_block":{start}}}',
        ),
        *[
            ("content_block_delta", f'{{"type":"content_block_delta",{where}"delta":{delta}}}')
            for delta in deltas
        ],
        ("content_block_stop", f'{{"type":"content_block_stop","index":{index}}}'),
    ]


def text_delta(text: str) -> str:
    return f'{{"type":"text_delta","text":{json.dumps(text, ensure_ascii=False)}}}'


HEAD = [
    (
        "message_start",
        '{"type":"message_start","message":{"type":"message","id":"msg_*","role":"assistant",'
        '"model":"demo","content":[],"stop_reason":null,"stop_sequence":null,"usage":'
        '{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0,' + USAGE + "}}",
    ),
    ("ping", '{"type":"ping"}'),
]


def tail(reason: str, tokens: int, stop: str = "null") -> list[tuple[str, str]]:
    return [
        (
            "message_delta",
            f'{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":{stop}}},'
            f'"usage":{{"input_tokens":0,"output_tokens":{tokens},"cache_read_input_tokens":1,'
            + USAGE
            + "}",
        ),
        ("message_stop", '{"type":"message_stop"}'),
    ]


def test_text():
    deltas = [text_delta(it) for it in ("Hello", " there", ",", " ", "ü")]
    text = block(0, '{"type":"text","text":""}', *deltas)
    assert stream_of(says("Hello there, ü")) == HEAD + text + tail("end_turn", 6)


def test_without_a_word_there_is_still_a_whole_stream():
    assert stream_of(says("")) == HEAD + tail("end_turn", 1)


def test_a_stop_sequence():
    body = ASK | {"stop_sequences": [" there"]}
    text = block(0, '{"type":"text","text":""}', text_delta("Hello"))
    end = tail("stop_sequence", 2, '" there"')
    assert stream_of(says("Hello there"), body) == HEAD + text + end


def test_tools_are_used_in_blocks_of_their_own():
    events = stream_of(says("I look.\n" + written("Paris", "Rome")), ASK | {"tools": [TOOL]})
    assert [name for name, _ in events if name.endswith(("start", "stop"))] == [
        "message_start",
        *["content_block_start", "content_block_stop"] * 3,
        "message_stop",
    ]
    assert json.loads(events[-2][1])["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    inputs = {1: "", 2: ""}
    for name, data in events:
        told = json.loads(data)
        if name == "content_block_start" and told["index"]:
            use = {"type": "tool_use", "id": "toolu_*", "name": "get_weather", "input": {}}
            assert told["content_block"] == use
        if name == "content_block_delta" and told["index"]:
            assert told["delta"].keys() == {"type", "partial_json"}
            assert told["delta"]["type"] == "input_json_delta"
            inputs[told["index"]] += told["delta"]["partial_json"]
    assert [json.loads(text) for text in inputs.values()] == [{"city": "Paris"}, {"city": "Rome"}]


THINKING = '{"type":"thinking","thinking":"","signature":""}'
SIGNED = '{"type":"signature_delta","signature":"unsigned"}'


def thought(text: str) -> str:
    return f'{{"type":"thinking_delta","thinking":"{text}"}}'


def test_thoughts_come_first_and_end_with_a_signature(tmp_path):
    body = ASK | {"thinking": {"type": "adaptive"}}
    events = stream_of(says(THOUGHT), body, thinking_view(tmp_path))
    thoughts = block(0, THINKING, *map(thought, ("So", " be", " it", ".")), SIGNED)
    text = block(1, '{"type":"text","text":""}', *map(text_delta, ("Y", "es", ".")))
    assert events[:-2] == HEAD + thoughts + text


def test_thoughts_may_be_left_out(tmp_path):
    body = ASK | {"thinking": {"type": "adaptive", "display": "omitted"}}
    events = stream_of(says(THOUGHT), body, thinking_view(tmp_path))
    text = block(1, '{"type":"text","text":""}', *map(text_delta, ("Y", "es", ".")))
    assert events[:-2] == HEAD + block(0, THINKING, SIGNED) + text


def test_an_error_after_the_first_byte_is_an_event_and_the_end():
    events = stream_of(fails(EngineFailed("it broke"), after="Hello"))
    error = '{"type":"error","error":{"type":"overloaded_error","message":"it broke"}}'
    assert events[2:] == [
        *block(0, '{"type":"text","text":""}', text_delta("Hello"))[:-1],
        ("error", error),
    ]


def test_when_the_client_goes_the_generation_is_cancelled():
    async def run():
        async with served(says("a b c", reason="")) as server:
            url = server.url + MESSAGES
            async with server.session.post(url, json=ASK | {"stream": True}) as response:
                await response.content.readuntil(b" c")
                response.close()
            await until(lambda: server.dispatch.cancelled)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "alive"),
    [(MESSAGES, b'event: ping\ndata: {"type":"ping"}'), ("/v1/chat/completions", b": keep-alive")],
)
def test_a_stream_is_kept_alive_while_nothing_comes(monkeypatch, path, alive):
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)

    async def run():
        async with served(says("", reason="")) as server:
            url, body = server.url + path, ASK | {"stream": True}
            async with server.session.post(url, json=body) as response:
                for _ in range(4):
                    await response.content.readuntil(alive + b"\n\n")
                response.close()
            await until(lambda: server.dispatch.cancelled)

    asyncio.run(run())
