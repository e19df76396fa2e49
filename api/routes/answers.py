"""What a call that was done is answered with."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response

from api.routes import headers
from api.routes.body import JSON
from api.routes.etags import etag_of
from api.routes.negotiation import Preferences, write_applied
from api.routes.operations import Answer
from api.routes.schemas.budgets import warning_of
from api.routes.schemas.sessions import SessionDelta, SessionView, session_delta, session_view
from api.store import Delta, Done, Replay, StoredAnswer
from api.store.base import Render

CREATED = Answer(
    description="The new session.",
    struct=SessionView,
    headers=(headers.ETAG, headers.LOCATION, headers.IDEMPOTENCY_REPLAYED, headers.BUDGET_WARNING),
)
CHANGED = Answer(
    description=(
        "What has changed since the revision that the caller expected; the whole document with "
        "`Prefer: return=representation`."
    ),
    struct=(SessionDelta, SessionView),
    headers=(headers.ETAG, headers.IDEMPOTENCY_REPLAYED, headers.PREFERENCE_APPLIED),
)


def respond(value: Any, *, status: int = 200, fields: Mapping[str, str] | None = None) -> Response[bytes]:
    """Answer a value as JSON; nobody in between may keep it, unless the header `fields` say otherwise."""
    return Response(
        content=msgspec.json.encode(value),
        status_code=status,
        media_type=JSON,
        headers={"Cache-Control": "no-store", **(fields or {})},
    )


def respond_stored(
    answer: StoredAnswer, *, is_replayed: bool = False, fields: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Answer with bytes that are, or may be, kept for repetitions; the header `fields` are not kept."""
    told = {"Cache-Control": "no-store", **answer.headers, **(fields or {})}
    if is_replayed:
        told["Idempotency-Replayed"] = "true"
    return Response(content=answer.body, status_code=answer.status, media_type=JSON, headers=told)


def respond_done(result: Done | Replay, render: Render) -> Response[bytes]:
    """Answer a command whose answer is kept: a repetition gets the same bytes."""
    if isinstance(result, Replay):
        assert result.answer is not None, "only calls that make a turn are joined"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result.answer or render(result.delta), fields=warning_of(result.near_budgets))


def render_change(delta: Delta, preferences: Preferences) -> StoredAnswer:
    """Show what a command changed, or the whole document to who asked for that."""
    fields = {"ETag": etag_of(delta.session.revision)}
    value: Any
    if delta.document is not None and preferences.wants_representation:
        value = session_view(delta.document)
        fields |= write_applied(returns="representation")
    else:
        value = session_delta(delta, since_revision=delta.session.revision - 1)
    return StoredAnswer(status=200, headers=fields, body=msgspec.json.encode(value))


def render_created(delta: Delta) -> StoredAnswer:
    """Show a new session."""
    assert delta.document is not None, "a new session comes with its document"
    fields = {
        "ETag": etag_of(delta.session.revision),
        "Location": f"/v1/sessions/{delta.session.id}",
    }
    body = msgspec.json.encode(session_view(delta.document))
    return StoredAnswer(status=201, headers=fields, body=body)


def rendering(preferences: Preferences) -> Render:
    """Make the function that shows what a command changed, as the caller prefers it."""
    return lambda delta: render_change(delta, preferences)
