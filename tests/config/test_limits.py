"""Limits in the configuration."""

import pytest

from config.errors import ConfigError
from config.limits import KeyLimits
from config.load import load_settings
from config.settings import LimitsSettings


def test_nothing_is_limited_by_default():
    assert load_settings(environ={}).limits == LimitsSettings(key=KeyLimits(), tenant=KeyLimits())


def test_each_limit_may_come_from_another_place(tmp_path):
    file = tmp_path / "serving.yaml"
    file.write_text("limits: {key: {requestsPerMinute: 3}, tenant: {concurrent_streams: 2}}")
    environ = {"MLX_SERVING_LIMITS__KEY__TOKENS_PER_MINUTE": "500"}
    limits = load_settings(file, environ=environ).limits
    assert limits.key == KeyLimits(requests_per_minute=3, tokens_per_minute=500)
    assert limits.tenant == KeyLimits(concurrent_streams=2)


def test_a_limit_that_lets_nothing_through_is_refused():
    environ = {"MLX_SERVING_LIMITS__KEY__REQUESTS_PER_MINUTE": "0"}
    with pytest.raises(ConfigError, match="REQUESTS_PER_MINUTE: expected `int` ≥ 1, got 0"):
        load_settings(environ=environ)
