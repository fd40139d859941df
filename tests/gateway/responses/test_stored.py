"""What is stored: continued, found, listed and deleted, by whichever gateway is asked."""

import asyncio
import contextlib

import openai
import pytest

from config.settings import ResponsesSettings
from gateway.responses import routes
from tests.gateway.responses.gateways import gateway
from tests.gateway.responses.test_create import CALLED, TOOL, prompt_of
from tests.gateway.scripted import says, until


def with_two(folder, script, test, **kwargs):
    """Run a test with two gateways of one store."""

    async def run():
        async with (
            gateway(folder, script, **kwargs) as one,
            gateway(folder, script, **kwargs) as two,
        ):
            return await test(one, two)

    return asyncio.run(run())


def test_any_gateway_goes_on_with_a_conversation(tmp_path):
    async def test(one, two):
        first = await one.responses.create(
            model="demo", input="My name is Ada.", instructions="Be kind.", prompt_cache_key="k"
        )
        second = await two.responses.create(
            model="demo", input="And I?", previous_response_id=first.id
        )
        third = await one.responses.create(
            model="demo", input="Well?", previous_response_id=second.id
        )
        assert third.previous_response_id == second.id
        assert two.dispatch.requests[0].session == "k"
        return prompt_of(one.dispatch.requests[1])

    prompt = with_two(tmp_path, says("Nice to meet you."), test)
    assert "Be kind." not in prompt  # instructions are not carried over
    places = [prompt.index(it) for it in ("My name is Ada.", "And I?", "Well?")]
    assert places == sorted(places)
    assert prompt.count("Nice to meet you.") == 2


def test_a_conversation_is_a_session_without_being_named(tmp_path):
    async def test(one, two):
        last, first = None, None
        for asked in (one, two, one):
            last = await asked.responses.create(
                model="demo", input="Hi", previous_response_id=last and last.id
            )
            first = first or last.id
            assert asked.dispatch.requests[-1].session == first
        await one.responses.create(model="demo", input="Hi", previous_response_id=last.id, user="u")
        await one.responses.create(model="demo", input="Hi", store=False)
        other = await one.responses.create(model="demo", input="Hi")
        sessions = [it.session for it in one.dispatch.requests[-3:]]
        assert sessions == ["u", None, other.id]

    with_two(tmp_path, says("Hello."), test)


def test_calls_are_answered_by_their_id_alone(tmp_path):
    async def test(one, two):
        first = await one.responses.create(model="demo", input="Paris?", tools=[TOOL])
        (call,) = first.output
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
        await two.responses.create(
            model="demo", input=[result], tools=[TOOL], previous_response_id=first.id
        )
        prompt = prompt_of(two.dispatch.requests[0])
        assert '{"city": "Paris"}' in prompt
        assert "<tool_response>\nsun\n</tool_response>" in prompt

    with_two(tmp_path, says(CALLED), test)


def test_items_are_referred_to_by_their_ids(tmp_path):
    async def test(one, two):
        first = await one.responses.create(model="demo", input="My name is Ada.")
        (asked,) = (await two.responses.input_items.list(first.id)).data
        references = [{"type": "item_reference", "id": it.id} for it in (asked, first.output[0])]
        question = {"role": "user", "content": "Well?"}
        await two.responses.create(model="demo", input=[*references, question])
        prompt = prompt_of(two.dispatch.requests[0])
        assert prompt.index("My name is Ada.") < prompt.index("Hello.") < prompt.index("Well?")
        with pytest.raises(openai.BadRequestError, match="no item"):
            await two.of("other").create(model="demo", input=references)

    with_two(tmp_path, says("Hello."), test)


