"""Approvals and approval rules: what callers send to decide and to settle, and what they get."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.agents.policy import RuleAction
from api.routes.schema_components import BLANK
from api.routes.schemas.money import Money, money
from api.routes.schemas.requests import Revision
from api.session.document import NOTE_CHARACTERS_MAX, Actor, AgentRef, ApprovalReason, Decision
from api.store.approval_rules import RuleRecord
from api.store.approvals import ApprovalRecord

Note = Annotated[str, Meta(max_length=NOTE_CHARACTERS_MAX, pattern=BLANK)]
ToolName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Amount = Annotated[
    str, Meta(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?$", extra_json_schema={"format": "decimal"})
]


class DecideApproval(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Answer an approval; it is done once."""

    decision: Literal["approved", "denied"]
    arguments_digest: Annotated[str, Meta(min_length=1, max_length=200)]
    """As the approval says it: the decision is about these arguments and no others."""
    note: Note | None = None
    """Why; the model is told the note of a denial."""
    always: bool = False
    """Make it a rule for this tool in this organization, in the same commit."""
    expected_revision: Revision | None = None
    """Checked when given; the approval's id and the digest are precondition enough."""


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a person about one tool call."""

    id: str
    session_id: str
    turn_id: str
    step_id: str
    """The step that the call is once it is approved."""
    agent: AgentRef
    tool: str
    arguments: dict[str, Any]
    arguments_digest: str
    """Opaque; a decision says it again."""
    effect: Literal["read", "idempotent", "once"]
    """What a call of this tool does: it only reads, may be repeated, or must not be."""
    reason: ApprovalReason
    """`required`: the tool always asks. `policy`: the rules ask, or are silent. `outcome_unknown`: the call
    was begun and nobody knows whether it was made; approved makes it again."""
    state: Literal["open", "decided", "closed"]
    """`closed`: its turn ended before anybody decided."""
    requested_at: datetime
    expires_at: datetime
    """From then on it counts as denied."""
    decision: Decision | None
    """Null unless it is decided."""
    decided_at: datetime | None
    decided_by: Actor | None
    """Process `system` when nobody decided in time."""
    note: str | None
    has_expired: bool
    """Nobody decided in time."""
    always: bool
    """The decision was also made a rule."""
    closed_at: datetime | None


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Approvals, newest first."""

    items: tuple[ApprovalView, ...]
    next_page_token: str | None
    """Null on the last page."""


class CreateApprovalRule(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Settle once what would be asked from call to call."""

    tool: ToolName
    """The tool's name, in every agent of the organization."""
    action: RuleAction
    """Of the rules that apply to a call, denying outweighs asking, and asking outweighs allowing."""
    arguments_schema: Annotated[dict[str, Any], Meta(extra={"limit": "metadata_bytes_max"})] | None = None
    """A JSON Schema (draft 2020-12) of an object, complete in itself: the rule applies to arguments that
    satisfy it; null: to all."""
    cost_max: Amount | None = None
    """The rule applies to tools whose declared cost, in USD, is known and at most this; null: to all."""


class ApprovalRuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule for the calls of a tool."""

    id: str
    tool: str
    action: RuleAction
    arguments_schema: dict[str, Any] | None
    cost_max: Money | None
    approval_id: str | None
    """The approval whose decision made it (`always`); null for a rule that was written as one."""
    created_at: datetime
    created_by: Actor
    revoked_at: datetime | None
    """Null while it is in force."""
    revoked_by: Actor | None


class ApprovalRulePage(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force, newest first."""

    items: tuple[ApprovalRuleView, ...]
    next_page_token: str | None
    """Null on the last page."""


def approval_view(record: ApprovalRecord) -> ApprovalView:
    """Show an approval."""
    fields = msgspec.structs.asdict(record)
    fields["always"] = fields.pop("is_standing")
    return ApprovalView(**fields)


def rule_view(record: RuleRecord) -> ApprovalRuleView:
    """Show a rule."""
    return ApprovalRuleView(
        id=record.id,
        tool=record.rule.tool,
        action=record.rule.action,
        arguments_schema=record.rule.arguments_schema,
        cost_max=money(record.rule.cost_max),
        approval_id=record.approval_id,
        created_at=record.created_at,
        created_by=record.created_by,
        revoked_at=record.revoked_at,
        revoked_by=record.revoked_by,
    )


def amount(text: str | None) -> Decimal | None:
    """Read an amount that its pattern has let through."""
    return None if text is None else Decimal(text)
