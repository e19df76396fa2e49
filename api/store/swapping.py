"""The commit of a change: the swap, and with it the rows of the approvals that the change touches.

Nearly every change touches none; then the commit is one statement. The others are a transaction of two.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from api.session import ids
from api.session.document import Approval, Change
from api.store import rows
from db import approvals, commits
from db.pool import Connection

Beside = Callable[[Connection], Awaitable[None]]
"""Writes what belongs to a commit besides, in its transaction, once the swap has succeeded."""


async def swap(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    change: Change,
    *,
    expected_epoch: int | None,
    key: commits.KeyRow | None,
    beside: Beside | None = None,
) -> bool:
    """Commit a change, if the session still is where the command found it; else nothing is written."""
    closed = [
        approval_uuid(approval.id)
        for turn in change.changed
        if turn.state.is_final
        for approval in turn.approvals
        if approval.decision is None
    ]

    async def swap_alone() -> bool:
        return await commits.swap(
            conn,
            organization_id,
            session_id,
            expected_epoch=expected_epoch,
            key=key,
            **rows.swap_arguments(change),
        )

    if not (change.requested or change.decided or closed or beside):
        return await swap_alone()
    async with conn.transaction():
        if not await swap_alone():
            return False
        if change.requested:
            (turn,) = change.changed
            requested = [_requested(approval) for approval in change.requested]
            await approvals.request(conn, organization_id, session_id, rows.turn_uuid(turn.id), requested)
        if change.decided is not None:
            was_open = await approvals.decide(conn, organization_id, _decided(change.decided))
            assert was_open, "the row of an open approval is open"
        if closed:
            await approvals.close(conn, organization_id, closed, at=change.event.at)
        if beside is not None:
            await beside(conn)
    return True


def approval_uuid(approval_id: str) -> UUID:
    """The database's form of the id of an approval that the core gave us."""
    value = ids.from_wire(ids.Kind.APPROVAL, approval_id)
    assert value is not None, approval_id
    return value


def _requested(approval: Approval) -> approvals.RequestedRow:
    step_id = ids.from_wire(ids.Kind.STEP, approval.step_id)
    assert step_id is not None, approval.step_id
    return approvals.RequestedRow(
        id=approval_uuid(approval.id),
        step_id=step_id,
        tool=approval.tool,
        arguments=msgspec.json.encode(approval.arguments),
        arguments_digest=approval.arguments_digest,
        effect=approval.effect,
        reason=approval.reason.value,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
    )


def _decided(approval: Approval) -> approvals.DecidedRow:
    assert approval.decision is not None
    assert approval.decided_at is not None
    return approvals.DecidedRow(
        id=approval_uuid(approval.id),
        decision=approval.decision.value,
        at=approval.decided_at,
        by=msgspec.json.encode(approval.decided_by),
        note=approval.note,
        has_expired=approval.has_expired,
    )
