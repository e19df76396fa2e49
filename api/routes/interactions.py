"""Interactions: who sent what to which model, when, and at what cost."""

from datetime import datetime

import msgspec
from litestar import Response

from api.routes import headers
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.schemas.interactions import (
    CapturedInteraction,
    CaptureInteraction,
    InteractionListQuery,
    InteractionPage,
    InteractionView,
    captured_usage,
    interaction_summary,
    interaction_view,
)
from api.store import Replay, StoredAnswer
from api.store.interactions import Capture, Filters
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/interactions",
    operation_id="listInteractions",
    scopes=(Scope.SESSIONS_READ,),
    tag="interactions",
    summary="List model calls",
    query=InteractionListQuery,
    answers={200: Answer(description="A page of interactions.", struct=InteractionPage)},
)
async def list_interactions(call: Call) -> Response[bytes]:
    """Newest first, without their text. Calls of a deleted session are not among them."""
    query = call.query(InteractionListQuery)
    found, goes_on = await call.store.interactions.listed(
        call.caller,
        Filters(
            session_id=query.session_id,
            agent_id=query.agent_id,
            client=query.client,
            project=query.project,
            since=query.since,
        ),
        before=None if query.page_token is None else read_uuid(query.page_token, scope=query.scope),
        limit=query.limit,
    )
    next_token = None if goes_on is None else write_page_token(goes_on, scope=query.scope)
    return respond(
        InteractionPage(items=tuple(interaction_summary(each) for each in found), next_page_token=next_token)
    )


@operation(
    "GET",
    "/v1/interactions/{interaction_id}",
    operation_id="getInteraction",
    scopes=(Scope.SESSIONS_READ,),
    tag="interactions",
    summary="Read a model call",
    answers={200: Answer(description="The interaction.", struct=InteractionView)},
)
async def get_interaction(call: Call) -> Response[bytes]:
    """With its prompt and what that was made of, its response, its tool calls and the approvals of those.

    The prompt is kept by reference and rendered again; `prompt_is_exact` says whether its digest is that of
    what was sent.
    """
    found = await call.store.interactions.interaction(call.caller, call.path("interaction_id"))
    return respond(interaction_view(found))


@operation(
    "POST",
    "/v1/interactions",
    operation_id="captureInteraction",
    scopes=(Scope.SESSIONS_WRITE,),
    tag="interactions",
    summary="Record a model call that was made elsewhere",
    body=CaptureInteraction,
    answers={
        201: Answer(
            description="It is recorded.",
            struct=CapturedInteraction,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
    problems=(404,),
)
async def capture_interaction(call: Call) -> Response[bytes]:
    """It is listed and read beside the calls of sessions, and is in no ledger.

    With a `session_id` it goes when that session is deleted.
    """
    command = await call.command(CaptureInteraction)
    body = command.body
    result = await call.store.interactions.capture(
        command.caller,
        Capture(
            prompt=body.prompt,
            response=body.response,
            model=body.model,
            session_id=body.session_id,
            client=body.client,
            project=body.project,
            usage=None if body.usage is None else captured_usage(body.usage),
            latency_ms=body.latency_ms,
            metadata=body.metadata,
        ),
        idempotency=command.idempotency,
        render=_render,
    )
    if isinstance(result, Replay):
        assert result.answer is not None, "only answers are kept for captured calls"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)


OPERATIONS = (list_interactions, get_interaction, capture_interaction)


def _render(interaction_id: str, at: datetime) -> StoredAnswer:
    # No word of the call itself: the answer is kept for repetitions, and outlives the session's text.
    body = msgspec.json.encode(CapturedInteraction(id=interaction_id, captured_at=at))
    return StoredAnswer(status=201, headers={"Location": f"/v1/interactions/{interaction_id}"}, body=body)
