"""Two gateways of one server hold everybody to the same limits."""

import json
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from config.errors import RateLimited
from tests.e2e.server import Server, wait_for
from transport.client import Client

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]

LIMITS = {
    "MLX_SERVING_SERVER__GATEWAYS": "2",
    "MLX_SERVING_LIMITS__KEY__REQUESTS_PER_MINUTE": "4",
    "MLX_SERVING_LIMITS__KEY__CONCURRENT_STREAMS": "1",
}


@pytest.fixture(scope="module")
def server():
    with Server(env=LIMITS) as running:
        running.wait_ready()
        wait_for(
            lambda: [running.child(f"gateway:{n}").state for n in (0, 1)] == ["ready"] * 2,
            what="two gateways",
        )
        yield running


@pytest.fixture
def gateways(server):
    with ExitStack() as stack:
        yield [
            stack.enter_context(Client(endpoint=server.runtime.client(number))) for number in (0, 1)
        ]


def refusal(client):
    """Why a gateway does not answer; None if it does."""
    try:
        client.complete("Once", "demo", max_tokens=1)
    except RateLimited as error:
        return error
    return None


def over_http(url):
    """Status and headers of a small question."""
    body = json.dumps({"model": "demo", "prompt": "Once", "max_tokens": 1}).encode()
    try:
        with urllib.request.urlopen(url + "/v1/completions", body, timeout=60) as response:
            return response.status, response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_streams_and_requests_count_wherever_they_come_in(server, gateways):
    first, second = gateways
    assert second.tokenize("Once", "demo").tokens
    status, headers = over_http(server.url)
    assert (status, headers["x-ratelimit-limit-requests"]) == (200, "4")
    assert headers["x-ratelimit-remaining-requests"] == "2"
    long = first.complete("Count", "demo", stream=True, max_tokens=1800, ignore_eos=True)
    next(long)
    assert "written at a time" in refusal(second).message
    dead = server.kill("gateway:0")
    long.close()
    wait_for(lambda: refusal(second) is None, what="the streams of a dead gateway to end")
    server.wait_successor(dead)
    with Client(endpoint=server.runtime.client(0)) as successor:
        for client in (second, successor):  # one may still come back in that time
            wait_for(lambda at=client: refusal(at), what="the limit")
            assert "4 requests a minute" in refusal(client).message
    status, headers = over_http(server.url)
    assert (status, headers["x-ratelimit-remaining-requests"]) == (429, "0")
    assert 0 < int(headers["Retry-After"]) <= 15
    assert headers["x-ratelimit-reset-requests"].endswith("s")
