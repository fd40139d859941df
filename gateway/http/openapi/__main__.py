"""`python -m gateway.http.openapi docs/api.md` writes the tables in it anew."""

import asyncio
import sys
import tempfile
from pathlib import Path

from config.settings import ResponsesSettings, ServerSettings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.http.openapi.table import tables
from gateway.http.routes import all_routes
from gateway.http.server.routes import Route
from gateway.responses.routes import Responses
from gateway.responses.store import Store
from gateway.service import Service

BEGIN = "<!-- Written by `python -m gateway.http.openapi docs/api.md`: do not edit. -->\n"
END = "<!-- end -->\n"


def rewritten(text: str) -> str:
    """A page with the tables of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables(asyncio.run(_routes()))}\n{END}{after}"


async def _routes() -> list[Route]:
    """All routes, of a gateway that has no engine and does nothing."""
    service = Service(Dispatcher("docs", 0), ServerSettings())
    with tempfile.TemporaryDirectory() as folder:
        responses = Responses(service, Store(Path(folder), ResponsesSettings()))
        routes = all_routes(service, responses, lambda: b"")
        await responses.close()
    service.close()
    return routes


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(rewritten(page.read_text("utf-8")), "utf-8")
