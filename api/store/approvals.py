"""Approvals: what people are asked, what they decide, and what happens when nobody does."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.agents.policy import Rule, RuleAction
from api.session import commands, ids
from api.session.document import Actor, AgentRef, ApprovalReason, Change, Decision
from api.session.errors import ApprovalClosed, ApprovalDecided, NoStandingDecision
from api.store import rows
from api.store.approval_rules import rule_record, rule_row
from api.store.base import Caller, Done, Idempotency, Render, Replay, row_id
from api.store.commit import Committing, Found
from api.store.errors import NotFound
from api.store.swapping import approval_uuid
from db import approval_rules, approvals
from db.pool import Connection

SYSTEM = Actor(process="system")
"""Who denies what nobody has decided in time."""


class ApprovalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An approval with its place and its agent."""

    id: str
    session_id: str
    turn_id: str
    step_id: str
    agent: AgentRef
    tool: str
    arguments: dict[str, Any]
    arguments_digest: str
    effect: str
    reason: ApprovalReason
    state: str
    """`open`, `decided` or `closed`."""
    requested_at: datetime
    expires_at: datetime
    decision: Decision | None
    decided_at: datetime | None
    decided_by: Actor | None
    note: str | None
    has_expired: bool
    is_standing: bool
    """The decision was also made a rule of the organization."""
    closed_at: datetime | None
    """The turn ended then, before anybody had decided; None for others."""


class Approvals(Committing):
    """The part of the store that keeps approvals."""

    async def approval(self, caller: Caller, approval_id: str) -> ApprovalRecord:
        """Read an approval.

        Raises:
            NotFound: the organization has none of this id.
        """
        row = row_id(ids.Kind.APPROVAL, approval_id, "approval")
        async with self._pool.acquire() as conn:
            found = await approvals.by_id(conn, caller.organization_id, row)
        if found is None:
            raise NotFound("approval")
        return _record(found)

    async def approvals(
        self, caller: Caller, *, session_id: str | None, state: str | None, before: UUID | None, limit: int
    ) -> list[tuple[UUID, ApprovalRecord]]:
        """List approvals, newest first; `state` is `open`, `decided` or `closed`, None does not filter."""
        session = None if session_id is None else ids.from_wire(ids.Kind.SESSION, session_id)
        if session_id is not None and session is None:
            return []
        async with self._pool.acquire() as conn:
            found = await approvals.listed(
                conn, caller.organization_id, session_id=session, state=state, before=before, limit=limit
            )
        return [(row.id, _record(row)) for row in found]

    async def decide(
        self,
        caller: Caller,
        approval_id: str,
        *,
        decision: Decision,
        arguments_digest: str,
        note: str | None,
        is_standing: bool,
        expected: int | None,
        idempotency: Idempotency | None,
        render: Render,
        is_whole: bool = False,
    ) -> Done | Replay:
        """Answer an approval, once. Id and digest are the precondition; a revision is checked if given.

        With `is_standing` the decision becomes a rule for this tool in the organization, in the same commit.

        Raises:
            NotFound, RevisionConflict, KeyReused, RequestInFlight: nothing was changed.
            DigestMismatch, ApprovalDecided, ApprovalClosed, ApprovalExpired: from the core.
            NoStandingDecision: whether to make a call again whose outcome is unknown is asked each time.
        """
        asked = await self.approval(caller, approval_id)

        async def make_rule(conn: Connection) -> None:
            action = RuleAction.ALLOW if decision is Decision.APPROVED else RuleAction.DENY
            row = approval_uuid(approval_id)
            await approvals.stand(conn, caller.organization_id, row)
            rule = rule_row(
                self._new_id(),
                tool=asked.tool,
                action=action,
                approval_id=row,
                at=self._clock(),
                by=caller.actor,
            )
            await approval_rules.create(conn, caller.organization_id, rule, count_max=None)

        async def prepare(found: Found) -> Change:
            change = commands.decide(
                found.head,
                turn=await found.reader.turn(asked.turn_id),
                approval_id=approval_id,
                arguments_digest=arguments_digest,
                decision=decision,
                note=note,
                now=self._clock(),
                actor=caller.actor,
            )
            if is_standing and asked.reason is ApprovalReason.OUTCOME_UNKNOWN:
                raise NoStandingDecision(approval_id)
            return change

        return await self._change(
            caller,
            asked.session_id,
            prepare,
            expected=expected,
            idempotency=idempotency,
            render=render,
            is_whole=is_whole,
            beside=make_rule if is_standing else None,
        )

    async def rules(self, organization_id: UUID) -> tuple[Rule, ...]:
        """Read all rules that an organization has in force, for the runner to judge calls by."""
        async with self._pool.acquire() as conn:
            found = await approval_rules.listed(conn, organization_id, before=None, limit=None)
        return tuple(rule_record(row).rule for row in found)

    async def expired(self, *, limit: int) -> list[tuple[UUID, str]]:
        """Find open approvals that nobody decided in time: the organization and the id of each."""
        async with self._pool.acquire() as conn:
            found = await approvals.expired(conn, now=self._clock(), limit=limit)
        return [(row.organization_id, ids.to_wire(ids.Kind.APPROVAL, row.id)) for row in found]

    async def expire(self, organization_id: UUID, approval_id: str) -> bool:
        """Deny an approval that nobody decided in time; False when somebody was first after all."""
        caller = Caller(organization_id=organization_id, actor=SYSTEM)

        async def prepare(found: Found) -> Change:
            return commands.decide(
                found.head,
                turn=await found.reader.turn(asked.turn_id),
                approval_id=approval_id,
                arguments_digest=asked.arguments_digest,
                decision=Decision.DENIED,
                note=None,
                now=self._clock(),
                actor=SYSTEM,
                has_expired=True,
            )

        try:
            asked = await self.approval(caller, approval_id)
            await self._change(caller, asked.session_id, prepare, expected=None)
        except (NotFound, ApprovalDecided, ApprovalClosed):
            return False
        return True


def _record(row: approvals.ApprovalRow) -> ApprovalRecord:
    state = "open" if row.closed_at is None else "closed"
    return ApprovalRecord(
        id=ids.to_wire(ids.Kind.APPROVAL, row.id),
        session_id=ids.to_wire(ids.Kind.SESSION, row.session_id),
        turn_id=ids.to_wire(ids.Kind.TURN, row.turn_id),
        step_id=ids.to_wire(ids.Kind.STEP, row.step_id),
        agent=AgentRef(id=ids.to_wire(ids.Kind.AGENT, row.agent_id), version=row.agent_version),
        tool=row.tool,
        arguments=msgspec.json.decode(row.arguments, type=dict[str, Any]),
        arguments_digest=row.arguments_digest,
        effect=row.effect,
        reason=ApprovalReason(row.reason),
        state=state if row.decision is None else "decided",
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        decision=None if row.decision is None else Decision(row.decision),
        decided_at=row.decided_at,
        decided_by=None if row.decided_by is None else rows.actor(row.decided_by),
        note=row.note,
        has_expired=row.has_expired,
        is_standing=row.is_standing,
        closed_at=row.closed_at,
    )
