"""The paths of version 1 that tell of the cluster."""

import asyncio
import json
import socket

import pytest
from msgspec.structs import replace

from config.version import server_version
from gateway.auth.identity import Identity
from gateway.http.cluster import Counts, counts_of, health_of
from tests.gateway.scripted import demo_view, says, served

METRICS = b"""
# HELP mlx_serving_requests_total r
# TYPE mlx_serving_requests_total counter
mlx_serving_requests_total{code="stop",endpoint="chat",model="a"} 6.0
mlx_serving_requests_total{code="engine_failed",endpoint="chat",model="a"} 1.0
mlx_serving_requests_total{code="queue_full",endpoint="chat",model="a"} 2.0
mlx_serving_requests_total{code="cancelled",endpoint="chat",model="b"} 1.0
# HELP mlx_serving_request_duration_seconds d
# TYPE mlx_serving_request_duration_seconds histogram
mlx_serving_request_duration_seconds_bucket{le="+Inf",model="a"} 10.0
mlx_serving_request_duration_seconds_sum{model="a"} 4.0
mlx_serving_request_duration_seconds_count{model="a"} 8.0
mlx_serving_request_duration_seconds_sum{model="b"} 1.0
mlx_serving_request_duration_seconds_count{model="b"} 2.0
# HELP mlx_serving_active_streams a
# TYPE mlx_serving_active_streams gauge
mlx_serving_active_streams 3.0
# HELP mlx_serving_kv_held_bytes h
# TYPE mlx_serving_kv_held_bytes gauge
mlx_serving_kv_held_bytes 25.0
# HELP mlx_serving_kv_node_budget_bytes b
# TYPE mlx_serving_kv_node_budget_bytes gauge
mlx_serving_kv_node_budget_bytes 100.0
"""


def answers(*paths: str, views=None) -> list[tuple[int, dict]]:
    async def run():
        async with served(says("x"), views=views) as server:
            return [await server.get(path) for path in paths]

    return asyncio.run(run())


def test_metrics_become_counts():
    assert counts_of(METRICS) == Counts(3, 10, 1, 0.5, 0.25)
    assert counts_of(b"") == Counts()


@pytest.mark.parametrize(
    ("states", "health"),
    [
        (["ready"], "healthy"),
        (["ready", "unloaded"], "healthy"),
        (["unloaded"], "healthy"),
        (["ready", "failed"], "degraded"),
        (["ready", "loading"], "degraded"),
        (["loading"], "unhealthy"),
        (["unavailable", "failed"], "unhealthy"),
        ([], "unhealthy"),
    ],
)
def test_health_is_that_of_the_models(states, health):
    assert health_of([replace(demo_view(), state=state) for state in states]) == health


def test_the_status_is_true():
    ((status, found),) = answers("/api/cluster/status")
    assert status == 200
    uptime = found["controller"].pop("uptime")
    assert 0 <= uptime < 60
    assert found == {
        "controller": {"version": server_version(), "mode": "both", "state": "running"},
        "workers": {"total": 1, "online": 1, "offline": 0},
        "requests": {"active": 0, "total": 0},
    }


def test_there_is_one_machine_and_no_path_is_told():
    name = socket.gethostname()
    views = [demo_view("a"), replace(demo_view("b"), state="failed", ready_replicas=0)]
    (_, all_), (_, one), (status, other) = answers(
        "/api/cluster/workers",
        f"/api/cluster/workers/{name}",
        "/api/cluster/workers/x",
        views=views,
    )
    assert (status, other["error"]["code"]) == (404, "not_found")
    one["lastHeartbeat"] = all_[0]["lastHeartbeat"]
    assert all_ == [one]
    assert one["workerId"] == name
    assert one["status"] == "degraded"
    assert one["skills"] == {"availableModels": ["a"], "totalModelSize": 1}
    assert one["models"][1] == {"id": "b", "state": "failed", "replicas": 1, "readyReplicas": 0}
    assert one["capacity"] == {"currentLoad": 0, "memoryUsage": None}
    assert one["metrics"] == {"avgLatency": None, "errorRate": 0.0}
    assert "/" not in json.dumps([all_, other])[1:].replace("/api/cluster/workers/x", "")


def test_a_node_that_drains_says_so():
    async def run():
        async with served(says("x")) as server:
            server.service.drain()
            return await server.get("/api/cluster/status")

    _, found = asyncio.run(run())
    assert found["controller"]["state"] == "draining"
    assert found["workers"] == {"total": 1, "online": 0, "offline": 1}


class Somebody:
    def identify(self, header) -> Identity:
        return Identity(name="n", role="user")


@pytest.mark.parametrize("path", ["status", "workers", "workers/x"])
def test_it_is_for_admins(path):
    async def run():
        async with served(says("x"), authenticator=Somebody()) as server:
            return await server.get(f"/api/cluster/{path}")

    status, found = asyncio.run(run())
    assert (status, found["error"]["code"]) == (403, "forbidden")
