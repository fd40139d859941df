"""No accepted request is lost: engines die and hang under running streams."""

import asyncio
import json
import signal
import urllib.error

import pytest

from tests.e2e.server import Server, wait_for
from tests.e2e.streams import request, run_streams

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
TWO_MODELS = """
engine: {max_concurrent: 2}  # some wait in the engine's queue
supervision: {period_s: 6}
models:
  - {model: demo}
  - {model: demo, alias: second, load: on_demand}  # or the server ends with its last model
"""


def total(streams):
    return sum(len(stream.text) for stream in streams)


def assert_same(streams, undisturbed):
    for i, (stream, expected) in enumerate(zip(streams, undisturbed, strict=True)):
        assert stream.errors == [], i
        assert stream.complete, i
        assert (stream.text, stream.finish) == (expected.text, expected.finish), i


def test_64_streams_survive_the_death_of_one_engine_and_then_of_the_other():
    bodies = [request(i) for i in range(64)]
    with Server("demo", "--replicas", "2") as server:
        url = server.wait_ready()
        undisturbed = asyncio.run(run_streams(url, bodies))
        assert all(stream.complete for stream in undisturbed)
        everything = total(undisturbed)

        def kill_both(streams):
            wait_for(lambda: total(streams) > everything * 0.15, what="some text")
            dead = server.kill("engine:demo:0")
            server.wait_successor(dead)
            server.kill("engine:demo:1")

        assert_same(asyncio.run(run_streams(url, bodies, kill_both)), undisturbed)
        assert server.child("engine:demo:0").restarts >= 1


def test_the_only_engine_dies_and_running_and_queued_requests_wait_for_its_successor():
    bodies = [request(i) for i in range(6)]
    with Server(env={"MLX_SERVING_ENGINE__MAX_CONCURRENT": "2"}) as server:
        url = server.wait_ready()
        undisturbed = asyncio.run(run_streams(url, bodies))

        def kill(streams):
            wait_for(lambda: total(streams) > 100, what="some text")
            server.kill("engine:demo:0")

        assert_same(asyncio.run(run_streams(url, bodies, kill)), undisturbed)


def test_streams_wait_for_the_next_try_of_a_model_whose_engine_died_too_often(tmp_path):
    bodies = [request(i) for i in range(4)]
    config = tmp_path / "serving.yaml"
    config.write_text(TWO_MODELS, "utf-8")
    env = {"MLX_SERVING_SUPERVISION__INTENSITY": "1"}
    with Server("--config", str(config), env=env) as server:
        url = server.wait_ready()
        undisturbed = asyncio.run(run_streams(url, bodies))

        def state():
            return json.loads(server.get("/ready")[1])["models"]["demo"]

        def restarted(engine):
            return engine.incarnation == 2 and engine.pid

        def kill_twice(streams):
            wait_for(lambda: total(streams) > 100, what="some text")
            server.kill("engine:demo:0")
            wait_for(lambda: restarted(server.child("engine:demo:0")), what="its successor")
            server.kill("engine:demo:0")
            wait_for(lambda: state() == "failed", what="its failure")
            with pytest.raises(urllib.error.HTTPError) as caught:
                server.chat("Hi")
            with caught.value as error:
                assert error.code == 503
                assert error.headers["Retry-After"]

        assert_same(asyncio.run(run_streams(url, bodies, kill_twice)), undisturbed)
        assert server.child("engine:demo:0").incarnation == 3


def test_a_hung_engine_is_found_out_killed_and_replaced():
    bodies = [request(i) for i in range(8)]
    with Server("demo", "--replicas", "2") as server:
        url = server.wait_ready()
        undisturbed = asyncio.run(run_streams(url, bodies))

        def freeze(streams):
            wait_for(lambda: total(streams) > 200, what="some text")
            server.wait_successor(server.kill("engine:demo:1", signal.SIGSTOP))

        assert_same(asyncio.run(run_streams(url, bodies, freeze)), undisturbed)


def test_running_streams_do_not_notice_the_death_of_control():
    bodies = [request(i) for i in range(8)]
    with Server() as server:
        url = server.wait_ready()
        undisturbed = asyncio.run(run_streams(url, bodies))

        def kill(streams):
            wait_for(lambda: total(streams) > 200, what="some text")
            dead = server.kill("control")
            assert server.chat("What is the capital of France?", temperature=0)
            server.wait_successor(dead)

        assert_same(asyncio.run(run_streams(url, bodies, kill)), undisturbed)
