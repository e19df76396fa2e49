"""`/metrics`: the figures of this process, for Prometheus.

They tell how much goes on here, so they are not for everybody: who asks shows the token of the settings.
Without such a token only a service that listens on a loopback address answers.
"""

import hmac
from collections.abc import Callable
from typing import Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from api.routes.errors import Forbidden, Unauthorized
from api.routes.loopback import is_loopback
from api.routes.negotiation import parse_bearer
from api.settings import Settings
from api.telemetry import measures


def measures_handlers(settings: Settings, refresh: Callable[[], None]) -> list[HTTPRouteHandler]:
    """Make the route; `refresh` sets the figures that are looked up when they are asked for."""

    async def serve(request: Request[Any, Any, Any]) -> Response[bytes]:
        _admit(settings, request.headers.get("authorization"))
        refresh()
        return Response(
            content=measures.show(),
            media_type=measures.CONTENT_TYPE,
            headers={"Cache-Control": "no-store"},
        )

    return [
        HTTPRouteHandler("/metrics", http_method=["GET"], status_code=200, include_in_schema=False)(serve)
    ]


def _admit(settings: Settings, authorization: str | None) -> None:
    token = settings.metrics_token
    if token is None:
        if not is_loopback(settings.host):
            raise Forbidden("Set TURNLEDGER_METRICS_TOKEN to have the figures read from elsewhere.")
        return
    given = parse_bearer(authorization)
    if given is None or not hmac.compare_digest(given.encode(), token.encode()):
        raise Unauthorized(is_key_given=given is not None)
