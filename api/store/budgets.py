"""Budgets: what an organization, or one of its keys, may spend in a day, a month or at all.

A command that would make a turn pending is refused when a budget is used up, and so is a turn's first model
call: of turns that were let in at the same moment, those go on that there is something left for. From there
on a turn is carried to its end. So a hard limit is passed at most by the last call that was let in, by what
calls cost beyond what was reserved for them, and by the further calls of turns that had begun.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from api.session import ids
from api.store import rows
from api.store.base import Base, BudgetState, Caller, row_id
from api.store.errors import BudgetExceeded, NotFound
from db import budgets, runs
from db.pool import Connection

UNBUDGETED_SECONDS = 5
"""How long an organization without a budget is remembered, so that its commands need not ask."""

_UNBUDGETED_MAX = 10_000
_UNCOUNTED_MAX = 200
"""Rows of the ledger that a check may add up before the sum is remembered."""


class Budgets(Base):
    """The part of the store that keeps budgets, and lets turns in."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unbudgeted: OrderedDict[UUID, float] = OrderedDict()

    async def budgets(self, caller: Caller) -> list[BudgetState]:
        """Read every budget of the organization as it stands."""
        async with self._pool.acquire() as conn:
            return await self._states(conn, caller.organization_id, key_id=None)

    async def put(
        self,
        caller: Caller,
        *,
        key_id: str | None,
        period: str,
        time_zone: str,
        limit: Decimal | None,
        warn_at: Decimal | None,
        reserve_per_call: Decimal,
    ) -> BudgetState:
        """Set a budget, in the place of the one for the same key and period.

        Raises:
            NotFound: the organization has no such key.
        """
        key = None if key_id is None else row_id(ids.Kind.KEY, key_id, "key")
        async with self._pool.acquire() as conn, conn.transaction():
            try:
                await budgets.put(
                    conn,
                    caller.organization_id,
                    key_id=key,
                    period=period,
                    time_zone=time_zone,
                    hard_limit=limit,
                    warn_at=warn_at,
                    reserve_per_call=reserve_per_call,
                    at=self._clock(),
                    by=msgspec.json.encode(caller.actor),
                )
            except asyncpg.ForeignKeyViolationError:
                raise NotFound("key") from None
            found = await self._states(conn, caller.organization_id, key_id=None)
        self._unbudgeted.pop(caller.organization_id, None)
        return next(state for state in found if (state.key_id, state.period) == (key_id, period))

    async def delete(self, caller: Caller, *, key_id: str | None, period: str) -> None:
        """Remove a budget.

        Raises:
            NotFound: there is none.
        """
        key = None if key_id is None else row_id(ids.Kind.KEY, key_id, "budget")
        async with self._pool.acquire() as conn:
            if not await budgets.delete(conn, caller.organization_id, key_id=key, period=period):
                raise NotFound("budget")

    async def admit(self, conn: Connection, caller: Caller) -> tuple[BudgetState, ...]:
        """Let a command make a turn, and tell the budgets that are near their end.

        An organization without a budget is asked about once in `UNBUDGETED_SECONDS`.

        Raises:
            BudgetExceeded: a hard limit is used up.
        """
        organization, now = caller.organization_id, time.monotonic()
        if now < self._unbudgeted.get(organization, now):
            return ()
        key = None
        if caller.actor.key_id is not None:
            key = ids.from_wire(ids.Kind.KEY, caller.actor.key_id)
        found = await self._states(conn, organization, key_id=key or _NO_KEY)
        if not found:
            if not await budgets.are_there(conn, organization):
                self._unbudgeted[organization] = now + UNBUDGETED_SECONDS
                self._unbudgeted.move_to_end(organization)
                if len(self._unbudgeted) > _UNBUDGETED_MAX:
                    self._unbudgeted.popitem(last=False)
            return ()
        _require_left(found)
        return tuple(state for state in found if state.is_near)

    async def _states(
        self, conn: Connection, organization_id: UUID, *, key_id: UUID | None
    ) -> list[BudgetState]:
        found = await budgets.states(conn, organization_id, key_id=key_id, at=self._clock())
        # Not inside a command's transaction: it holds a run, and a call that begins holds the budgets first.
        for row in () if conn.is_in_transaction() else found:
            if row.counted_from != row.starts_at or row.last_seq - row.counted_seq > _UNCOUNTED_MAX:
                await budgets.remember(conn, organization_id, row)
        return [_state(row) for row in found]


_NO_KEY = UUID(int=0)
"""Stands for the caller without a key, who is under the budgets of the whole organization alone."""


async def start_reserved_step(
    conn: Connection, organization_id: UUID, run_id: UUID, step: runs.StepIntent, *, at: datetime
) -> bool:
    """Record a call of an organization with budgets, and reserve for it; False when the run lost its turn.

    Raises:
        BudgetExceeded: a hard limit is used up and this would be the turn's first model call.
    """
    async with conn.transaction():
        # Under the lock nobody else reserves, so that each sees what the others have reserved.
        await budgets.lock(conn, organization_id)
        found = await budgets.beginning(
            conn, organization_id, run_id, provider=step.provider, model=step.model
        )
        if found is None:
            return False
        states = await budgets.states(conn, organization_id, key_id=found.key_id or _NO_KEY, at=at)
        reserved = Decimal(0)
        if step.kind == "model":
            if not found.has_called:
                _require_left([_state(row) for row in states])
            reserved = max((found.estimate or reserved, *(row.reserve_per_call for row in states)))
        return await runs.start_step(conn, organization_id, run_id, step, reserved=reserved)


def _require_left(states: Sequence[BudgetState]) -> None:
    for state in states:
        if state.is_exceeded:
            raise BudgetExceeded(state)


def _state(row: budgets.BudgetRow) -> BudgetState:
    return BudgetState(
        key_id=None if row.key_id is None else ids.to_wire(ids.Kind.KEY, row.key_id),
        period=row.period,
        time_zone=row.time_zone,
        limit=row.hard_limit,
        warn_at=row.warn_at,
        reserve_per_call=row.reserve_per_call,
        spent=row.spent,
        reserved=row.reserved,
        call_count=row.call_count,
        starts_at=None if row.ends_at is None else row.starts_at,
        resets_at=row.ends_at,
        set_at=row.set_at,
        set_by=rows.actor(row.set_by),
    )
