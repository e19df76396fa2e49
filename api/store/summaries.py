"""Sums over the ledger, grouped as asked, apart by where the turns stand now."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

import msgspec

from api.session import ids
from api.store.base import Base, Caller
from api.store.errors import UnknownTimeZone
from db import summaries, time_zones, usage

DIMENSIONS = ("day", "model", "agent", "session", "key", "purpose", "outcome")


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over ledger rows, corrections counted in."""

    call_count: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal = Decimal(0)
    """Of all calls whose cost is known."""
    billable_cost: Decimal = Decimal(0)
    unknown_count: int = 0
    """Calls whose cost is not known; they add nothing to `cost`."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one group; a dimension that was not asked for is None."""

    day: str | None
    model: str | None
    agent_id: str | None
    session_id: str | None
    key_id: str | None
    purpose: str | None
    outcome: str | None
    total: Sums
    active: Sums
    """Of turns on the line."""
    discarded: Sums
    """Of turns in discarded futures."""
    deleted: Sums
    """Of turns whose session was deleted since."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A page of groups."""

    head: int
    """The sums are over the rows up to this sequence number."""
    groups: tuple[Group, ...]
    is_last: bool


class Summaries(Base):
    """The part of the store that sums the ledger."""

    _time_zones: frozenset[str] = frozenset()

    async def require_time_zone(self, name: str) -> None:
        """Look whether there is such a time zone.

        Raises:
            UnknownTimeZone: the database does not know it.
        """
        if not self._time_zones:
            async with self._pool.acquire() as conn:
                self._time_zones = await time_zones.names(conn)
        if name not in self._time_zones:
            raise UnknownTimeZone(name)

    async def summary(
        self,
        caller: Caller,
        *,
        since: date | None,
        until: date | None,
        time_zone: str,
        group_by: Sequence[str],
        head: int | None,
        offset: int,
        limit: int,
    ) -> Summary:
        """Sum the days `since <= day < until`; a page goes on at `offset` under the `head` of the first.

        Raises:
            UnknownTimeZone: there is no such time zone.
        """
        await self.require_time_zone(time_zone)
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            reached = (await usage.head(conn, caller.organization_id)).last_seq
            seen = reached if head is None else min(head, reached)
            found = await summaries.summary(
                conn,
                caller.organization_id,
                since=since,
                until=until,
                time_zone=time_zone,
                head=seen,
                group_by=group_by,
                offset=offset,
                limit=limit + 1,
            )
        by_rank: dict[int, list[summaries.SummaryRow]] = {}
        for row in found:
            by_rank.setdefault(row.rank, []).append(row)
        groups = [_group(group) for group in by_rank.values()]
        return Summary(head=seen, groups=tuple(groups[:limit]), is_last=len(groups) <= limit)


def _group(found: Sequence[summaries.SummaryRow]) -> Group:
    first = found[0]
    by_standing = {row.standing: _sums(row) for row in found}
    none = Sums()
    return Group(
        day=first.day,
        model=first.model,
        agent_id=_wire(ids.Kind.AGENT, first.agent_id),
        session_id=_wire(ids.Kind.SESSION, first.session_id),
        key_id=_wire(ids.Kind.KEY, first.key_id),
        purpose=first.purpose,
        outcome=first.outcome,
        total=_added(tuple(by_standing.values())),
        active=by_standing.get("active", none),
        discarded=by_standing.get("discarded", none),
        deleted=by_standing.get("deleted", none),
    )


def _sums(row: summaries.SummaryRow) -> Sums:
    return Sums(**{name: getattr(row, name) for name in Sums.__struct_fields__})


def _added(parts: Sequence[Sums]) -> Sums:
    return Sums(**{name: sum(getattr(part, name) for part in parts) for name in Sums.__struct_fields__})


def _wire(kind: ids.Kind, text: str | None) -> str | None:
    return None if text is None else ids.to_wire(kind, UUID(text))
