"""What needs no engine counts as a request of who asks."""

import asyncio

import pytest

from actors.limiter.policy import Limiter
from config.limits import KeyLimits
from gateway.auth.identity import Identity
from tests.gateway.scripted import ScriptedDispatch, says, served

TURNS = [{"role": "user", "content": "Hello"}]
ASKED = [
    ("/tokenize", {"prompt": "Hello"}),
    ("/tokenize", {"messages": TURNS, "return_token_strs": True}),
    ("/detokenize", {"tokens": [5]}),
    ("/v1/messages/count_tokens", {"messages": TURNS}),
]


class Limited:
    """Everybody may make two requests, and has used up the tokens."""

    def identify(self, header) -> Identity:
        return Identity(key_id="k", limits=KeyLimits(2, 5))


class Counting(ScriptedDispatch):
    """Its control has these limits and no clock."""

    def __init__(self) -> None:
        super().__init__(says("x"))
        self.asked = []
        self._limiter = Limiter("t")
        self.admissions.connected(self._ask)

    def _ask(self, asked) -> bool:
        self.asked.append(asked.charge)
        answer = self._limiter.admit(asked, 0.0)
        asyncio.get_running_loop().call_soon(self.admissions.answered, answer)
        return True


def posted(times, path, body, authenticator=None):
    """The answers, and what control was asked."""

    async def run():
        dispatch = Counting()
        async with served(dispatch=dispatch, authenticator=authenticator) as server:
            answers = []
            for _ in range(times):
                async with server.session.post(server.url + path, json=body) as response:
                    answers.append((response.status, response.headers, await response.json()))
        return answers, dispatch.asked

    return asyncio.run(run())


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_each_counts_as_a_request(path, body):
    answers, asked = posted(3, path, body, Limited())
    assert [status for status, _, _ in answers] == [200, 200, 429]
    left = [headers["x-ratelimit-remaining-requests"] for _, headers, _ in answers]
    assert left == ["1", "0", "0"]
    _, headers, refusal = answers[-1]
    assert headers["Retry-After"] == "30"
    assert refusal["error"]["type"] == "rate_limit_error"
    assert "this key may make 2 requests a minute" in refusal["error"]["message"]
    assert [(charge.key, charge.requests, charge.streams) for charge in asked] == [("k", 1, 0)] * 3


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_without_limits_nobody_is_asked(path, body):
    [(status, headers, _)], asked = posted(1, path, body)
    assert (status, asked) == (200, [])
    assert not [name for name in headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {"model": "nobody"}])
def test_what_is_refused_costs_nothing(path, wrong):
    good = next(body for it, body in ASKED if it == path)
    [(status, _, _)], asked = posted(1, path, good | wrong, Limited())
    assert (status in (400, 404), asked) == (True, [])


def test_a_response_that_is_shortened_is_one_request():
    """To see what fits, it is tokenised many times."""

    async def run():
        dispatch = Counting()
        long = [{"role": "user", "content": f"Question {n}? " * 9} for n in range(40)]
        async with served(dispatch=dispatch, authenticator=Limited()) as server:
            body = {"input": long, "truncation": "auto"}
            status, _ = await server.post("/v1/responses", body)
        return status, dispatch.asked, len(dispatch.requests)

    assert asyncio.run(run()) == (200, [], 1)
