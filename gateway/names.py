"""Faults told by the names that an API has for what the rest of the gateway calls otherwise."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from config.errors import InvalidRequest

_MESSAGE = re.compile(r"messages\[(\d+)\]")


class Names(Struct, frozen=True):
    """`parameters` has whole names, `parts` what is in names and in texts, longest first."""

    parameters: Mapping[str, str]
    parts: tuple[tuple[str, str], ...]

    @contextlib.contextmanager
    def told(self, places: Sequence[str]) -> Iterator[None]:
        """Tell faults that are found inside by our names; see `fault`.

        Raises:
            InvalidRequest: in place of the one that was raised, and of its kind.
        """
        try:
            yield
        except InvalidRequest as error:
            raise self.fault(error, places) from error

    def fault(self, error: InvalidRequest, places: Sequence[str]) -> InvalidRequest:
        """The same fault; `places` has the parameter that each message comes from."""
        param, text = error.param, error.message
        if param is not None:
            place = self._place(param, places)
            text = text.replace(param, place) if "[" in param else text
            param = self._ours(place)
        return type(error)(self._ours(text), param=param, retry_after_s=error.retry_after_s)

    def _place(self, param: str, places: Sequence[str]) -> str:
        if (found := _MESSAGE.match(param)) is not None:
            return places[int(found.group(1))]
        return self.parameters.get(param, param)

    def _ours(self, text: str) -> str:
        for theirs, ours in self.parts:
            text = text.replace(theirs, ours)
        return text
