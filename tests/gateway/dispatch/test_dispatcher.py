import asyncio

from config.errors import (
    Draining,
    EngineUnavailable,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    RequestTimeout,
)
from config.settings import CircuitBreakerSettings
from gateway.dispatch.flusher import AT_ONCE
from tests.gateway.dispatch.house import (
    PATIENT_S,
    assert_whole,
    in_house,
    outcomes,
    releases,
    routes,
    undisturbed,
    until,
)
from transport.codec import Codec
from transport.fake import fake_tokens
from transport.messages.data import Cancel, Delta, Finished, StepOutput
from transport.messages.topology import ModelGone

from_engine = Codec(StepOutput)
SLOW = 0.01
IMPATIENT = CircuitBreakerSettings(first_token_timeout_s=0.3, token_gap_timeout_s=0.3)


@in_house
async def test_a_request_is_answered(house):
    await house.open("e0")
    sink = house.submit(count=20)
    await sink.ended()
    assert_whole(sink)
    assert sink.end.prompt_tokens == 5
    assert house.dispatcher.active == 0


@in_house
async def test_the_lease_is_released_with_its_story(house):
    await house.open("e0")
    await house.submit(count=20).ended()
    await until(lambda: house.control.leases == 0)
    (release,) = releases(house)
    assert (release.outcome, release.tokens) == ("finished", 20)
    assert release.first_token_s > 0
    assert release.max_gap_s > 0


@in_house
async def test_a_stop_token_ends_the_sequence_and_is_counted(house):
    await house.open("e0")
    tokens = fake_tokens(1, 5, 10)
    sink = house.submit(count=50, stop_token_ids=[tokens[9]])
    end = await sink.ended()
    assert sink.tokens == tokens[: tokens.index(tokens[9])]
    assert (end.reason, end.completion_tokens) == ("stop", len(sink.tokens) + 1)


@in_house
async def test_one_loop_turn_makes_one_message_to_each(house):
    await house.open("e0", "e1")
    sinks = [house.submit(seed=seed) for seed in range(30)]
    await asyncio.gather(*(sink.ended() for sink in sinks))
    assert [len(batch) for batch in routes(house)] == [30]
    for engine in house.engines.values():
        assert [len(batch.items) for batch in engine.received] == [15]


@in_house(models=("fake",))
async def test_of_very_many_a_part_goes_out_before_the_turn_is_over(house):
    await house.open("e0")
    sinks = [house.submit(seed=seed) for seed in range(AT_ONCE + 8)]
    await asyncio.gather(*(sink.ended() for sink in sinks))
    assert [len(batch) for batch in routes(house)] == [AT_ONCE, 8]


@in_house(models=("fake",))
async def test_submitted_before_there_is_a_control(house):
    sink = house.submit()
    await asyncio.sleep(0.05)
    await house.open("e0")
    await sink.ended()
    assert_whole(sink)


@in_house(models=("fake",))
async def test_waits_for_the_first_engine(house):
    house.start_control()
    sink = house.submit()
    await until(lambda: routes(house))
    house.start_engine("e0")
    await sink.ended()
    assert_whole(sink)


@in_house
async def test_models_are_known_from_the_topology(house):
    await house.open("e0")
    view = house.dispatcher.model("fake")
    assert (view.state, view.ready_replicas, view.card.name) == ("ready", 1, "fake")
    assert house.dispatcher.models() == [view]
    house.control.publish(ModelGone("fake"))
    await until(lambda: house.dispatcher.model("fake") is None)


@in_house
async def test_an_unknown_model_is_refused_at_once_but_after_submit(house):
    await house.open("e0")
    sink = house.submit(model="other")
    assert not sink.ends
    assert isinstance(await sink.ended(), ModelNotFound)


@in_house
async def test_an_unknown_model_is_refused_by_control_too(house):
    house.start_control()
    assert isinstance(await house.submit(model="other").ended(), ModelNotFound)


@in_house(leases_per_engine=1)
async def test_a_full_queue_refuses_new_requests_at_once(house):
    await house.open("e0", step_s=SLOW)
    first, second = house.submit(), house.submit()
    end = await second.ended()
    assert isinstance(end, QueueFull)
    assert end.retry_after_s == 3.0
    await first.ended()
    assert_whole(first)


@in_house(leases_per_engine=1)
async def test_a_full_queue_keeps_a_resumed_request_waiting(house):
    await house.open("e0", "e1", step_s=SLOW)
    sinks = [house.submit(count=30), house.submit(count=30)]
    await until(lambda: all(len(sink.tokens) > 3 for sink in sinks))
    house.kill_engine("e0")
    for sink in sinks:
        await sink.ended()
        assert_whole(sink)


@in_house
async def test_a_lease_nobody_waits_for_is_given_back(house):
    await house.open("e0")
    sink = house.submit()
    await asyncio.sleep(0)  # sends what this turn produced
    house.dispatcher.cancel(sink.id)
    assert sink.end.reason == "cancelled"
    await until(lambda: outcomes(house) == ["cancelled"])
    assert house.control.leases == 0
    assert not house.engines["e0"].received


@in_house
async def test_cancel_while_it_runs(house):
    await house.open("e0", step_s=SLOW)
    sink = house.submit(count=1000)
    await until(lambda: sink.tokens)
    house.dispatcher.cancel(sink.id)
    assert sink.end.reason == "cancelled"
    assert sink.end.completion_tokens == len(sink.tokens)
    house.dispatcher.cancel(sink.id)
    await until(lambda: house.engines["e0"].received[-1].items == [Cancel(sink.id)])
    await until(lambda: outcomes(house) == ["cancelled"])


