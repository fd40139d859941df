"""Who is let through: the limits of keys and tenants over all gateways of a node; pure.

What a request may come to at most is taken when it asks for an engine, and what it did not need is
given back when its lease ends. A request that lost its engine is let through at once and for
nothing; it pays when it ends for what it still got. Everything is forgotten with the process, and
then each key starts with all it may use.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actors.limiter.scope import Cost, Kind, Lack, Limit, Scope, tightest, worst
from actors.registry.messages import GatewayDown
from actors.router.messages import Admission
from actors.router.view import lease_ends_at
from config.limits import Allowance, KeyLimits
from transport.messages.control import Admit, Admitted, Charge, Refusal, Route
from transport.refusals import refusal_of


@dataclass(slots=True)
class Decision:
    """Of one batch of routes: those that go on to the router, and those that do not."""

    routes: list[Route] = field(default_factory=list)
    admissions: dict[str, Admission] = field(default_factory=dict)  # by route
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Ticket:
    """What one route took; after `ends_at` its release is lost."""

    owner: bytes
    scopes: list[Scope]
    cost: Cost
    ends_at: float


class Limiter:
    """`name` makes tickets of this one differ from those of any other."""

    def __init__(self, name: str) -> None:
        self.refused: Counter[tuple[Kind, Limit]] = Counter()  # requests
        self._name = name
        self._numbers = itertools.count(1)
        self._scopes: dict[tuple[Kind, str], Scope] = {}
        self._tickets: dict[str, Ticket] = {}

    @property
    def streams(self) -> int:
        """Answers that are being written for whom there are limits."""
        return sum(ticket.cost.streams for ticket in self._tickets.values())

    @property
    def scopes(self) -> int:
        """Keys and tenants that used some of what they may."""
        return len(self._scopes)

    def decide(self, routes: Iterable[Route], owner: bytes, now: float) -> Decision:
        """Let each request through or not, and take what it costs if so."""
        decision = Decision()
        for group in _requests(routes):
            charge = group[0].charge
            if charge is None:
                decision.routes += group
                continue
            scopes = self._of(charge, now)
            costs = [cost_of(route) for route in group]
            total = _sum(costs)
            lack = self._take(scopes, total, now, always=group[0].resumed)
            if lack is None:
                self._admit(decision, group, costs, scopes, owner, now)
            else:
                left = _allowance(scopes, now)
                decision.refusals += [
                    refusal_of(it.route_id, lack.error, allowance=left) for it in group
                ]
        return decision

    def admit(self, asked: Admit, now: float) -> Admitted | Refusal:
        """Let through what needs no engine, or not, and take the request if so."""
        scopes = self._of(asked.charge, now)
        cost = Cost(asked.charge.requests, 0, 0)
        lack = self._take(scopes, cost, now)
        left = _allowance(scopes, now)
        if lack is not None:
            return refusal_of(asked.request_id, lack.error, allowance=left)
        return Admitted(asked.request_id, left)

    def _take(
        self, scopes: list[Scope], cost: Cost, now: float, *, always: bool = False
    ) -> Lack | None:
        """Take what it costs, if it is there or `always`; else count what it lacks."""
        lack = None if always else _lack(scopes, cost, now)
        if lack is not None:
            self.refused[lack.kind, lack.limit] += 1
            return lack
        for scope in scopes:
            scope.take(cost, now)
        return None

    def settle(self, ticket_id: str, used_tokens: int, owner: bytes, now: float) -> None:
        """A lease ended, or there was none; tickets that are unknown, or others', are ignored."""
        ticket = self._tickets.get(ticket_id)
        if ticket is None or ticket.owner != owner:
            return
        del self._tickets[ticket_id]
        for scope in ticket.scopes:
            scope.settle(ticket.cost, max(0, used_tokens), now)

    def gateway_down(self, gone: GatewayDown) -> None:
        """Its streams are over, and nobody will say how many tokens they came to."""
        self._forget([id_ for id_, it in self._tickets.items() if gone.was(it.owner)])

    def expire(self, now: float) -> None:
        """Forget releases that were lost on their way, and whoever has all back."""
        self._forget([id_ for id_, it in self._tickets.items() if it.ends_at <= now])
        for key in [key for key, scope in self._scopes.items() if scope.idle(now)]:
            del self._scopes[key]

    def _forget(self, tickets: list[str]) -> None:
        for ticket_id in tickets:
            ticket = self._tickets.pop(ticket_id)
            for scope in ticket.scopes:
                scope.streams -= ticket.cost.streams

    def _of(self, charge: Charge, now: float) -> list[Scope]:
        scopes = []
        if charge.key_limits is not None:
            scopes.append(self._scope("key", charge.key, charge.key_limits, now))
        if charge.tenant_limits is not None:
            scopes.append(self._scope("tenant", charge.tenant, charge.tenant_limits, now))
        return scopes

    def _scope(self, kind: Kind, name: str, limits: KeyLimits, now: float) -> Scope:
        scope = self._scopes.get((kind, name))
        if scope is None:
            scope = self._scopes[kind, name] = Scope(kind, limits, now)
        elif scope.limits != limits:
            scope.change(limits, now)
        return scope

    def _admit(
        self,
        decision: Decision,
        group: list[Route],
        costs: list[Cost],
        scopes: list[Scope],
        owner: bytes,
        now: float,
    ) -> None:
        allowance = _allowance(scopes, now)
        for route, cost in zip(group, costs, strict=True):
            ticket_id = f"{self._name}-{next(self._numbers)}"
            self._tickets[ticket_id] = Ticket(owner, scopes, cost, lease_ends_at(route, now))
            decision.admissions[route.route_id] = Admission(ticket_id, allowance)
        decision.routes += group


def cost_of(route: Route) -> Cost:
    """What is taken for a route."""
    charge = route.charge
    if charge is None:
        return Cost(0, 0, 0)
    if route.resumed:
        return Cost(0, 0, charge.streams)
    prompt = max(0, route.prompt_tokens) if charge.prompt else 0
    return Cost(charge.requests, prompt + max(0, route.max_tokens), charge.streams)


def _requests(routes: Iterable[Route]) -> Iterable[list[Route]]:
    """The routes of each client's request, which stand or fall together."""
    groups: dict[object, list[Route]] = {}
    for place, route in enumerate(routes):
        charge = route.charge
        shared = charge is not None and charge.group and not route.resumed
        groups.setdefault((charge.group,) if charge and shared else place, []).append(route)
    return groups.values()


def _sum(costs: Sequence[Cost]) -> Cost:
    if len(costs) == 1:
        return costs[0]
    return Cost(
        sum(cost.requests for cost in costs),
        sum(cost.tokens for cost in costs),
        sum(cost.streams for cost in costs),
    )


def _lack(scopes: list[Scope], cost: Cost, now: float) -> Lack | None:
    found = [lack for scope in scopes if (lack := scope.lack(cost, now)) is not None]
    return worst(found) if found else None


def _allowance(scopes: list[Scope], now: float) -> Allowance | None:
    requests = [scope.requests.left(now) for scope in scopes if scope.requests is not None]
    tokens = [scope.tokens.left(now) for scope in scopes if scope.tokens is not None]
    return Allowance(tightest(requests), tightest(tokens)) if requests or tokens else None
