"""All that the gateway answers over HTTP, in one list."""

from collections.abc import Callable

from gateway.anthropic.routes import AnthropicApi
from gateway.embeddings.routes import routes as embedding_routes
from gateway.http.cluster import Cluster
from gateway.http.completions import Completions
from gateway.http.health import Health
from gateway.http.models import Models
from gateway.http.openapi.routes import Documentation
from gateway.http.server.routes import Route
from gateway.http.tokens import Tokens
from gateway.responses.routes import Responses
from gateway.service import Service


def all_routes(
    service: Service, responses: Responses, render_metrics: Callable[[], bytes]
) -> list[Route]:
    """Every endpoint; `responses` is somebody else's to close."""
    routes = [
        *Completions(service).routes(),
        *responses.routes(),
        *AnthropicApi(service).routes(),
        *embedding_routes(service),
        *Models(service).routes(),
        *Tokens(service).routes(),
        *Health(service, render_metrics).routes(),
        *Cluster(service, render_metrics).routes(),
    ]
    return [*routes, *Documentation(routes).routes()]
