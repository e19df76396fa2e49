"""The tester panel: a page, its modules and styles, served from this package alone.

/                          the page
/panel/{edition}/...       its files; the edition is a digest of them all, so that they may be kept for good

The files stand in `api/panel` as a browser gets them: nothing is built. No answer here depends on who asks,
and none holds a key: the page finds it in the fragment of its address, which no server is told.
"""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from api.routes.errors import NotFound

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # Browsers that know it refuse any text that is to become markup.
    "require-trusted-types-for 'script'"
)

PAGE = "index.html"
_CLASSIC = {"theme.js"}
"""Runs before the page is drawn, and is therefore no module."""

_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".md": "text/plain",
    ".LICENSE": "text/plain",
}
_GUARDS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_DIGEST_CHARACTERS = 16


class PanelFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file as it is served."""

    content: bytes
    media_type: str
    etag: str


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """All files of the panel."""

    edition: str
    """Changes when any file does."""
    page: PanelFile
    files: dict[str, PanelFile]
    """By path from the panel's folder; nothing else is served, so no path can leave it."""


def panel_handlers() -> list[HTTPRouteHandler]:
    """Make the routes that serve the panel."""

    async def serve_page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _respond(request, load_panel().page, cache_control=_ASK_AGAIN)

    async def serve_file(request: Request[Any, Any, Any]) -> Response[bytes]:
        panel = load_panel()
        edition, _, path = request.path_params["path"].strip("/").partition("/")
        found = panel.files.get(path)
        if found is None:
            raise NotFound
        # While servers are being renewed, a page of one edition may ask a server of another one.
        kept = _FOR_GOOD if edition == panel.edition else _ASK_AGAIN
        return _respond(request, found, cache_control=kept)

    return [
        HTTPRouteHandler(path, http_method=["GET", "HEAD"], status_code=200, include_in_schema=False)(serve)
        for path, serve in (("/", serve_page), ("/panel/{path:path}", serve_file))
    ]


@cache
def load_panel() -> Panel:
    """Read every file once."""
    contents = dict(sorted(_walk(files("api").joinpath("panel"), "")))
    digest = hashlib.sha256()
    for path, content in contents.items():
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    edition = digest.hexdigest()[:_DIGEST_CHARACTERS]
    modules = [path for path in contents if path.endswith(".js") and path not in _CLASSIC]
    page = _write_page(contents.pop(PAGE), edition, modules)
    return Panel(
        edition=edition,
        page=_file(PAGE, page),
        files={path: _file(path, content) for path, content in contents.items()},
    )


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif _media_type(entry.name) is not None:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


def _write_page(template: bytes, edition: str, modules: list[str]) -> bytes:
    """Put in the edition, and name every module, so that a browser asks for all of them at once."""
    base = f"/panel/{edition}"
    links = "\n    ".join(f'<link rel="modulepreload" href="{base}/{module}">' for module in modules)
    return template.replace(b"{base}", base.encode()).replace(b"{modules}", links.encode())


def _file(path: str, content: bytes) -> PanelFile:
    media_type = _media_type(path)
    assert media_type is not None, "other files are not read"
    etag = f'"{hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]}"'
    return PanelFile(content=content, media_type=media_type, etag=etag)


def _media_type(name: str) -> str | None:
    return next((media_type for ending, media_type in _MEDIA_TYPES.items() if name.endswith(ending)), None)


def _respond(request: Request[Any, Any, Any], file: PanelFile, *, cache_control: str) -> Response[bytes]:
    headers = {**_GUARDS, "ETag": file.etag, "Cache-Control": cache_control}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(content=b"", status_code=304, headers=headers)
    return Response(content=file.content, media_type=file.media_type, headers=headers)
