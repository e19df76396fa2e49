"""Figures of conversations."""

from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.key_errors import MissingScope
from api.routes.operations import Answer, operation
from api.routes.paging import read_integer, write_page_token
from api.routes.schemas.metrics import (
    MetricsPage,
    SessionMetricsView,
    metrics_group,
    session_metrics_view,
)
from api.routes.schemas.queries import SessionMetricsQuery
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/sessions/{session_id}/metrics",
    operation_id="getSessionMetrics",
    scopes=(Scope.USAGE_READ,),
    tag="usage",
    summary="Read the figures of a session",
    answers={200: Answer(description="Turns, tokens, cost, latencies.", struct=SessionMetricsView)},
)
async def get_session_metrics(call: Call) -> Response[bytes]:
    """As they are now: they move without a revision, so the answer has no ETag.

    `resolution` is shown to keys with the scope `sessions:read` only.
    """
    session_id = call.path("session_id")
    found = await call.store.metrics.of_session(call.caller, session_id)
    return respond(session_metrics_view(session_id, found, is_text_shown=_sees_text(call)))


@operation(
    "GET",
    "/v1/metrics/sessions",
    operation_id="summarizeSessions",
    scopes=(Scope.USAGE_READ,),
    tag="usage",
    summary="Read figures over many sessions",
    query=SessionMetricsQuery,
    answers={200: Answer(description="Figures by group.", struct=MetricsPage)},
)
async def summarize_sessions(call: Call) -> Response[bytes]:
    """Over the sessions that started on the days asked for, deleted ones left out.

    By any of day, agent, version, state and resolution, in this order. Resolutions are text that callers have
    written: to group by them a key needs the scope `sessions:read` as well.
    """
    query = call.query(SessionMetricsQuery)
    group_by = () if query.group_by is None else tuple(query.group_by.split(","))
    if "resolution" in group_by and not _sees_text(call):
        raise MissingScope((Scope.SESSIONS_READ,))
    scope = f"session-metrics?{query.since}&{query.until}&{query.tz}&{sorted(set(group_by))}"
    offset = 0 if query.page_token is None else read_integer(query.page_token, scope=scope)
    await call.store.summaries.require_time_zone(query.tz)
    found = await call.store.metrics.of_groups(
        call.caller,
        since=query.since,
        until=query.until,
        time_zone=query.tz,
        group_by=group_by,
        offset=offset,
        limit=query.limit + 1,
    )
    is_more = len(found) > query.limit
    return respond(
        MetricsPage(
            items=tuple(metrics_group(group) for group in found[: query.limit]),
            next_page_token=write_page_token(offset + query.limit, scope=scope) if is_more else None,
            time_zone=query.tz,
        )
    )


OPERATIONS = (get_session_metrics, summarize_sessions)


def _sees_text(call: Call) -> bool:
    return Scope.SESSIONS_READ in call.caller.scopes
