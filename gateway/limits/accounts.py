"""Whose limits a request counts against, and for how much."""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from config.limits import KeyLimits
from config.settings import LimitsSettings
from gateway.auth.identity import Identity
from gateway.dispatch.types import GenerationRequest
from transport.messages.control import Charge

NONE = KeyLimits()
MAX_KNOWN = 4096  # of those who ask, what they are charged


class Accounts:
    """The limits of everybody, theirs before those of the settings; they are held in control."""

    def __init__(self, settings: LimitsSettings) -> None:
        self._key = settings.key
        self._tenant = settings.tenant
        self._everybody = settings.key != NONE
        self._any_tenant = settings.tenant != NONE
        self._groups = itertools.count(1)
        self._charges = lru_cache(MAX_KNOWN)(self._charge)

    def charge(self, identity: Identity, streams: int = 1) -> Charge | None:
        """What a request of theirs, which is written as so many streams, says of its limits; None
        when there are none."""
        return self._charges(identity, streams)

    def _charge(self, identity: Identity, streams: int) -> Charge | None:
        key = tenant = None
        if self._everybody or identity.limits is not None:
            key = _limits(identity.limits, self._key)
        if identity.tenant and (self._any_tenant or identity.tenant_limits is not None):
            tenant = _limits(identity.tenant_limits, self._tenant)
        if key is None and tenant is None:
            return None
        name = identity.key_id or identity.name
        return Charge(name, identity.tenant, key, tenant, streams=streams)

    def together(self, prompts: Sequence[list[GenerationRequest]]) -> list[list[GenerationRequest]]:
        """The requests of one client's request, which counts once and is let through or refused as
        a whole; those in one list share their prompt."""
        if sum(map(len, prompts)) < 2 or prompts[0][0].charge is None:
            return list(prompts)
        group = next(self._groups)
        return [
            [
                _in_group(request, group, counts=place == nth == 0, prompt=nth == 0)
                for nth, request in enumerate(requests)
            ]
            for place, requests in enumerate(prompts)
        ]


def _in_group(
    request: GenerationRequest, group: int, *, counts: bool, prompt: bool
) -> GenerationRequest:
    if request.charge is None:
        return request
    charge = msgspec.structs.replace(
        request.charge, requests=int(counts), prompt=prompt, group=group
    )
    return msgspec.structs.replace(request, charge=charge)


def _limits(own: KeyLimits | None, default: KeyLimits) -> KeyLimits | None:
    """Each limit of their own, or else the default; None: there is none of any kind."""
    if own is None:
        found = default
    else:
        found = KeyLimits(
            *(
                getattr(default, name) if (value := getattr(own, name)) is None else value
                for name in KeyLimits.__struct_fields__
            )
        )
    return None if found == NONE else found
