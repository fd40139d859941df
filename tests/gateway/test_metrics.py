import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.dispatch.types import Generation
from gateway.metrics import GatewayMetrics, render

WORK = """
import sys
from gateway.dispatch.types import Generation
from gateway.metrics import GatewayMetrics, render
metrics = GatewayMetrics()
for _ in range(3):
    metrics.started()
metrics.ended(Generation(model="shared", endpoint="chat", code="stop", prompt_tokens=5,
    completion_tokens=7, duration_s=1.0, first_token_s=0.1, mean_gap_s=0.02, max_gap_s=0.3))
metrics.flush()
print("done", flush=True)
sys.stdin.read()
"""


def generation(model, **changed):
    fields = {
        "model": model,
        "endpoint": "chat",
        "code": "stop",
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "duration_s": 1.0,
        "route_s": 0.0004,
        "first_token_s": 0.1,
        "mean_gap_s": 0.02,
        "max_gap_s": 0.3,
    }
    return Generation(**fields | changed)


def value(text, name, **labels):
    found = [
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and sample.labels.items() >= labels.items()
    ]
    return sum(found) if found else None


def test_a_finished_sequence_is_counted():
    metrics = GatewayMetrics()
    metrics.started()
    metrics.ended(generation("one"))
    metrics.flush()
    text = render()
    labels = {"model": "one", "endpoint": "chat", "code": "stop"}
    assert value(text, "mlx_serving_requests_total", **labels) == 1
    assert value(text, "mlx_serving_prompt_tokens_total", model="one") == 5
    assert value(text, "mlx_serving_completion_tokens_total", model="one") == 7
    assert value(text, "mlx_serving_request_duration_seconds_sum", model="one") == 1.0
    assert value(text, "mlx_serving_route_seconds_sum", model="one") == 0.0004
    assert value(text, "mlx_serving_route_seconds_bucket", model="one", le="0.0003") == 0
    assert value(text, "mlx_serving_route_seconds_bucket", model="one", le="0.0005") == 1
    assert value(text, "mlx_serving_time_to_first_token_seconds_sum", model="one") == 0.1
    assert value(text, "mlx_serving_inter_token_seconds_sum", model="one") == 0.02
    assert value(text, "mlx_serving_inter_token_max_seconds_sum", model="one") == 0.3


def test_a_sequence_without_a_token_leaves_no_token_times():
    metrics = GatewayMetrics()
    metrics.started()
    code = "engine_unavailable"
    nothing = dict.fromkeys(("route_s", "first_token_s", "mean_gap_s", "max_gap_s"))
    metrics.ended(generation("two", code=code, **nothing))
    metrics.flush()
    text = render()
    assert value(text, "mlx_serving_requests_total", model="two", code=code) == 1
    assert value(text, "mlx_serving_time_to_first_token_seconds_count", model="two") is None
    assert value(text, "mlx_serving_route_seconds_count", model="two") is None


def test_recoveries_are_counted_with_their_pause():
    metrics = GatewayMetrics()
    metrics.recovered("three", 0.25)
    metrics.flush()
    text = render()
    assert value(text, "mlx_serving_recoveries_total", model="three") == 1
    assert value(text, "mlx_serving_recovery_pause_seconds_sum", model="three") == 0.25


def test_made_up_models_become_no_series():
    metrics = GatewayMetrics()
    metrics.started()
    metrics.ended(generation("made-up", code="model_not_found", first_token_s=None))
    assert b"made-up" not in render()


@pytest.mark.processes
def test_one_process_answers_for_all(tmp_path):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WORK]
    workers = [
        subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "done\n"
        show = "from gateway.metrics import render; print(render().decode())"
        text = subprocess.run(
            [sys.executable, "-c", show], env=env, capture_output=True, timeout=60, check=True
        ).stdout
    finally:
        for worker in workers:
            worker.communicate(timeout=60)
    assert value(text, "mlx_serving_requests_total", model="shared") == 2
    assert value(text, "mlx_serving_active_streams") == 4