@in_house
async def test_who_has_all_he_needs_counts_as_finished(house):
    await house.open("e0", step_s=SLOW)
    sink = house.submit(count=1000)
    await until(lambda: len(sink.tokens) > 1)
    house.dispatcher.cancel(sink.id, "stop")
    assert (sink.end.reason, sink.end.completion_tokens) == ("stop", len(sink.tokens))
    await until(lambda: house.engines["e0"].received[-1].items == [Cancel(sink.id)])
    await until(lambda: outcomes(house) == ["finished"])
    assert releases(house)[0].first_token_s > 0


@in_house
async def test_time_in_the_engine_s_queue_is_not_held_against_it(house):
    await house.open("e0", prefill_s=PATIENT_S)
    sink = house.submit(count=3)
    await until(lambda: house.engines["e0"].received)
    end = Finished(sink.id, "length", 5, 3, queued_s=1000.0)
    output = StepOutput("e0", 1, [Delta(sink.id, [1, 2, 3])], [end])
    house.engines["e0"].inject(from_engine.encode(output))
    await sink.ended()
    await until(lambda: releases(house))
    assert releases(house)[0].first_token_s == 0.0


@in_house
async def test_a_sink_may_cancel_from_within(house):
    await house.open("e0")
    sink = house.submit(count=100)
    keep = sink.on_tokens

    def on_tokens(tokens):
        keep(tokens)
        if len(sink.tokens) == 3:
            house.dispatcher.cancel(sink.id)

    sink.on_tokens = on_tokens
    other = house.submit(count=100)
    assert (await sink.ended()).reason == "cancelled"
    assert len(sink.tokens) == 3
    await other.ended()
    assert_whole(other)


@in_house
async def test_a_sink_that_raises_harms_nobody_else(house):
    await house.open("e0")
    bad, good = house.submit(count=50), house.submit(count=50)

    def on_tokens(tokens):
        raise RuntimeError("a bug")

    bad.on_tokens = on_tokens
    await good.ended()
    assert_whole(good)
    assert (await bad.ended()).reason == "cancelled"


@in_house(models=("fake",))
async def test_no_engine_until_the_deadline(house):
    house.start_control()
    end = await house.submit(timeout_s=0.3).ended()
    assert isinstance(end, EngineUnavailable)
    assert end.retry_after_s == 2.0


@in_house
async def test_no_control_until_the_deadline(house):
    end = await house.submit(timeout_s=0.2).ended()
    assert isinstance(end, EngineUnavailable)
    assert end.retry_after_s > 0


@in_house
async def test_the_deadline_of_a_running_request(house):
    await house.open("e0", step_s=SLOW)
    sink = house.submit(count=10_000, timeout_s=0.3)
    assert isinstance(await sink.ended(), RequestTimeout)
    assert sink.tokens == undisturbed(sink.asked)[: len(sink.tokens)]


@in_house
async def test_idle_once_nothing_is_left(house):
    await house.open("e0", step_s=SLOW)
    sink = house.submit(count=20)
    assert not await house.dispatcher.idle(0.01)
    assert await house.dispatcher.idle(PATIENT_S)
    assert_whole(sink)


@in_house
async def test_close_ends_what_is_left(house):
    await house.open("e0", step_s=SLOW)
    running = house.submit(count=1000)
    await until(lambda: running.tokens)
    routing = house.submit()
    await house.dispatcher.close()
    assert isinstance(running.end, Draining)
    assert isinstance(routing.end, Draining)
    await until(lambda: house.engines["e0"].received[-1].items == [Cancel(running.id)])


class Heard:
    """An observer that remembers everything."""

    def __init__(self):
        self.active = 0
        self.generations = []
        self.pauses = []

    def started(self):
        self.active += 1

    def recovered(self, model, pause_s):
        self.pauses.append((model, pause_s))

    def ended(self, generation):
        self.active -= 1
        self.generations.append(generation)


def test_the_observer_hears_of_every_request_and_recovery():
    heard = Heard()

    @in_house(observer=heard)
    async def test(house):
        await house.open("e0", "e1", step_s=SLOW)
        sink = house.submit(count=40)
        await until(lambda: len(sink.tokens) > 3)
        house.kill_engine(next(iter(house.dispatcher._streams.values())).link.engine_id)
        await sink.ended()
        await house.submit(model="other").ended()

    test()
    assert heard.active == 0
    ((model, pause_s),) = heard.pauses
    good, bad = heard.generations
    assert (model, good.code, good.completion_tokens) == ("fake", "length", 40)
    assert 0 < pause_s < good.duration_s
    assert good.mean_gap_s <= good.duration_s
    assert 0 < good.route_s < good.duration_s
    assert (bad.code, bad.route_s, bad.first_token_s) == ("model_not_found", None, None)


@in_house
async def test_a_turn_too_large_for_one_frame_is_sent_in_several(house):
    await house.open("e0")
    sinks = [house.submit(count=3, prompt=600_000) for _ in range(3)]
    for sink in sinks:
        await sink.ended()
        assert_whole(sink)
    assert [len(batch.items) for batch in house.engines["e0"].received] == [1, 1, 1]


@in_house
async def test_a_request_that_cannot_be_sent_harms_no_other(house):
    await house.open("e0")
    broken = house.submit(session="\udcff")  # no UTF-8 can hold it
    sinks = [house.submit(seed=seed) for seed in range(3)]
    await asyncio.sleep(0)
    later = house.submit(seed=9)
    for sink in (*sinks, later):
        await sink.ended()
        assert_whole(sink)
    assert isinstance(broken.end, InvalidRequest)
