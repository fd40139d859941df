"""The endpoints that tell of all others."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from gateway.http.openapi.document import document
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route

HTML = "text/html; charset=utf-8"
_PAGE = Path(__file__).with_name("page.html")
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Documentation:
    """The handlers; what they answer is made when it is first asked for."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """`routes` are all others."""
        self._routes = [*routes, *self.routes()]

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="GET",
                path="/openapi.json",
                handler=self.document,
                role="public",
                answer=dict,
                summary="This description.",
            ),
            Route(
                method="GET",
                path="/docs",
                handler=self.page,
                role="public",
                summary="This description, for people.",
                media_type=HTML,
            ),
        ]

    async def document(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return Response(self._document)

    async def page(self, request: Request) -> Response:
        """`GET /docs`; it needs nothing but the document."""
        return Response(self._page, headers=self._policy, content_type=HTML)

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(document(self._routes))

    @cached_property
    def _page(self) -> bytes:
        return _PAGE.read_bytes()

    @cached_property
    def _policy(self) -> dict[str, str]:
        """Nothing runs in the page but what is written in it."""
        inline = dict(_INLINE.findall(self._page))
        script, style = (_digest(inline[tag]) for tag in (b"script", b"style"))
        policy = (
            f"default-src 'none'; connect-src 'self'; script-src {script}; style-src {style}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}


def _digest(source: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source).digest()).decode()}'"
