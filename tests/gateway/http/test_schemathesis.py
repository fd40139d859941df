"""The running API against its own description, with whatever schemathesis makes up.

Half of what it makes up fits the description, half does not. There must be no 500, and every
status, header and body must be as described.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from config.errors import Unauthenticated
from gateway.auth.guard import credential
from gateway.auth.identity import LOCAL, Identity
from tests.gateway.scripted import WAIT_S, says, served

EXAMPLES = 6  # of each kind for each operation
BUDGET_S = 25.0
KEY = {"Authorization": "Bearer key"}
# A description cannot say all that makes a request good, and much that does not fit it is taken.
EXCLUDED = [checks.positive_data_acceptance, checks.negative_data_rejection]
NEEDED = {"messages", "prompt", "input", "tokens", "max_tokens"}
ROLES = st.sampled_from(["system", "user", "assistant"])


class WithKey:
    """Everybody with the key may do everything."""

    def identify(self, header) -> Identity:
        if credential(header) != "key":
            raise Unauthenticated("no key")
        return LOCAL


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A gateway on a thread of its own."""
    running: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with served(says("Hello there"), authenticator=WithKey()) as server:
            running.append((server.url, asyncio.get_running_loop(), asyncio.Event()))
            ready.set()
            await running[0][2].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(WAIT_S)
    address, loop, stop = running[0]
    yield address
    loop.call_soon_threadsafe(stop.set)
    thread.join(WAIT_S)


def sensible(body: object, data: st.DataObject) -> None:
    """Make of a body one with at most two parameters more than it needs, for a model that is there:
    of all that is made up at once, something is always refused."""
    if not isinstance(body, dict):
        return
    more = sorted(body.keys() - NEEDED)
    kept = data.draw(st.lists(st.sampled_from(more), max_size=2)) if more else []
    for name in set(more) - set(kept):
        del body[name]
    body["model"] = "demo"
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            message.clear()
            message |= {"role": data.draw(ROLES), "content": data.draw(st.text())}


def test_whatever_is_sent_the_answer_is_as_described(url):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    until, statuses = time.monotonic() + BUDGET_S, Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(operation.as_strategy(generation_mode=mode), st.data())
            def ask(case, data):
                if time.monotonic() > until:
                    return
                if data.draw(st.booleans()):
                    sensible(case.body, data)
                response = case.call(base_url=url, headers=KEY, timeout=WAIT_S)
                statuses[response.status_code] += 1
                case.validate_response(response, excluded_checks=EXCLUDED, headers=KEY)

            ask()
    assert statuses.keys() <= {200, 400, 404}
    assert min(statuses.values()) > 20, statuses
