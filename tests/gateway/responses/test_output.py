"""The items that pieces of an answer become, and the events that tell of them."""

import asyncio
import json

import pytest

from config.errors import EngineFailed
from gateway.answer import Ending
from gateway.http.logprobs import ChatSpelling
from gateway.responses.events import Events
from gateway.responses.ids import ItemIds, new_response_id
from gateway.responses.items import FunctionCall, Message, OutputText, Reasoning, ReasoningText
from gateway.responses.output import ItemWriter
from gateway.text.pieces import Piece, ToolCallDelta
from transport.messages.data import TokenLogprobs

STOP = Ending(reason="stop", prompt_tokens=1, completion_tokens=1)
LENGTH = Ending(reason="length", prompt_tokens=1, completion_tokens=1)


def written(*pieces, end=STOP, logprobs=False):
    """The writer after these pieces, of one token each, and its events."""

    async def run():
        sent: list[bytes] = []
        spelling = ChatSpelling(lambda token: b"<%d>" % token) if logprobs else None
        writer = ItemWriter(ItemIds(new_response_id(0)), Events(sent.append), spelling)
        for token, piece in enumerate(pieces):
            if isinstance(piece, str):
                writer.on_text(piece, [token])
            else:
                writer.on_piece(piece, [token], [TokenLogprobs(-1.0, [])] if logprobs else [])
        writer.on_end(end)
        assert writer.ended.result() is end
        return writer, [event_of(it) for it in sent]

    return asyncio.run(run())


def event_of(data: bytes) -> dict:
    name, body = data.decode().removesuffix("\n\n").split("\n")
    event = json.loads(body.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


def call(number, arguments, name=None):
    id_ = f"call_{number}" if name else None
    return Piece(tool_calls=[ToolCallDelta(number, id_, name, arguments)])


def names(events):
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_is_told_of_from_beginning_to_end():
    writer, events = written("Hel", "", "lo % {}\n")
    (item,) = writer.items
    assert item == Message(item.id, "assistant", [OutputText("Hello % {}\n")])
    assert names(events) == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert [event["sequence_number"] for event in events] == list(range(2, 9))
    assert {event.get("item_id", item.id) for event in events} == {item.id}
    assert {event["output_index"] for event in events} == {0}
    added, _, first, second, done, part, last = events
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    assert (first["delta"], second["delta"]) == ("Hel", "lo % {}\n")
    assert (first["content_index"], first["logprobs"]) == (0, [])
    assert done["text"] == part["part"]["text"] == "Hello % {}\n"
    assert last["item"]["status"] == "completed"


def test_thoughts_words_and_calls_are_items_of_their_own():
    writer, events = written(
        Piece(reasoning="Let me "),
        Piece(reasoning="look."),
        Piece(content="I look."),
        call(0, "", name="weather"),
        call(0, '{"city":'),
        call(0, '"Paris"}'),
        call(1, "{}", name="time"),
        Piece(content="Done."),
    )
    thoughts, words, weather, time, last = writer.items
    assert thoughts == Reasoning(thoughts.id, content=[ReasoningText("Let me look.")])
    assert words.content == [OutputText("I look.")]
    assert weather == FunctionCall(weather.id, "call_0", "weather", '{"city":"Paris"}')
    assert time == FunctionCall(time.id, "call_1", "time", "{}")
    assert last.content == [OutputText("Done.")]
    assert [it.id.partition("_")[0] for it in writer.items] == ["rs", "msg", "fc", "fc", "msg"]
    of_thoughts = [it for it in events if it["output_index"] == 0]
    assert names(of_thoughts) == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]
    of_weather = [it for it in events if it["output_index"] == 2]
    assert names(of_weather) == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert of_weather[-2]["arguments"] == weather.arguments
    assert of_weather[-1]["item"]["call_id"] == "call_0"


def test_items_come_one_after_the_other():
    _, events = written(Piece("a"), Piece(reasoning="b"), call(0, "{}", name="f"))
    assert [event["output_index"] for event in events] == sorted(
        event["output_index"] for event in events
    )
    assert [event["sequence_number"] for event in events] == list(range(2, 2 + len(events)))


@pytest.mark.parametrize("end", [LENGTH, EngineFailed("gone")])
def test_what_was_cut_off_is_incomplete(end):
    writer, events = written(Piece(reasoning="So"), Piece("Hel"), end=end)
    assert [it.status for it in writer.items] == ["completed", "incomplete"]
    assert events[-1]["item"]["status"] == "incomplete"


def test_an_answer_without_a_word_is_an_empty_message():
    writer, events = written("")
    assert writer.items[0].content == [OutputText("")]
    assert len(events) == 5
    assert written("", end=LENGTH)[0].items == []


def test_log_probabilities_are_those_of_the_answer_s_own_words():
    pieces = [Piece(reasoning="a"), Piece(), Piece("b"), Piece("c"), call(0, "{}", name="f")]
    writer, events = written(*pieces, logprobs=True)
    told = [it["logprobs"] for it in events if it["type"] == "response.output_text.delta"]
    assert [[it["token"] for it in one] for one in told] == [["<1>", "<2>"], ["<3>"]]
    (part,) = writer.items[1].content
    assert [it.token for it in part.logprobs] == ["<1>", "<2>", "<3>"]
    done = next(it for it in events if it["type"] == "response.output_text.done")
    assert [it["token"] for it in done["logprobs"]] == ["<1>", "<2>", "<3>"]


def test_nobody_needs_to_hear_events():
    async def run():
        writer = ItemWriter(ItemIds(new_response_id(0)), Events(), None)
        writer.on_text("Hello", [1])
        writer.on_end(STOP)
        return writer.items

    (item,) = asyncio.run(run())
    assert item.content == [OutputText("Hello")]
