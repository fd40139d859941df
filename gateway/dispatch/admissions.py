"""Asks control whether those who have limits may have something done that needs no engine."""

import asyncio
import itertools
from collections.abc import Callable

from config.limits import Allowance
from transport.messages.control import Admit, Admitted, Charge, Refusal
from transport.refusals import error_of

ANSWER_S = 2.0


class Admissions:
    """The questions of one gateway; event loop only.

    Where nobody answers, all are let through: control that has just ended has forgotten what was
    used, and what is asked for here is done in a moment.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Admitted | Refusal]] = {}
        self._send: Callable[[Admit], bool] | None = None

    def connected(self, send: Callable[[Admit], bool]) -> None:
        """Control can be asked; `send` says whether it took the question."""
        self._send = send

    def disconnected(self) -> None:
        """It cannot (any more), and answers nothing that it was asked."""
        self._send = None
        for request_id in list(self._waiting):
            self.answered(Admitted(request_id))

    def answered(self, answer: Admitted | Refusal) -> None:
        """What control says; nobody may wait for it any more."""
        request_id = answer.request_id if isinstance(answer, Admitted) else answer.route_id
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def ask(self, charge: Charge) -> Allowance | None:
        """Count a request; what is left after it, where that is known.

        Raises:
            ServingError: it is more than they may make, or control is too busy to tell.
        """
        answer = await self._answer(charge)
        if isinstance(answer, Admitted):
            return answer.allowance
        raise error_of(answer)

    async def _answer(self, charge: Charge) -> Admitted | Refusal:
        request_id = str(next(self._numbers))
        waiting: asyncio.Future[Admitted | Refusal] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = waiting
        try:
            if self._send is not None and self._send(Admit(request_id, charge)):
                async with asyncio.timeout(ANSWER_S):
                    return await waiting
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(request_id, None)
        return Admitted(request_id)
