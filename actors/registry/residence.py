"""Which model is loaded when somebody wants it, and which one makes room for it; pure.

The least recently used model that is idle goes first; one that is pinned, at work, still loading
or not of the configuration (a person loaded it) stays. Where nothing may go, and does not soon,
whoever wants the model is refused, and may come again.

The weights of what is loaded, being loaded or about to be are reserved: the KV governor takes
them from the caches, and a model is loaded once it says that those in use leave room for it.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from actors.registry.messages import Reservation, Weights
from actors.registry.plans import ModelPlan

MIN_IDLE_S = 2.0  # a request may be on its way from the gateway
WANTED_S = 3.0  # who waits repeats it each second
PATIENCE_S = 1.0  # a short answer may end in between
GRANT_PATIENCE_S = 15.0  # many an answer ends in between, and with it its cache
ASK_AGAIN_S = 2.0  # a load that was asked for and did not begin
RETRY_AFTER_S = 2.0
WEIGHTS_FRACTION = 0.8  # of the node's memory; the rest is for caches


class Resident(Struct, frozen=True, kw_only=True):
    """A model that takes memory now."""

    replicas: int = 1
    planned: int = 0  # it was loaded with so many; 0: nobody said
    source: str = ""  # of the weights, where it is known
    weights_bytes: int | None = None  # of one replica; None: not loaded yet
    loading: bool = False
    leaving: bool = False
    busy: bool = False


class Load(Struct, frozen=True):
    """Have this model loaded."""

    model: str


class Unload(Struct, frozen=True):
    """Have this model finish what it has and go."""

    model: str


class Refuse(Struct, frozen=True):
    """There is no room for this model now."""

    model: str
    reason: str


Step = Load | Unload | Refuse
Residents = dict[str, Resident]


class Residence:
    """Remembers who was used and who is wanted; `estimate` gives the weights of a source."""

    def __init__(
        self,
        plans: list[ModelPlan],
        max_loaded_models: int | None,
        memory_bytes: int,
        estimate: Callable[[str], int],
    ) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._planned = {plan.name: plan.replicas for plan in plans}  # or as a person last said
        self.configured = frozenset(self._plans)
        self.reservation = Reservation()  # what `decide` came to last
        self._max_loaded = max_loaded_models
        self._weights_limit = int(WEIGHTS_FRACTION * memory_bytes)
        self._estimate = estimate
        self._used_at: dict[str, float] = {}
        self._wanted_at: dict[str, float] = {}  # in the order in which they were first wanted
        self._wanted_since: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._coming_since: dict[str, float] = {}  # there is a place for these, if caches leave it
        self._granted = False

    def use(self, model: str, now: float) -> None:
        """A request for it came."""
        self._used_at[model] = now

    def want(self, model: str, now: float) -> None:
        """Somebody waits for it to be loaded."""
        if model in self._plans:
            self._wanted_at[model] = now
            self._wanted_since.setdefault(model, now)
            self._used_at[model] = now

    def grant(self, reservation: Reservation) -> None:
        """The caches that are in use leave room for this; it may be out of date."""
        self._granted = reservation == self.reservation

    def comes_back(self, model: str) -> bool:
        """Whether it is to be loaded again by itself after a failure."""
        plan = self._plans.get(model)
        return plan is None or plan.permanent  # without a plan a person loaded it

    def idle_s(self, residents: Residents, now: float) -> dict[str, float]:
        """Of each resident, how long it was not used."""
        return {model: max(0.0, now - self._used_at.get(model, now)) for model in residents}

    def decide(self, residents: Residents, now: float) -> list[Step]:
        """What to do now. Called with every change, and each second."""
        self._keep_books(residents, now)
        left = dict(residents)
        steps: list[Step] = []
        for model in list(self._wanted_at):
            if model in left:  # or it is leaving: it can come back when it has gone
                continue
            steps += self._find_room(model, left, now)
        coming = {step.model for step in steps if isinstance(step, Load)}
        self._reserve(residents, coming, now)
        steps = [taken for step in steps for taken in self._when_granted(step, now)]
        return steps + self._trim(left, now)

    def _keep_books(self, residents: Residents, now: float) -> None:
        for model, resident in residents.items():
            if resident.planned and model in self._plans:
                self._planned[model] = resident.planned
            if resident.loading or resident.busy:
                self._used_at[model] = now
            self._used_at.setdefault(model, now)
            if not resident.leaving:
                self._forget_wish(model)
        for model in [model for model, at in self._wanted_at.items() if now - at > WANTED_S]:
            self._forget_wish(model)

    def _forget_wish(self, model: str) -> None:
        for known in (self._wanted_at, self._wanted_since, self._asked_at):
            known.pop(model, None)

    def _find_room(self, model: str, left: Residents, now: float) -> list[Step]:
        """`left` becomes what there will be."""
        newcomer = self._newcomer(model)
        if self._fits({**left, model: newcomer}):
            left[model] = newcomer
            return [Load(model)]
        staying = {name: other for name, other in left.items() if not other.leaving}
        wanted = {**staying, model: newcomer}
        victims = self._victims(wanted)
        if not self._fits(_without(wanted, victims)):
            return self._refuse_after(PATIENCE_S, model, staying, now)
        idle_s = min((now - self._used_at[victim] for victim in victims), default=MIN_IDLE_S)
        if idle_s < MIN_IDLE_S - PATIENCE_S:
            refused = self._refuse_after(MIN_IDLE_S + PATIENCE_S, model, staying, now)
            if refused:
                return refused
        left[model] = newcomer  # later ones must not take the room
        return self._evict(victims, left) if idle_s >= MIN_IDLE_S else []

    def _refuse_after(
        self, patience_s: float, model: str, staying: Residents, now: float
    ) -> list[Step]:
        if now - self._wanted_since[model] < patience_s:
            return []
        return [Refuse(model, self._reason(staying))]

    def _newcomer(self, model: str) -> Resident:
        return Resident(replicas=self._planned[model], loading=True)

    def _reserve(self, residents: Residents, coming: set[str], now: float) -> None:
        since = {model: self._coming_since.get(model, now) for model in coming}
        models = residents | {model: self._newcomer(model) for model in coming}
        found = {model: self._weights(model, resident) for model, resident in models.items()}
        reservation = Reservation(found)
        self._granted = self._granted and reservation == self.reservation
        self._coming_since, self.reservation = since, reservation

    def _when_granted(self, step: Step, now: float) -> list[Step]:
        """Everything but a `Load` may be done at once."""
        if not isinstance(step, Load):
            return [step]
        if self._granted:
            return self._ask(step.model, now)
        if now - self._coming_since[step.model] < GRANT_PATIENCE_S:
            return []
        return [Refuse(step.model, "the caches of running requests leave no room for its weights")]

    def _ask(self, model: str, now: float) -> list[Step]:
        if now - self._asked_at.get(model, -ASK_AGAIN_S) < ASK_AGAIN_S:
            return []
        self._asked_at[model] = now
        return [Load(model)]

    def _trim(self, left: Residents, now: float) -> list[Step]:
        """More are loaded than should be, because a person loaded one."""
        staying = {name: other for name, other in left.items() if not other.leaving}
        victims = self._victims(staying)
        return self._evict([v for v in victims if now - self._used_at[v] >= MIN_IDLE_S], left)

    def _evict(self, victims: list[str], left: Residents) -> list[Step]:
        for victim in victims:
            left[victim] = replace(left[victim], leaving=True)
        return [Unload(victim) for victim in victims]

    def _victims(self, models: Residents) -> list[str]:
        """Who should go so that the rest fits; it may not be enough."""
        idle = [name for name, one in models.items() if self._may_go(name, one)]
        victims: list[str] = []
        for name in sorted(idle, key=lambda name: (self._used_at[name], name)):
            if self._fits(_without(models, victims)):
                break
            victims.append(name)
        return victims

    def _may_go(self, model: str, resident: Resident) -> bool:
        plan = self._plans.get(model)
        stays = resident.busy or resident.loading or resident.leaving
        return plan is not None and not plan.pinned and not stays

    def _fits(self, models: Residents) -> bool:
        """A single model is always tried."""
        if self._max_loaded is not None and len(models) > self._max_loaded:
            return False
        if len(models) <= 1 or not self._weights_limit:
            return True
        weights = [self._weights(model, resident) for model, resident in models.items()]
        return sum(one.replicas * one.bytes_each for one in weights) <= self._weights_limit

    def _weights(self, model: str, resident: Resident) -> Weights:
        plan = self._plans.get(model)
        replicas = resident.replicas
        if resident.loading:  # they are announced one by one
            replicas = max(replicas, resident.planned or self._planned.get(model, 0))
        if resident.weights_bytes is not None:
            return Weights(replicas, resident.weights_bytes)
        source = resident.source or (plan.source if plan else "")
        return Weights(replicas, self._estimate(source) if source else 0)

    def _reason(self, staying: Residents) -> str:
        names = ", ".join(sorted(staying))
        return f"the models that are loaded ({names}) are at work or pinned"


def _without(models: Residents, gone: list[str]) -> Residents:
    return {name: one for name, one in models.items() if name not in gone}
