"""All that the HTTP layer gives to the application: routes, answers to errors, the published schema."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap

from api.routes import (
    agents,
    api_keys,
    approval_rules,
    approvals,
    budgets,
    drafts,
    events,
    health,
    interactions,
    line,
    messages,
    metrics,
    openapi,
    organizations,
    previews,
    prices,
    retention,
    secrets,
    session_files,
    sessions,
    turns,
    usage,
)
from api.routes.api_error import ApiError
from api.routes.calls import Call
from api.routes.docs_viewer import viewer_handlers
from api.routes.error_handlers import EXCEPTION_HANDLERS
from api.routes.operations import Operation, route_handlers
from api.routes.panel import panel_handlers
from api.routes.state import RoutesState
from api.routes.streams import EventStream, wants_stream
from api.session.errors import CommandRefused
from api.store import KeyReused

OPERATIONS: tuple[Operation, ...] = (
    *sessions.OPERATIONS,
    *session_files.OPERATIONS,
    *line.OPERATIONS,
    *messages.OPERATIONS,
    *turns.OPERATIONS,
    *events.OPERATIONS,
    *previews.OPERATIONS,
    *approvals.OPERATIONS,
    *approval_rules.OPERATIONS,
    *agents.OPERATIONS,
    *secrets.OPERATIONS,
    *drafts.OPERATIONS,
    *usage.OPERATIONS,
    *retention.OPERATIONS,
    *interactions.OPERATIONS,
    *api_keys.OPERATIONS,
    *organizations.OPERATIONS,
    *prices.OPERATIONS,
    *budgets.OPERATIONS,
    *metrics.OPERATIONS,
    *health.OPERATIONS,
)


class AppParts(msgspec.Struct, frozen=True, kw_only=True):
    """What `Litestar` is given."""

    handlers: Sequence[HTTPRouteHandler]
    exception_handlers: ExceptionHandlersMap


def app_parts(state: RoutesState) -> AppParts:
    """Mount every operation, the viewer of their schema and the panel on `state`."""

    async def serve(operation: Operation, request: Request[Any, Any, Any]) -> Response[bytes]:
        if operation.is_public:
            return await operation.handler(state)
        call = await Call.begin(request, operation, state)
        rate = await state.rates.take_request(call.caller)
        await call.admit()
        if operation.begins_turns:
            await state.rates.require_tokens(call.caller)
        if any(answer.streams for answer in operation.answers.values()) and wants_stream(call):
            call.give_stream_back = await state.rates.take_stream(call.caller)
        response: Response[bytes] | None = None
        try:
            response = await operation.handler(call)
        except (ApiError, CommandRefused, KeyReused):
            # Before a caller is told what is wrong with a call, they must be allowed to see what it is on.
            # A call that is carried out has found it anyway, so only the others pay for asking.
            await call.require_visible()
            raise
        finally:
            # A stream that has begun gives itself back at its end.
            if not isinstance(response, EventStream):
                call.give_stream_back()
        response.headers.update(rate)
        return response

    return AppParts(
        handlers=[
            *route_handlers(OPERATIONS, serve),
            *viewer_handlers(openapi_document),
            *panel_handlers(),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )


@cache
def openapi_document() -> bytes:
    """Write the published schema, once; `openapi/openapi.json` holds the same bytes."""
    return openapi.encode(openapi.build(OPERATIONS))
