"""Approval rules: what an organization has settled about its tools once."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from api.agents.policy import Rule, RuleAction
from api.session import ids
from api.session.document import Actor
from api.store import rows
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import NotFound
from api.store.replaying import Replaying
from db import approval_rules
from db.pool import Connection

RULES_MAX = 500
"""Rules of one organization that are in force; all of them are read for every turn that calls a tool."""


class RuleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and where it comes from."""

    id: str
    rule: Rule
    approval_id: str | None
    """The approval whose decision made it; None for a rule that was written as one."""
    created_at: datetime
    created_by: Actor
    revoked_at: datetime | None
    """None while it is in force."""
    revoked_by: Actor | None


class ApprovalRules(Replaying):
    """The part of the store that keeps approval rules."""

    async def rules(
        self, caller: Caller, *, before: UUID | None, limit: int
    ) -> list[tuple[UUID, RuleRecord]]:
        """List the rules in force, newest first."""
        async with self._pool.acquire() as conn:
            found = await approval_rules.listed(conn, caller.organization_id, before=before, limit=limit)
        return [(row.id, rule_record(row)) for row in found]

    async def rule(self, caller: Caller, rule_id: str) -> RuleRecord:
        """Read a rule, revoked or not.

        Raises:
            NotFound: the organization has none of this id.
        """
        row = row_id(ids.Kind.RULE, rule_id, "approval rule")
        async with self._pool.acquire() as conn:
            found = await approval_rules.by_id(conn, caller.organization_id, row)
        if found is None:
            raise NotFound("approval rule")
        return rule_record(found)

    async def create(
        self,
        caller: Caller,
        *,
        tool: str,
        action: RuleAction,
        arguments_schema: dict[str, Any] | None,
        cost_max: Decimal | None,
        idempotency: Idempotency | None,
        render: Callable[[RuleRecord], StoredAnswer],
    ) -> StoredAnswer | Replay | None:
        """Write a rule; None when RULES_MAX are in force."""
        row = rule_row(
            self._new_id(),
            tool=tool,
            action=action,
            arguments_schema=arguments_schema,
            cost_max=cost_max,
            at=self._clock(),
            by=caller.actor,
        )

        async def write(conn: Connection) -> StoredAnswer | None:
            is_made = await approval_rules.create(conn, caller.organization_id, row, count_max=RULES_MAX)
            return render(rule_record(row)) if is_made else None

        return await self._write_once(caller, write, idempotency=idempotency, at=row.created_at)

    async def revoke(self, caller: Caller, rule_id: str) -> None:
        """End a rule; one that was revoked before stays as it is.

        Raises:
            NotFound: the organization has none of this id.
        """
        await self.rule(caller, rule_id)
        async with self._pool.acquire() as conn:
            await approval_rules.revoke(
                conn,
                caller.organization_id,
                row_id(ids.Kind.RULE, rule_id, "approval rule"),
                at=self._clock(),
                by=msgspec.json.encode(caller.actor),
            )


def rule_row(
    rule_id: UUID,
    *,
    tool: str,
    action: RuleAction,
    at: datetime,
    by: Actor,
    arguments_schema: dict[str, Any] | None = None,
    cost_max: Decimal | None = None,
    approval_id: UUID | None = None,
) -> approval_rules.RuleRow:
    """A rule as it is inserted."""
    return approval_rules.RuleRow(
        id=rule_id,
        tool=tool,
        arguments_schema=None if arguments_schema is None else msgspec.json.encode(arguments_schema),
        cost_max=cost_max,
        action=action.value,
        approval_id=approval_id,
        created_at=at,
        created_by=msgspec.json.encode(by),
        revoked_at=None,
        revoked_by=None,
    )


def rule_record(row: approval_rules.RuleRow) -> RuleRecord:
    """A rule as it was stored."""
    schema = row.arguments_schema
    return RuleRecord(
        id=ids.to_wire(ids.Kind.RULE, row.id),
        rule=Rule(
            tool=row.tool,
            action=RuleAction(row.action),
            arguments_schema=None if schema is None else msgspec.json.decode(schema, type=dict[str, Any]),
            cost_max=row.cost_max,
            is_standing=row.approval_id is not None,
        ),
        approval_id=None if row.approval_id is None else ids.to_wire(ids.Kind.APPROVAL, row.approval_id),
        created_at=row.created_at,
        created_by=rows.actor(row.created_by),
        revoked_at=row.revoked_at,
        revoked_by=None if row.revoked_by is None else rows.actor(row.revoked_by),
    )
