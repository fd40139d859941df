"""What is the same for all endpoints: who asks, which route it is, and how failures are told."""

import contextlib
import logging
import re
from functools import partial

from config.errors import ServingError
from gateway.auth.cors import Cors
from gateway.auth.guard import check_role
from gateway.auth.identity import NOBODY, Authenticator, KeysAwaited
from gateway.http.errors import error_event, error_response, http_refusal, status_of
from gateway.http.server.connection import Refused
from gateway.http.server.exchange import Request, Response
from gateway.http.server.refused import too_large
from gateway.http.server.routes import NotFound, Route, Routes, WrongMethod
from gateway.ids import random_hex

REQUEST_ID = "X-Request-ID"
GOOD_ID = re.compile(r"[\x21-\x7e]{1,128}")
log = logging.getLogger(__name__)


class RouteAnswers:
    """Answers with the handlers of routes; see `Answers`. Each runs as a task that is cancelled
    when its client goes away."""

    def __init__(
        self, routes: Routes, authenticator: Authenticator | None = None, cors: Cors | None = None
    ) -> None:
        """No authenticator: whoever reaches us is at this machine."""
        self._routes = routes
        self._authenticator = authenticator
        self._cors = cors

    async def answer(self, request: Request) -> Response | None:
        """The answer of the route's handler, or what keeps it from giving one."""
        self._begin(request)
        if self._cors is not None and request.method == "OPTIONS":
            allowed = self._preflight(request)
            if allowed is not None:
                return Response(status=204, headers=allowed)
        route: Route | None = None
        try:
            route, request.params = self._routes.find(request.method, request.path)
            if route.shape == "anthropic":
                _begin_anthropic(request)
            self._admit(request, route)
            return await route.handler(request)
        except ServingError as error:
            if status_of(error) >= 500 and not isinstance(error, KeysAwaited):
                log.warning("%s: %s: %s", request.id, error.code, error.message)
            return _failed(request, error, route)
        except NotFound:
            return self._refusal(request, Refused(404, f"there is nothing at {request.path}"))
        except WrongMethod as wrong:
            allow = {"Allow": ", ".join(wrong.allowed)}
            text = f"{request.path} does not take this method"
            return self._refusal(request, Refused(405, text, headers=allow))
        except Exception:
            log.exception("%s: unexpected failure", request.id)
            return _failed(request, ServingError("internal"), route)

    def _begin(self, request: Request) -> None:
        """Give it an id, and what every answer to it carries, refusals too."""
        given = request.header(REQUEST_ID)
        request.id = given if given and GOOD_ID.fullmatch(given) else f"req_{random_hex(24)}"
        request.reply_headers[REQUEST_ID] = request.id
        if self._cors is not None:
            request.reply_headers.update(self._cors.headers(request.header("origin")))

    def _preflight(self, request: Request) -> dict[str, str] | None:
        assert self._cors is not None
        return self._cors.preflight(
            request.header("origin"),
            request.header("access-control-request-method"),
            request.header("access-control-request-headers"),
        )

    def _admit(self, request: Request, route: Route) -> None:
        if self._authenticator is None:
            return
        if route.role == "public":
            with contextlib.suppress(ServingError):
                request.identity = NOBODY
                request.identity = self._authenticator.identify(request.header)
            return
        identity = self._authenticator.identify(request.header)
        check_role(identity, route.role)
        request.identity = identity

    def turn_away(self, request: Request) -> Response | None:
        """See `Answers`: those who may not ask, and what takes no large body."""
        try:
            route, _ = self._routes.find(request.method, request.path)
        except (NotFound, WrongMethod):
            return self.refuse(request, too_large())
        if route.role == "public":
            return self.refuse(request, too_large())
        try:
            self._admit(request, route)
        except ServingError as error:
            self._begin(request)
            if route.shape == "anthropic":
                _begin_anthropic(request)
            return _failed(request, error, route)
        return None

    def refuse(self, request: Request, refused: Refused) -> Response:
        """See `Answers`."""
        self._begin(request)
        return self._refusal(request, refused)

    def _refusal(self, request: Request, refused: Refused) -> Response:
        shape = self._routes.shape(request.path)
        if shape == "anthropic":
            _begin_anthropic(request)
        return http_refusal(refused, shape, request.id)


def _begin_anthropic(request: Request) -> None:
    request.reply_headers["request-id"] = request.id  # as its clients know it


def _failed(request: Request, error: ServingError, route: Route | None) -> Response | None:
    """Tell of an error, as an event where a stream has begun."""
    if route is None:
        return error_response(error)
    if request.events is None:
        return error_response(error, route.shape, request.id)
    tell = route.error_event or partial(error_event, shape=route.shape)
    request.events.write(tell(error))
    return None
