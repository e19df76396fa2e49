"""Previews: what a rewind, restore or regenerate would take out of effect. Asking changes nothing."""

import msgspec
from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.schemas.queries import RestorePreviewQuery, RewindPreviewQuery
from api.routes.schemas.sessions import Preview, preview_view
from api.store.scopes import Scope

_ANSWERS = {200: Answer(description="What would go, and at what revision that is true.", struct=Preview)}


@operation(
    "GET",
    "/v1/sessions/{session_id}/rewind-preview",
    operation_id="previewRewind",
    tag="sessions",
    scopes=(Scope.SESSIONS_READ,),
    summary="What a rewind would take out of effect",
    query=RewindPreviewQuery,
    answers=_ANSWERS,
    problems=(409,),
)
async def preview_rewind(call: Call) -> Response[bytes]:
    """It is discarded when the next turn is appended, and can be restored after that."""
    turn_id = call.query(RewindPreviewQuery).turn_id
    preview = await call.store.reading.rewind_preview(
        call.caller, call.path("session_id"), turn_id=None if turn_id is msgspec.UNSET else turn_id
    )
    return respond(preview_view(preview))


@operation(
    "GET",
    "/v1/sessions/{session_id}/restore-preview",
    operation_id="previewRestore",
    tag="sessions",
    scopes=(Scope.SESSIONS_READ,),
    summary="What a restore would discard",
    query=RestorePreviewQuery,
    answers=_ANSWERS,
    problems=(409,),
)
async def preview_restore(call: Call) -> Response[bytes]:
    """The turns of the present line that the restored one does not share."""
    preview = await call.store.reading.restore_preview(
        call.caller, call.path("session_id"), ordinal=call.query(RestorePreviewQuery).ordinal
    )
    return respond(preview_view(preview))


@operation(
    "GET",
    "/v1/sessions/{session_id}/turns/{turn_id}/regenerate-preview",
    operation_id="previewRegenerate",
    tag="turns",
    scopes=(Scope.SESSIONS_READ,),
    summary="What a regenerate would discard",
    answers=_ANSWERS,
    problems=(409,),
)
async def preview_regenerate(call: Call) -> Response[bytes]:
    """The turn itself and those behind it."""
    preview = await call.store.reading.regenerate_preview(
        call.caller, call.path("session_id"), turn_id=call.path("turn_id")
    )
    return respond(preview_view(preview))


OPERATIONS = (preview_rewind, preview_restore, preview_regenerate)
