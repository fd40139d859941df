"""Bodies of requests: how they are read, and how what is wrong with one is told."""

import re
from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.http.depth import check_depth
from gateway.parameters import Range
from transport.parameters import misfit, unknown_parameter

_UNKNOWN = re.compile(r"unknown field `(.*?)`(?: - at `\$\.?(.*)`)?$")
_NO_RANGES: Mapping[str, Range] = {}
S = TypeVar("S", bound=Struct)
# By the kind of body, for the documentation: what is refused is nowhere else.
READERS: "dict[type[Struct], BodyReader[Any]]" = {}


class BodyReader(Generic[S]):
    """Reads bodies of one kind.

    `inert` has the parameters that are known and not done, with the values that ask for nothing:
    those may be sent. `instead` says what to use in their place, for errors. The documentation has
    these, and what is checked elsewhere: the names that nothing is done with (`ignored`), what
    numbers may be (`ranges`), what is narrower than the field's type (`types`), and whatever else a
    value has to be (`notes`). A name may be one inside of a parameter, after a dot.
    """

    def __init__(
        self,
        kind: type[S],
        inert: Mapping[str, tuple[Any, ...]] | None = None,
        instead: Mapping[str, str] | None = None,
        ignored: Collection[str] = (),
        ranges: Mapping[str, Range] = _NO_RANGES,
        *,
        types: Mapping[str, Any] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        fields = kind.__struct_fields__
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self.inert = {name: values for name, values in (inert or {}).items() if name in fields}
        self._inert_values = _values_of(self.inert)
        self._unsaid = (None,) * len(self.inert)
        self.instead = instead or {}
        self.ignored = {name for name in ignored if name.partition(".")[0] in fields}
        self.ranges = {name: ranges[name] for name in ranges.keys() & set(fields)}
        self.types = types or {}
        self.notes = notes or {}
        READERS[kind] = self

    def read(self, raw: bytes) -> S:
        """The request in a body.

        Raises:
            InvalidRequest: not JSON, nested too deeply, or names the parameter that is unknown,
                wrong or not done.
        """
        check_depth(raw)
        try:
            body = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise self._refusal(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the body is not valid JSON: {error}") from error
        if self._inert_values(body) != self._unsaid:
            self._check_inert(body)
        return body

    def _check_inert(self, body: S) -> None:
        for name, harmless in self.inert.items():
            value = getattr(body, name)
            if value is not None and not any(_same(value, it) for it in harmless):
                instead = self.instead.get(name, "")
                raise InvalidRequest(f"{name} is not supported by this server{instead}", param=name)

    def _refusal(self, message: str) -> InvalidRequest:
        unknown = _UNKNOWN.search(message)
        if unknown is not None and not unknown.group(2):
            return unknown_parameter(unknown.group(1), self._kind.__struct_fields__)
        return misfit(message)


def _values_of(names: Collection[str]) -> Callable[[Struct], tuple[Any, ...]]:
    """What reads all of these fields in one call, as every body is asked for them."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda body: tuple(getattr(body, name) for name in names)


def _same(value: object, harmless: object) -> bool:
    return value == harmless and isinstance(value, bool) == isinstance(harmless, bool)
