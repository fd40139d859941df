"""What an idle engine runs so that nobody's request is the first of its kind."""

from concurrent.futures import Future

from actors.engine.grammar.grammars import Grammars
from actors.engine.grammar.matcher import Matcher
from actors.engine.work import Work
from transport.messages.control import Warm


class WarmUp:
    """One warm-up, in rounds between which the engine serves; engine thread only.

    Each width is run as it is and then with a row that is held to a grammar, whose mask is made
    and applied by code that nothing else reaches. A model without structured output has no such
    rounds.
    """

    def __init__(self, asked: Warm, grammars: Grammars, now: float) -> None:
        """`now`: monotonic seconds."""
        self.asked_at = now
        self._asked = asked
        self._plain = sorted(asked.widths, reverse=True)
        self._masked = [(width, grammars.sample()) for width in self._plain]

    def go_on(self, work: Work) -> bool:
        """Give an idle engine its next round, unless that must wait; False: all is done."""
        if self._plain:
            self._begin(work, self._plain.pop(), None)
        elif self._masked and self._masked[-1][1].done():
            self._begin_masked(work, *self._masked.pop())
        else:
            return bool(self._masked)
        return True

    def _begin_masked(self, work: Work, width: int, grammar: Future[Matcher]) -> None:
        if grammar.exception() is None:
            self._begin(work, width, grammar.result())

    def _begin(self, work: Work, width: int, matcher: Matcher | None) -> None:
        work.warm(width, self._asked.prompt_tokens, self._asked.max_tokens, matcher)
