"""Partitions are made ahead of time, and dropped when what is in them is kept no longer.

The rows of a partition are of one stretch of time. How wide it is depends on how long its rows are kept:
about eight partitions hold what is kept, so that a statement which must look into all of them looks into few.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
from loguru import logger as log

from api.settings import Settings
from db import partitions
from db.partitions import PartitionRow
from db.pool import Connection, Pool

DELTA_HOURS = 1
"""Time that streamed text is kept beside the final turn that holds it, for listeners who resume."""

_INTERVAL_SECONDS = 60
_KEPT_IN = 8
"""Partitions that what is kept lies in, about."""
_WIDTHS = (("day", 1), ("week", 7), ("month", 31), ("quarter", 92))
"""Names, and lengths in days."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with the partitions of one table."""

    width: str
    """`hour`, `day`, `week`, `month`, `quarter` or `year`, in UTC."""
    kept_days: float | None
    """None: as long as the sessions."""


def plans(settings: Settings) -> dict[str, Plan]:
    """What the settings want of each table that lies in partitions."""
    return {
        "deltas": Plan(width="hour", kept_days=DELTA_HOURS / 24),
        "steps": _kept(settings.steps_kept_days),
        "events": _kept(settings.events_kept_days),
        # Billing asks for years, and nothing leaves the ledger by itself.
        "usage_entries": Plan(width="year", kept_days=None),
    }


def wanted(plan: Plan, present: Iterable[PartitionRow], *, now: datetime) -> list[tuple[datetime, datetime]]:
    """The partitions that a table should have and has not, oldest first: until the end of the next width."""
    this = floor(now, plan.width)
    until = following(following(this, plan.width), plan.width)
    # A stretch in which nobody was there stays a gap: the few rows of its beginning or end are in `_rest`.
    begin = max([this, *(row.ends_at for row in present)])
    found = []
    while begin < until:
        end = following(floor(begin, plan.width), plan.width)
        found.append((begin, end))
        begin = end
    return found


def outdated(plan: Plan, present: Iterable[PartitionRow], *, now: datetime) -> list[PartitionRow]:
    """The partitions of which every row is older than it is kept, oldest first."""
    if plan.kept_days is None:
        return []
    cutoff = now - timedelta(days=plan.kept_days)
    return sorted((row for row in present if row.ends_at <= cutoff), key=lambda row: row.ends_at)


async def tend_forever(pool: Pool, settings: Settings) -> None:
    """Make and drop partitions now and then every minute, until cancelled."""
    while True:
        try:
            # By the database's clock: one process whose own is wrong must not drop what all others keep.
            async with pool.acquire() as conn:
                now = await partitions.now(conn)
            await tend(pool, plans(settings), now=now)
        except Exception:
            # The edge of the loop: whatever was wrong with the database may be right in a minute.
            log.exception("partitions were not looked after")
        await asyncio.sleep(_INTERVAL_SECONDS)


async def tend(pool: Pool, planned: Mapping[str, Plan], *, now: datetime) -> None:
    """Look once: make what is wanted ahead, drop what is outdated.

    Each is a statement of its own that holds its table for an instant. What could not be had at once, because
    somebody else used or tended the table, is done by them or at the next look.
    """
    async with pool.acquire() as conn:
        found = await partitions.present(conn)
        for parent, plan in planned.items():
            present = [row for row in found if row.parent == parent]
            await _make(conn, parent, wanted(plan, present, now=now))
        # Last, since it may take long or fail, and what is about to be written must have its place.
        for parent, plan in planned.items():
            present = [row for row in found if row.parent == parent]
            for row in outdated(plan, present, now=now):
                kept = await partitions.drop(
                    conn, row.name, kept_since=now - timedelta(days=plan.kept_days or 0)
                )
                if kept is not None:
                    log.info("partition dropped", name=row.name, size_bytes=row.size_bytes, rows_kept=kept)


async def _make(conn: Connection, parent: str, stretches: Iterable[tuple[datetime, datetime]]) -> None:
    for begins_at, ends_at in stretches:
        try:
            is_made = await partitions.add(conn, parent, begins_at=begins_at, ends_at=ends_at)
        except asyncpg.LockNotAvailableError:
            # The next one would leave a gap here for good: partitions are made behind the newest alone.
            return
        if is_made:
            log.info("partition made", table=parent, begins_at=begins_at, ends_at=ends_at)


def width_for(kept_days: float) -> str:
    """The narrowest width of which few partitions hold so many days."""
    return next((name for name, days in _WIDTHS if days * _KEPT_IN >= kept_days), "year")


def floor(at: datetime, width: str) -> datetime:
    """When the stretch began that an instant is in."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match width:
        case "hour":
            return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case _:
            return day.replace(month=1, day=1)


def following(begin: datetime, width: str) -> datetime:
    """When the stretch ends that begins at this instant."""
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
    if width in longest:
        return begin + longest[width]
    # Longer than any stretch of this width, and shorter than two.
    return floor(begin + timedelta(days={"month": 31, "quarter": 92}.get(width, 366)), width)


def _kept(days: int) -> Plan:
    """How what is kept for so many days is divided; 0 is as long as the sessions."""
    return Plan(width=width_for(days) if days else "quarter", kept_days=days or None)
