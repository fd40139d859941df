"""Routes of those who have limits."""

from config.limits import KeyLimits
from tests.actors.samples import route
from transport.messages.control import Charge

GATEWAY = b"gateway:0#1"


def limits(requests=None, tokens=None, streams=None):
    return KeyLimits(requests, tokens, streams)


def charged(route_id="r", key="k", of=None, tenant="", tenant_of=None, more=None, **changes):
    """A route of `key`, whose limits are `of`; `more` is about its charge."""
    charge = Charge(key, tenant, of, tenant_of, **(more or {}))
    return route(route_id, charge=charge, **changes)


def choices(n, of, group=1, **changes):
    """The routes of one request for `n` answers to a prompt."""
    return [
        charged(
            f"{group}.{nth}",
            of=of,
            more={"requests": int(nth == 0), "prompt": nth == 0, "group": group},
            **changes,
        )
        for nth in range(n)
    ]
