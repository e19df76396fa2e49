"""Approval rules: what an organization settles about its tools once, instead of from call to call."""

import msgspec
from litestar import Response

from api.agents.faults import DefinitionRefused, Fault
from api.agents.json_schemas import check_object_schema
from api.routes import headers
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.errors import Invalid, TooManyRules
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.schemas.agents import wire_faults
from api.routes.schemas.approvals import (
    ApprovalRulePage,
    ApprovalRuleView,
    CreateApprovalRule,
    amount,
    rule_view,
)
from api.routes.schemas.queries import PageQuery
from api.store import Replay, StoredAnswer
from api.store.approval_rules import RULES_MAX, RuleRecord
from api.store.scopes import Scope


@operation(
    "POST",
    "/v1/approval-rules",
    operation_id="createApprovalRule",
    tag="approvals",
    scopes=(Scope.ADMIN,),
    summary="Settle what is asked about a tool",
    body=CreateApprovalRule,
    answers={
        201: Answer(
            description="The new rule.",
            struct=ApprovalRuleView,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
)
async def create_approval_rule(call: Call) -> Response[bytes]:
    """It counts from the next call of the tool on. What was asked before stays open."""
    command = await call.command(CreateApprovalRule)
    body = command.body
    if body.arguments_schema is not None:
        faults: list[Fault] = []
        check_object_schema(body.arguments_schema, "/arguments_schema", faults)
        if faults:
            raise Invalid(wire_faults(DefinitionRefused(tuple(faults))))
    result = await call.store.approval_rules.create(
        command.caller,
        tool=body.tool,
        action=body.action,
        arguments_schema=body.arguments_schema,
        cost_max=amount(body.cost_max),
        idempotency=command.idempotency,
        render=_render,
    )
    if result is None:
        raise TooManyRules(count_max=RULES_MAX)
    if isinstance(result, Replay):
        assert result.answer is not None, "rules are never removed"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)


@operation(
    "GET",
    "/v1/approval-rules",
    operation_id="listApprovalRules",
    tag="approvals",
    scopes=(Scope.APPROVALS_DECIDE, Scope.ADMIN),
    summary="List the approval rules in force",
    query=PageQuery,
    answers={200: Answer(description="A page of rules.", struct=ApprovalRulePage)},
)
async def list_approval_rules(call: Call) -> Response[bytes]:
    """Newest first, with those that decisions have made."""
    query = call.query(PageQuery)
    found = await call.store.approval_rules.rules(
        call.caller,
        before=None if query.page_token is None else read_uuid(query.page_token, scope="approval-rules"),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope="approval-rules") if len(found) > len(page) else None
    return respond(
        ApprovalRulePage(items=tuple(rule_view(record) for _, record in page), next_page_token=next_token)
    )


@operation(
    "GET",
    "/v1/approval-rules/{rule_id}",
    operation_id="getApprovalRule",
    tag="approvals",
    scopes=(Scope.APPROVALS_DECIDE, Scope.ADMIN),
    summary="Read an approval rule",
    answers={200: Answer(description="The rule.", struct=ApprovalRuleView)},
)
async def get_approval_rule(call: Call) -> Response[bytes]:
    """In force, or revoked: `revoked_at` says which."""
    return respond(rule_view(await call.store.approval_rules.rule(call.caller, call.path("rule_id"))))


@operation(
    "DELETE",
    "/v1/approval-rules/{rule_id}",
    operation_id="revokeApprovalRule",
    tag="approvals",
    scopes=(Scope.ADMIN,),
    summary="Revoke an approval rule",
    answers={204: Answer(description="It is not in force any more.")},
)
async def revoke_approval_rule(call: Call) -> Response[bytes]:
    """It stays on record; revoking it again changes nothing."""
    command = call.bare_command()
    await call.store.approval_rules.revoke(command.caller, call.path("rule_id"))
    return Response(content=b"", status_code=204, headers={"Cache-Control": "no-store"})


OPERATIONS = (create_approval_rule, list_approval_rules, get_approval_rule, revoke_approval_rule)


def _render(record: RuleRecord) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/approval-rules/{record.id}"},
        body=msgspec.json.encode(rule_view(record)),
    )
