"""Approvals: what people are asked about tool calls, and what they decide."""

from litestar import Response

from api.routes import headers
from api.routes.answers import CHANGED, rendering, respond, respond_done
from api.routes.calls import Call
from api.routes.etags import etag_of
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.schemas.approvals import ApprovalPage, ApprovalView, DecideApproval, approval_view
from api.routes.schemas.queries import ApprovalListQuery
from api.routes.schemas.sessions import session_delta
from api.session.document import Decision
from api.session.errors import ApprovalDecided
from api.store import Caller
from api.store.approvals import ApprovalRecord
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/approvals",
    operation_id="listApprovals",
    tag="approvals",
    scopes=(Scope.SESSIONS_READ, Scope.APPROVALS_DECIDE),
    summary="List approvals",
    query=ApprovalListQuery,
    answers={200: Answer(description="A page of approvals.", struct=ApprovalPage)},
)
async def list_approvals(call: Call) -> Response[bytes]:
    """Newest first. Ask for `state=open` to see what waits for somebody."""
    query = call.query(ApprovalListQuery)
    scope = f"approvals?session_id={query.session_id or ''}&state={query.state or ''}"
    found = await call.store.approvals.approvals(
        call.caller,
        session_id=query.session_id,
        state=query.state,
        before=None if query.page_token is None else read_uuid(query.page_token, scope=scope),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope=scope) if len(found) > len(page) else None
    return respond(
        ApprovalPage(items=tuple(approval_view(record) for _, record in page), next_page_token=next_token)
    )


@operation(
    "GET",
    "/v1/approvals/{approval_id}",
    operation_id="getApproval",
    tag="approvals",
    scopes=(Scope.SESSIONS_READ, Scope.APPROVALS_DECIDE),
    summary="Read an approval",
    answers={200: Answer(description="The approval.", struct=ApprovalView)},
)
async def get_approval(call: Call) -> Response[bytes]:
    """With the arguments that the call would be made with."""
    return respond(approval_view(await call.store.approvals.approval(call.caller, call.path("approval_id"))))


@operation(
    "POST",
    "/v1/approvals/{approval_id}/decision",
    operation_id="decideApproval",
    tag="approvals",
    scopes=(Scope.APPROVALS_DECIDE,),
    summary="Approve or deny a tool call",
    body=DecideApproval,
    precondition="optional",
    request_headers=(headers.PREFER,),
    answers={200: CHANGED},
)
async def decide_approval(call: Call) -> Response[bytes]:
    """Decided once, by whoever is first; the turn goes on when all of its approvals are decided.

    The same decision of the same actor again changes nothing and is answered with the present state. Another
    one gets 409 `approval-decided`, with the approval as it stands. When the turn has ended meanwhile it is
    409 `approval-closed`, and when the time is over `approval-expired`.
    """
    command = await call.command(DecideApproval)
    approval_id, body = call.path("approval_id"), command.body
    record = await call.store.approvals.approval(command.caller, approval_id)
    render = rendering(call.preferences)
    try:
        result = await call.carry_out(
            command,
            record.session_id,
            lambda expected: call.store.approvals.decide(
                command.caller,
                approval_id,
                decision=Decision(body.decision),
                arguments_digest=body.arguments_digest,
                note=body.note,
                is_standing=body.always,
                expected=expected,
                idempotency=command.idempotency,
                render=render,
                is_whole=call.preferences.wants_representation,
            ),
        )
    except ApprovalDecided:
        stands = await call.store.approvals.approval(command.caller, approval_id)
        if not _is_same(stands, body, command.caller):
            raise
        return await _decided_before(call, stands)
    return respond_done(result, render)


OPERATIONS = (list_approvals, get_approval, decide_approval)


def _is_same(stands: ApprovalRecord, body: DecideApproval, caller: Caller) -> bool:
    """Whether a decision says what stands already, in all that it says, by who has made it."""
    return (stands.decision, stands.note, stands.is_standing, stands.decided_by) == (
        Decision(body.decision),
        body.note,
        body.always,
        caller.actor,
    )


async def _decided_before(call: Call, stands: ApprovalRecord) -> Response[bytes]:
    """Answer with the present state, the turn included."""
    reading = call.store.reading
    turn = await reading.turn(call.caller, stands.session_id, stands.turn_id)
    delta = await reading.since(call.caller, stands.session_id, turn.revision - 1)
    return respond(
        session_delta(delta, since_revision=turn.revision - 1),
        fields={"ETag": etag_of(delta.session.revision)},
    )
