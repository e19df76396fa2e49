"""Partitions of the tables that grow with every turn: which there are, how they come and go."""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from db.pool import Connection

PARENTS = ("deltas", "steps", "events", "usage_entries")
"""The tables that lie in partitions; what fits into none lies in `<parent>_rest`."""


class PartitionRow(NamedTuple):
    """A stretch of time of one table."""

    name: str
    parent: str
    begins_at: datetime | None
    """None for the first, which holds whatever is older."""
    ends_at: datetime
    """The first instant that is not in it."""
    size_bytes: int
    """On disk, with indexes."""


_NOW = """
SELECT now()
"""


async def now(conn: Connection) -> datetime:
    """The time by the clock that all processes share."""
    value: datetime = await conn.fetchval(_NOW)
    return value


# One that has just been dropped by somebody else has no size.
_LIST = """
SELECT name, parent, begins_at, ends_at, COALESCE(pg_total_relation_size(to_regclass(name)), 0)
  FROM partitions
 WHERE dropped_at IS NULL
 ORDER BY parent, ends_at
"""


async def present(conn: Connection) -> list[PartitionRow]:
    """Read the partitions that there are, by table, oldest first."""
    return [PartitionRow(*row.values()) for row in await conn.fetch(_LIST)]


_ADD = """
SELECT add_partition($1, $2, $3)
"""


async def add(conn: Connection, parent: str, *, begins_at: datetime, ends_at: datetime) -> bool:
    """Make a partition behind the newest of its table.

    What lies in `<parent>_rest` of that time moves along. False, with nothing changed, when somebody was
    first, and when that is too much to be moved, so that it stays there.

    Raises:
        asyncpg.LockNotAvailableError: the table was too busy to be held; nothing was changed.
    """
    made: bool = await conn.fetchval(_ADD, parent, begins_at, ends_at)
    return made


_DROP = """
SELECT drop_partition($1, $2)
"""

_LOOK_SECONDS_MAX = 600
# Nobody waits while the rows are looked through, so that may take longer than a statement of a request.
_BE_PATIENT = """
SELECT set_config('statement_timeout', $1, true)
"""


async def drop(conn: Connection, name: str, *, kept_since: datetime) -> int | None:
    """Drop a partition of deltas, steps or events, and carry over to `_rest` what turns still need.

    Deltas are carried over too when their turn was still running at `kept_since`. Answers how many rows were
    carried over; None, with nothing changed, when somebody was first or the table was too busy to be held.
    """
    try:
        async with conn.transaction():
            await conn.execute(_BE_PATIENT, f"{_LOOK_SECONDS_MAX}s")
            kept: int | None = await conn.fetchval(_DROP, name, kept_since, timeout=_LOOK_SECONDS_MAX + 5)
    except asyncpg.LockNotAvailableError:
        return None
    return kept
