"""Which handler a request is for."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from config.errors import ServingError
from gateway.http.server.exchange import Handler

Shape = Literal["openai", "anthropic"]


class Route(Struct, frozen=True, kw_only=True):
    """An endpoint, as it is served and as it is documented."""

    method: str
    path: str  # "/v1/responses/{id}"; "{model+}" takes slashes as well
    handler: Handler
    role: Literal["public", "user", "admin"] = "user"
    shape: Shape = "openai"  # of its errors
    error_event: Callable[[ServingError], bytes] | None = None  # unless it is as all of this shape
    body: type | None = None  # of the request's JSON
    query: type[Struct] | None = None  # of what may stand after the question mark
    answer: type | None = None  # of the answer's JSON, when it is not streamed
    summary: str = ""  # one sentence
    media_type: str = "application/json"  # of the answer
    also: Mapping[int, type] = {}  # other statuses that are no errors, and their JSON


class NotFound(Exception):
    """There is nothing at this path."""


class WrongMethod(Exception):
    """There is something, but it takes other methods."""

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__()
        self.allowed = sorted(allowed)


class Routes:
    """All routes; those without parameters are found at once."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = list(routes)
        self._plain: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.all:
            if "{" not in route.path:
                self._plain.setdefault(route.path, {})[route.method] = route
                continue
            pattern = re.compile(_regex(route.path))
            self._patterns.setdefault(route.path, (pattern, {}))[1][route.method] = route
        # What is below them is of that API, too, if not of what we have of it.
        self._anthropic = tuple(f"{it.path}/" for it in self.all if it.shape == "anthropic")

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """The route of a request and the parameters in its path; HEAD is served by GET.

        Raises:
            NotFound: nothing is there.
            WrongMethod: other methods are.
        """
        if method == "HEAD":
            method = "GET"
        plain = self._plain.get(path)
        if plain is not None:
            if method in plain:
                return plain[method], {}
            raise WrongMethod(plain)
        for pattern, by_method in self._patterns.values():
            if found := pattern.fullmatch(path):
                if method in by_method:
                    return by_method[method], found.groupdict()
                raise WrongMethod(by_method)
        raise NotFound

    def shape(self, path: str) -> Shape:
        """In which shape errors at this path are told, whether there is something or not."""
        return "anthropic" if f"{path}/".startswith(self._anthropic) else "openai"


def _regex(path: str) -> str:
    parts = re.split(r"\{(\w+)(\+?)\}", path)
    found = re.escape(parts[0])
    for name, greedy, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += f"(?P<{name}>{'.+' if greedy else '[^/]+'}){re.escape(rest)}"
    return found
