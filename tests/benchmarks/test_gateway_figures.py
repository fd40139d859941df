"""What the gateway's benchmarks ask and count; what they measure is not for a test."""

import json
import sys
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from benchmarks.gateway import LOADS, fast_server
from benchmarks.gateway_floor import ask_directly
from benchmarks.gateway_peers import peers, refusal, started
from benchmarks.gateway_routing import between, counts, share_s
from benchmarks.load import HEADERS, Cores, cores_for
from transport.fake import FakeEngine


def test_with_cores_enough_each_gateway_and_the_load_have_their_own():
    assert cores_for(2, 4) == Cores((0, 1), 2, 3)
    assert cores_for(2, 3) == Cores((0, 0), 1, 1)
    assert cores_for(1, 2) == Cores((0,), 1, 1)


def test_a_share_of_leases_is_told_by_the_bucket_that_it_is_in():
    before = {0.001: 900.0, 0.005: 1000.0, float("inf"): 1000.0}
    after = {0.001: 990.0, 0.005: 1097.0, float("inf"): 1100.0}
    grown = between(before, after)
    assert grown == {0.001: 90.0, 0.005: 97.0, float("inf"): 100.0}
    assert [share_s(grown, share) for share in (0.5, 0.95, 0.99)] == [0.001, 0.005, float("inf")]


@pytest.mark.parametrize("at_a_time", [1, 16])
def test_an_engine_is_asked_directly(tmp_path, at_a_time):
    endpoint = f"ipc://{tmp_path}/e.sock"
    engine = FakeEngine("e0", 3, endpoint)
    try:
        facts = SimpleNamespace(incarnation=3, facts={"endpoint": endpoint})
        found = ask_directly(facts, 200, 8, at_a_time, seconds=0.0)
        assert 0 < found["p50"] <= found["p95"] <= found["p99"]
        asked = [item for batch in engine.received for item in batch.items]
        assert [len(item.tokens) for item in asked] == [200] * at_a_time
        assert {(item.max_tokens, item.incarnation) for item in asked} == {(8, 3)}
    finally:
        engine.die()


def test_sglang_router_is_asked_for_token_ids_where_it_takes_them(tmp_path):
    loads = {peer.package: peer.loads for peer in peers(tmp_path / "litellm.json")}
    path, body = loads["sglang-router"]["token ids"]
    ours = LOADS["token ids"][1]
    assert (path, body["input_ids"]) == ("/generate", ours["prompt"])
    assert body["sampling_params"]["max_new_tokens"] == ours["max_tokens"]
    assert loads["vllm-router"] == loads["litellm"] == LOADS


@pytest.mark.processes
def test_a_peer_that_does_not_start_says_so():
    with started([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert refusal(process, "/", {}, timeout_s=60).startswith("ended with 3: ")


def asked(url, path, body, headers=HEADERS):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_the_load_has_a_key_and_limits_and_its_leases_are_counted():
    with fast_server() as server:
        before = counts(server.url)
        for path, body in LOADS.values():
            status, headers, answer = asked(server.url, path, body)
            assert (status, json.loads(answer)["usage"]["completion_tokens"]) == (200, 8)
            assert headers["x-ratelimit-limit-requests"] == "1000000000"
            assert headers["x-ratelimit-limit-tokens"] == "1000000000"
        grown = between(before, counts(server.url))
        assert max(grown.values()) == len(LOADS)
        nobody = {"Content-Type": "application/json"}
        assert asked(server.url, *LOADS["token ids"], nobody)[0] == 401
