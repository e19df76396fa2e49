"""The published schema and its viewer: `/schema`, served from this package alone, so that it works offline.

/schema                 the viewer, or the document for who asks for JSON
/schema/openapi.json    the document
/schema/static/...      Swagger UI (vendored) and the script that starts it
"""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from api.routes.body import JSON
from api.routes.errors import NotFound
from api.routes.negotiation import choose_media_type

OPENAPI_JSON = "application/vnd.oai.openapi+json"
HTML = "text/html"

CONTENT_SECURITY_POLICY = (
    # The style sheet carries its few pictures as data; everything else is a file of ours.
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

_ASSETS = {
    "viewer.js": ("viewer.js", "text/javascript"),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui-bundle.js.LICENSE.txt": ("swagger-ui/swagger-ui-bundle.js.LICENSE.txt", "text/plain"),
}
"""Name in the URL -> file and media type. Nothing else is served, so no path can leave the folder."""

_GUARDS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def viewer_handlers(write: Callable[[], bytes]) -> list[HTTPRouteHandler]:
    """Make the routes that show what `write` gives: the encoded OpenAPI document.

    It is asked for when somebody wants to see it, which few processes come to, and apart from the event loop:
    writing it takes some tenths of a second.
    """

    async def serve_index(request: Request[Any, Any, Any]) -> Response[bytes]:
        wanted = choose_media_type(request.headers.get("accept"), (HTML, JSON, OPENAPI_JSON))
        if wanted == HTML:
            return _respond(_read("viewer.html"), HTML)
        return _respond(await asyncio.to_thread(write), wanted)

    async def serve_document(request: Request[Any, Any, Any]) -> Response[bytes]:
        wanted = choose_media_type(request.headers.get("accept"), (JSON, OPENAPI_JSON))
        return _respond(await asyncio.to_thread(write), wanted)

    async def serve_asset(request: Request[Any, Any, Any]) -> Response[bytes]:
        asset = _ASSETS.get(request.path_params["name"])
        if asset is None:
            raise NotFound
        path, media_type = asset
        return _respond(_read(path), media_type)

    return [
        HTTPRouteHandler(path, http_method=["GET", "HEAD"], status_code=200, include_in_schema=False)(serve)
        for path, serve in (
            ("/schema", serve_index),
            ("/schema/openapi.json", serve_document),
            ("/schema/static/{name:str}", serve_asset),
        )
    ]


def _respond(content: bytes, media_type: str) -> Response[bytes]:
    # Asked again each time: the files change with the release, and there is no hash in their names.
    headers = {**_GUARDS, "Cache-Control": "no-cache", "Vary": "Accept"}
    return Response(content=content, media_type=media_type, headers=headers)


@cache
def _read(path: str) -> bytes:
    return files("api.routes").joinpath("static", path).read_bytes()
