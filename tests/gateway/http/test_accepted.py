"""Every parameter with good input: what reaches the engine."""

import asyncio

import pytest

from tests.gateway.http.test_parameters import ASK
from tests.gateway.scripted import says, served
from transport.messages.data import Sampling

HARMLESS = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "response_format": {"type": "text"},
    "min_tokens": 0,
    "logit_bias": {},
    "frequency_penalty": 0.0,
    "presence_penalty": 0,
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "user": "me",
    "stop": None,
    "temperature": None,
    "seed": None,
    "stream": False,
}


def accepted(path: str, body: dict):
    async def run():
        async with served(says("x")) as server:
            status, answer = await server.post(path, body)
            assert status == 200, answer
            return server.dispatch.requests[0]

    return asyncio.run(run())


def test_parameters_that_ask_for_nothing_are_accepted():
    accepted("/v1/chat/completions", {"messages": ASK} | HARMLESS)
    accepted("/v1/completions", {"prompt": "Hi", "echo": False, "best_of": 1} | HARMLESS)


def test_sampling_reaches_the_engine():
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 7}
    used = accepted("/v1/chat/completions", {"messages": ASK} | sampling).sampling
    assert used.temperature == 0.5
    assert (used.top_p, used.top_k, used.min_p, used.seed) == (0.9, 40, 0.1, 7)


def test_penalties_and_biases_reach_the_engine():
    given = {
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
        "repetition_penalty": 1.2,
        "presence_penalty": -2,
        "frequency_penalty": 2,
        "logit_bias": {"5": 100, "3071": -100},
    }
    used = accepted("/v1/completions", {"prompt": "x"} | given).sampling
    for name in given.keys() - {"logit_bias"}:
        assert getattr(used, name) == given[name]
    assert used.logit_bias == {5: 100, 3071: -100}


def test_defaults_are_openai_s():
    used = accepted("/v1/chat/completions", {"messages": ASK, "top_k": -1, "seed": 5}).sampling
    assert used == Sampling(seed=5)


def test_without_a_seed_one_is_drawn():
    seeds = {accepted("/v1/completions", {"prompt": "x"}).sampling.seed for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_any_seed_of_64_bits_will_do(seed):
    assert 0 <= accepted("/v1/completions", {"prompt": "x", "seed": seed}).sampling.seed < 2**63


def test_the_answer_is_cut_to_what_fits():
    request = accepted("/v1/completions", {"prompt": [5] * 500, "max_tokens": 100})
    assert request.max_tokens == 12


def test_max_completion_tokens_goes_before_max_tokens():
    body = {"messages": ASK, "max_tokens": 5, "max_completion_tokens": 6}
    assert accepted("/v1/chat/completions", body).max_tokens == 6


def test_stop_tokens_and_ignore_eos_reach_the_engine():
    body = {"prompt": "x", "stop_token_ids": [5], "ignore_eos": True}
    request = accepted("/v1/completions", body)
    assert (request.stop_token_ids, request.ignore_eos) == ([5], True)


def test_a_prompt_may_be_token_ids():
    assert accepted("/v1/completions", {"prompt": [5, 6, 7]}).tokens == [5, 6, 7]


def test_text_parts_are_joined_and_developers_speak_as_system():
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    plain = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hello"}]
    fancy = [{"role": "developer", "content": "Be kind"}, {"role": "user", "content": parts}]
    one = accepted("/v1/chat/completions", {"messages": plain})
    other = accepted("/v1/chat/completions", {"messages": fancy})
    assert one.tokens == other.tokens


def test_an_answer_of_ours_may_be_sent_back():
    said = {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }
    accepted("/v1/chat/completions", {"messages": [*ASK, said, *ASK]})


def test_what_clients_add_to_an_answer_changes_nothing():
    said = {"role": "assistant", "content": "Hi"}
    added = {
        "provider_specific_fields": {"refusal": None},
        "thinking_blocks": [],
        "reasoning_items": [{}],
        "reasoning_details": [{"type": "reasoning.text"}],
    }
    one, other = (
        accepted("/v1/chat/completions", {"messages": [*ASK, message, *ASK]})
        for message in (said, said | added)
    )
    assert one.tokens == other.tokens


def test_the_session_comes_from_the_header_or_the_user():
    async def run():
        async with served(says("x")) as server:
            body = {"prompt": "x", "user": "me"}
            await server.post("/v1/completions", body)
            await server.post("/v1/completions", body, headers={"X-Session-ID": "s1"})
        assert [request.session for request in server.dispatch.requests] == ["me", "s1"]

    asyncio.run(run())
