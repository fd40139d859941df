"""Which announcements the children are owed. Pure.

Every change of a child is announced at once; a change in its facts alone at most once a second.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from supervisor.state import Absence, Tree
from transport.messages.lifeline import Announce, ModelAbsent, ModelBack, News, Removed

FACTS_EVERY_S = 1.0


class Bulletin:
    """Remembers what was announced last."""

    def __init__(self) -> None:
        self._said: dict[str, Announce] = {}
        self._said_at: dict[str, float] = {}
        self._absent: dict[str, Absence] = {}

    def all(self) -> list[News]:
        """For a newcomer: what everyone else was told so far."""
        return [*self._said.values(), *map(_absent, self._absent.values())]

    def news(self, tree: Tree, now: float) -> Iterator[News]:
        """For everyone: what changed since the last call."""
        yield from self._absences(tree)
        for child_id in self._said.keys() - tree.children.keys():
            del self._said[child_id], self._said_at[child_id]
            yield Removed(child_id)
        for child_id, child in tree.children.items():
            announce = child.announcement()
            if self._is_due(announce, now):
                self._said[child_id], self._said_at[child_id] = announce, now
                yield announce

    def _absences(self, tree: Tree) -> Iterator[News]:
        before, self._absent = self._absent, tree.absent
        for group_id, absence in before.items():
            if group_id not in tree.absent:
                yield ModelBack(absence.name)
        for group_id, absence in tree.absent.items():
            if before.get(group_id) != absence:
                yield _absent(absence)

    def _is_due(self, announce: Announce, now: float) -> bool:
        said = self._said.get(announce.child_id)
        if said is None or announce == said:
            return said is None
        waits = now - self._said_at[announce.child_id] < FACTS_EVERY_S
        return not (waits and replace(announce, facts=said.facts) == said)


def _absent(absence: Absence) -> ModelAbsent:
    fault = absence.fault
    words = (fault.code, fault.message, fault.load) if fault else ()
    return ModelAbsent(absence.name, absence.cause, *words)
