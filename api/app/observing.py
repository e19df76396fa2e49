"""Around every request: an id for the log, a span for traces, a line when it is done."""

import re
import time
from uuid import uuid4

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from loguru import logger

from api.telemetry import tracing

REQUEST_ID = b"request-id"

_NAMES = {"ses": "session_id", "trn": "turn_id", "apv": "approval_id", "agt": "agent_id"}
_WIRE_ID = re.compile(r"/(ses|trn|apv|agt)(_[0-9a-f]{32})(?=/|$)")


def observe(app: ASGIApp) -> ASGIApp:
    """Wrap `app`: whatever is logged on the way says for which request, session and turn.

    Of a path only what has the form of our ids is noted: the rest is whatever a caller has sent.
    """

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request_id = uuid4().hex
        named = {_NAMES[kind]: kind + rest for kind, rest in _WIRE_ID.findall(scope["path"])}
        started, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID, request_id.encode())]
            await send(message)

        traced = {f"turnledger.{name.replace('_id', '.id')}": value for name, value in named.items()}
        with (
            logger.contextualize(request_id=request_id, **named),
            tracing.span(
                scope["method"],
                {"http.request.method": scope["method"], "turnledger.request.id": request_id, **traced},
                kind="server",
                parent=_traceparent(scope),
            ) as span,
        ):
            try:
                await app(scope, receive, sending)
            finally:
                operation = getattr(scope.get("route_handler"), "name", None)
                span.set({"http.response.status_code": status, "turnledger.operation": operation})
                if status >= 500:
                    span.fail(str(status))
                logger.debug(
                    "request answered",
                    operation=operation,
                    method=scope["method"],
                    status=status,
                    duration_ms=round((time.monotonic() - started) * 1000),
                )

    return observed


def _traceparent(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
