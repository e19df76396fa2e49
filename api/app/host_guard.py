"""Refuses requests for other hosts on a loopback address.

A page of any origin can have its own host name resolve to 127.0.0.1 (DNS rebinding) and would then read
answers as if they were its own. The name that it was loaded under stands in `Host` and gives it away.
"""

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from api.routes.loopback import is_loopback
from api.routes.problems import MEDIA_TYPE, describe

_STATUS = 421


def guard_host(app: ASGIApp, *, bound_to: str) -> ASGIApp:
    """Wrap `app`, which listens on `bound_to`, an address or a name; unchanged unless that is loopback."""
    if not is_loopback(bound_to):
        return app

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or is_ours(_host_of(scope)):
            await app(scope, receive, send)
            return
        problem = describe(
            code="misdirected-request",
            status=_STATUS,
            detail="This service listens on a loopback address and answers to no other host name.",
        )
        body = msgspec.json.encode(problem)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": _STATUS, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return guarded


def is_ours(host: str | None) -> bool:
    """Whether the value of `Host` names a loopback address. Any port will do: a tunnel has another one."""
    if host is None:
        # Only HTTP/1.0 may leave it out, which no browser speaks.
        return True
    name = host
    if host.startswith("["):
        name = host.partition("]")[0]
    elif host.count(":") == 1:
        name = host.partition(":")[0]
    return is_loopback(name)


def _host_of(scope: Scope) -> str | None:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return hosts[0] if hosts else None
