"""Responses that are made while nobody waits, and their events, sent again."""

import asyncio

import openai
import pytest

from config.errors import EngineUnavailable
from gateway.responses.journal import Journal, replayed
from tests.gateway.responses.test_stored import with_two
from tests.gateway.scripted import fails, says, until

WAIT_S = 20.0


async def ended(responses, response_id):
    """The response when nobody works on it any more."""
    async with asyncio.timeout(WAIT_S):
        while (found := await responses.retrieve(response_id)).status == "in_progress":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def events_of(stream):
    return [event async for event in stream]


def test_any_gateway_knows_how_it_goes(tmp_path):
    async def test(one, two):
        begun = await one.responses.create(model="demo", input="Hi", background=True)
        assert (begun.status, begun.background, begun.output) == ("in_progress", True, [])
        found = await ended(two.responses, begun.id)
        assert (found.status, found.output_text) == ("completed", "Hello there.")
        assert found.usage.output_tokens > 0
        again = await two.responses.create(model="demo", input="x", previous_response_id=begun.id)
        assert again.status == "completed"

    with_two(tmp_path, says("Hello there."), test)


def test_what_fails_says_so(tmp_path):
    async def test(one, two):
        begun = await one.responses.create(model="demo", input="Hi", background=True)
        found = await ended(two.responses, begun.id)
        assert (found.status, found.error.message) == ("failed", "gone")
        assert found.output_text == "Hel"

    with_two(tmp_path, fails(EngineUnavailable("gone"), after="Hel"), test)


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_any_gateway_can_end_it(tmp_path, how):
    async def test(one, two):
        begun = await one.responses.create(model="demo", input="Hi", background=True)
        with pytest.raises(openai.BadRequestError, match="in progress"):
            await two.responses.create(model="demo", input="x", previous_response_id=begun.id)
        if how == "cancel":
            assert (await two.responses.cancel(begun.id)).status == "cancelled"
            assert (await one.responses.cancel(begun.id)).status == "cancelled"
        else:
            await two.responses.delete(begun.id)
        await until(lambda: not one.dispatch.running)
        assert one.dispatch.cancelled
        if how == "cancel":
            assert (await one.responses.retrieve(begun.id)).status == "cancelled"

    with_two(tmp_path, says("Hello", reason=""), test)


def test_only_what_is_made_in_the_background_is_cancelled(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi")
        with pytest.raises(openai.BadRequestError, match="background"):
            await one.responses.cancel(made.id)
        begun = await one.responses.create(model="demo", input="Hi", background=True)
        await ended(one.responses, begun.id)
        assert (await one.responses.cancel(begun.id)).status == "completed"

    with_two(tmp_path, says("Hello."), test)


def test_events_are_sent_again_by_any_gateway(tmp_path):
    async def test(one, two):
        stream = await one.responses.create(model="demo", input="Hi", background=True, stream=True)
        told = await events_of(stream)
        assert [it.sequence_number for it in told] == list(range(len(told)))
        assert told[-1].type == "response.completed"
        response_id = told[0].response.id
        for after in (None, 0, 5, len(told) - 1):
            given = {} if after is None else {"starting_after": after}
            again = await two.responses.retrieve(response_id, stream=True, **given)
            first = 0 if after is None else after + 1
            assert [it.to_dict() for it in await events_of(again)] == [
                it.to_dict() for it in told[first:]
            ]

    with_two(tmp_path, says("Hello there."), test)


def test_a_client_may_go_and_another_one_sees_it_through(tmp_path):
    async def test(one, two):
        stream = await one.responses.create(model="demo", input="Hi", background=True, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        (response_id,) = [it.stem for it in one.store.folder.glob("*/*.events")]
        following = asyncio.create_task(
            events_of(await two.responses.retrieve(response_id, stream=True))
        )
        await asyncio.sleep(0)
        assert one.dispatch.running
        await one.responses.cancel(response_id)
        told = await following
        assert [it.type for it in told[:2]] == ["response.created", "response.in_progress"]
        assert told[-1].type == "response.output_text.delta"

    with_two(tmp_path, says("Hello", reason=""), test)


def test_what_could_not_begin_leaves_nothing(tmp_path):
    async def test(one, two):
        keep = one.store.keep

        def drained(tenant, record):
            one.service.drain()
            return keep(tenant, record)

        one.store.keep = drained
        with pytest.raises(openai.InternalServerError, match="shutting down"):
            await one.responses.create(model="demo", input="Hi", background=True)
        assert not list(one.store.folder.glob("*/resp_*"))

    with_two(tmp_path, says("Hello."), test)


def test_what_was_not_streamed_cannot_be_streamed_again(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi")
        with pytest.raises(openai.BadRequestError) as caught:
            await one.responses.retrieve(made.id, stream=True)
        assert caught.value.param == "stream"
        with pytest.raises(openai.BadRequestError):
            await one.responses.retrieve(made.id, extra_query={"stream": "maybe"})

    with_two(tmp_path, says("Hello."), test)


def test_a_gateway_that_dies_leaves_failures_behind(tmp_path):
    async def test(one, two):
        begun = await one.responses.create(model="demo", input="Hi", background=True)
        for trace in one.store.folder.glob("*.alive"):
            trace.unlink()
        found = await two.responses.retrieve(begun.id)
        assert (found.status, found.error.code) == ("failed", "server_error")

    with_two(tmp_path, says("Hello", reason=""), test)


def test_a_replay_ends_where_nobody_writes_any_more(tmp_path):
    (tmp_path / "events").write_bytes(b"event: a\n\nevent: b\n\nevent: c")

    async def run():
        async with asyncio.timeout(WAIT_S):
            return [it async for it in replayed(tmp_path / "events", 1, lambda: True)]

    assert asyncio.run(run()) == [b"event: b\n\n"]


def test_events_that_cannot_be_kept_end_their_replay(tmp_path):
    async def run():
        path = tmp_path / "events"
        journal = Journal(path)
        journal.put(b"event: a\n\n")
        seen = replayed(path, 0, lambda: False)
        async with asyncio.timeout(WAIT_S):
            assert await anext(seen) == b"event: a\n\n"
        path.unlink()
        journal.close()
        async with asyncio.timeout(WAIT_S):
            assert [it async for it in seen] == []

    asyncio.run(run())