def test_what_is_stored_is_found_listed_and_deleted(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi")
        assert (await two.responses.retrieve(made.id)).to_dict() == made.to_dict()
        (item,) = (await two.responses.input_items.list(made.id)).data
        assert (item.role, item.content[0].text) == ("user", "Hi")
        await two.responses.delete(made.id)
        for ask in (one.responses.retrieve, one.responses.delete, one.responses.cancel):
            with pytest.raises(openai.NotFoundError) as caught:
                await ask(made.id)
            assert caught.value.code == "response_not_found"
        with pytest.raises(openai.BadRequestError) as caught:
            await one.responses.create(model="demo", input="x", previous_response_id=made.id)
        assert caught.value.code == "previous_response_not_found"
        assert caught.value.param == "previous_response_id"

    with_two(tmp_path, says("Hello."), test)


def test_nothing_is_kept_of_what_shall_not_be(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi", store=False)
        assert made.store is False
        async for event in await one.responses.create(
            model="demo", input="Hi", store=False, stream=True
        ):
            last = event
        for response_id in (made.id, last.response.id):
            with pytest.raises(openai.NotFoundError):
                await two.responses.retrieve(response_id)
        assert not list(one.store.folder.glob("*/resp_*"))

    with_two(tmp_path, says("Hello."), test)


def test_what_there_is_no_room_for_says_that_it_is_not_stored(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi")
        assert (made.output_text, made.store) == ("Hello.", False)
        async for event in await one.responses.create(model="demo", input="Hi", stream=True):
            last = event
        assert last.response.store is False
        with pytest.raises(openai.InternalServerError, match="no room"):
            await one.responses.create(model="demo", input="Hi", background=True)

    with_two(tmp_path, says("Hello."), test, settings=ResponsesSettings(max_bytes=100))


def test_what_is_streamed_is_stored(tmp_path):
    async def test(one, two):
        async for event in await one.responses.create(model="demo", input="Hi", stream=True):
            last = event
        assert (await two.responses.retrieve(last.response.id)).output_text == "Hello."

    with_two(tmp_path, says("Hello."), test)


def test_what_is_expired_goes_without_being_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(routes, "SWEEP_S", 0.01)

    async def test(one, two):
        await one.responses.create(model="demo", input="Hi")
        await until(lambda: not list(one.store.folder.glob("*/resp_*")))

    with_two(tmp_path, says("Hello."), test, settings=ResponsesSettings(ttl_s=0.001))


def test_other_tenants_find_nothing(tmp_path):
    async def test(one, two):
        made = await one.responses.create(model="demo", input="Hi")
        other = two.of("other")
        for ask in (other.retrieve, other.delete, other.cancel, other.input_items.list):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)
        with pytest.raises(openai.BadRequestError):
            await other.create(model="demo", input="x", previous_response_id=made.id)
        assert (await two.responses.retrieve(made.id)).id == made.id

    with_two(tmp_path, says("Hello."), test)


def test_items_are_listed_in_pages(tmp_path):
    async def test(one, two):
        items = [{"role": "user", "content": str(at)} for at in range(5)]
        made = await one.responses.create(model="demo", input=items)
        pages = await two.responses.input_items.list(made.id, limit=2)
        assert pages.has_more
        assert [it.content[0].text async for it in pages] == ["4", "3", "2", "1", "0"]
        later = await one.responses.create(model="demo", input="5", previous_response_id=made.id)
        page = await two.responses.input_items.list(later.id, order="asc")
        texts = [it.content[0].text for it in page.data]
        assert texts == ["0", "1", "2", "3", "4", "Hello.", "5"]
        assert (page.first_id, page.has_more) == (page.data[0].id, False)
        told = await two.responses.input_items.list(made.id, include=[], extra_query={"v": "1"})
        assert len(told.data) == 5
        for wrong in ({"limit": 0}, {"order": "up"}, {"after": "x"}, {"limit": "many"}):
            with pytest.raises(openai.BadRequestError) as caught:
                await two.responses.input_items.list(made.id, **wrong)
            assert caught.value.param == next(iter(wrong))

    with_two(tmp_path, says("Hello."), test)


@pytest.mark.parametrize("response_id", ["resp_1", "..%2F..%2Fetc", "x" * 300])
def test_an_id_that_is_none_is_not_found(tmp_path, response_id):
    async def test(one, two):
        with contextlib.suppress(ValueError), pytest.raises(openai.APIStatusError) as caught:
            await one.responses.retrieve(response_id)
        assert caught.value.status_code in {400, 404}

    with_two(tmp_path, says("Hello."), test)
