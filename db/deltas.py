"""Deltas: the text that a model has shown so far, stored before anybody sees it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class DeltaRow(NamedTuple):
    """One piece of streamed text."""

    organization_id: UUID
    run_id: UUID
    step_id: UUID
    text_offset: int
    """In Unicode code points within the step."""
    text: str


# Only a run that still holds its turn may add text: whoever takes the turn from it ends the run in the
# same commit, and reads the deltas after that. A batch that is sent again stores nothing twice.
_FLUSH = """
WITH held AS MATERIALIZED (
    SELECT organization_id, session_id, turn_id, id FROM hold_runs($1::uuid[], $2::uuid[])
), stored AS (
    INSERT INTO deltas (organization_id, session_id, turn_id, number, step_id, kind, text_offset, text, at)
    SELECT h.organization_id, h.session_id, h.turn_id,
           row_number() OVER (PARTITION BY h.turn_id ORDER BY d.place)
           + COALESCE((SELECT max(number) FROM deltas l
                        WHERE l.organization_id = h.organization_id AND l.session_id = h.session_id
                          AND l.turn_id = h.turn_id), 0),
           d.step_id, 'delta', d.text_offset, d.text, $6
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[]) WITH ORDINALITY
        AS d(organization_id, run_id, step_id, text_offset, text, place)
      JOIN held h ON h.organization_id = d.organization_id AND h.id = d.run_id
     WHERE NOT EXISTS (SELECT FROM deltas l
                        WHERE l.organization_id = h.organization_id AND l.session_id = h.session_id
                          AND l.turn_id = h.turn_id AND l.step_id = d.step_id
                          AND l.kind = 'delta' AND l.text_offset = d.text_offset)
)
SELECT id FROM held
"""


async def flush(conn: Connection, deltas: Sequence[DeltaRow], *, at: datetime) -> set[UUID]:
    """Store deltas of any number of runs in one statement; answers the runs that still hold their turns."""
    columns = list(zip(*deltas, strict=True))
    rows = await conn.fetch(_FLUSH, *(list(column) for column in columns), at)
    return {row[0] for row in rows}


# What was taken back is shown no more; the rest stands on the readers' screens, one step behind the other.
_SHOWN = """
SELECT s.id, s.speaker, s.started_at, d.text
  FROM turns t
 CROSS JOIN LATERAL (
     SELECT l.step_id, min(l.number) AS first_number, string_agg(l.text, '' ORDER BY l.number) AS text
       FROM deltas l
      WHERE l.organization_id = t.organization_id AND l.session_id = t.session_id AND l.turn_id = t.id
      GROUP BY l.step_id
     HAVING NOT bool_or(l.kind = 'restarted')
 ) d
  JOIN steps s ON s.organization_id = t.organization_id AND s.id = d.step_id
 WHERE t.organization_id = $1 AND t.id = $2
 ORDER BY d.first_number
"""


class ShownRow(NamedTuple):
    """The text that a step of a turn has shown."""

    step_id: UUID
    speaker: str
    started_at: datetime
    text: str


async def shown(conn: Connection, organization_id: UUID, turn_id: UUID) -> list[ShownRow]:
    """Read what readers of the turn see now, in the order in which the steps began to speak."""
    rows = await conn.fetch(_SHOWN, organization_id, turn_id)
    return [ShownRow(*row.values()) for row in rows]


class LogRow(NamedTuple):
    """One entry of a turn's delta log."""

    number: int
    step_id: UUID
    kind: str
    text_offset: int
    text: str


# The instant only says how far the log had come: two runs whose clocks disagree leave no gap in it.
_AFTER = """
SELECT number, step_id, kind, text_offset, text
  FROM deltas
 WHERE organization_id = $1 AND session_id = $2 AND turn_id = $3 AND number > $4
   AND ($5::timestamptz IS NULL
        OR number <= (SELECT max(l.number) FROM deltas l
                       WHERE l.organization_id = $1 AND l.session_id = $2 AND l.turn_id = $3 AND l.at <= $5))
 ORDER BY number
 LIMIT $6
"""


async def after(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    turn_id: UUID,
    *,
    number: int,
    until: datetime | None,
    limit: int,
) -> list[LogRow]:
    """Read a turn's delta log behind an entry, in order, up to an instant if one is given."""
    rows = await conn.fetch(_AFTER, organization_id, session_id, turn_id, number, until, limit)
    return [LogRow(*row.values()) for row in rows]


class NewsRow(NamedTuple):
    """Where a session stands, and what its active turn has said behind a reader."""

    revision: int
    state: str
    """Of the session."""
    turn_id: UUID | None
    """The active turn; None when there is none."""
    position: int | None
    entries: list[LogRow]
    """Of the active turn's delta log; empty when the session is at another revision than the reader."""


# One statement is one snapshot. A reader that has read all events needs nothing else, which is nearly always.
_NEWS = """
SELECT s.revision, s.state, t.id, t.position, d.number, d.step_id, d.kind, d.text_offset, d.text
  FROM sessions s
  LEFT JOIN turns t ON t.organization_id = s.organization_id AND t.id = s.active_turn_id
  LEFT JOIN LATERAL (
      SELECT l.number, l.step_id, l.kind, l.text_offset, l.text
        FROM deltas l
       WHERE l.organization_id = s.organization_id AND l.session_id = s.id AND l.turn_id = t.id
         AND l.number > CASE WHEN t.position = $4 THEN $5 ELSE 0 END
         AND s.revision = $3
       ORDER BY l.number
       LIMIT $6
  ) d ON true
 WHERE s.organization_id = $1 AND s.id = $2 AND s.deleted_at IS NULL
 ORDER BY d.number
"""


async def news(
    conn: Connection,
    organization_id: UUID,
    session_id: UUID,
    *,
    revision: int,
    position: int,
    number: int,
    limit: int,
) -> NewsRow | None:
    """Read what a session's active turn has said behind a reader; None when there is no such session."""
    rows = await conn.fetch(_NEWS, organization_id, session_id, revision, position, number, limit)
    if not rows:
        return None
    entries = [LogRow(*tuple(row)[4:]) for row in rows if row[4] is not None]
    revision, state, turn_id, at = tuple(rows[0])[:4]
    return NewsRow(revision=revision, state=state, turn_id=turn_id, position=at, entries=entries)


class PlaceRow(NamedTuple):
    """Where a turn stands, and how long its delta log is."""

    position: int
    last_number: int
    """0 when nothing is kept (any more)."""


_PLACE = """
SELECT t.position,
       COALESCE((SELECT max(d.number) FROM deltas d
                  WHERE d.organization_id = t.organization_id AND d.session_id = t.session_id
                    AND d.turn_id = t.id), 0)
  FROM turns t
 WHERE t.organization_id = $1 AND t.session_id = $2 AND t.id = $3
"""


async def place(conn: Connection, organization_id: UUID, session_id: UUID, turn_id: UUID) -> PlaceRow | None:
    """Find a turn and its delta log; None when there is no such turn."""
    row = await conn.fetchrow(_PLACE, organization_id, session_id, turn_id)
    return None if row is None else PlaceRow(*row.values())


# Waits for whoever is about to take the turn away: what a cancel has found shown must stay shown.
_RESTART = """
INSERT INTO deltas (organization_id, session_id, turn_id, number, step_id, kind, text_offset, text, at)
SELECT r.organization_id, r.session_id, r.turn_id, d.last_number + 1, $3, 'restarted', 0, '', $4
  FROM hold_runs(ARRAY[$1::uuid], ARRAY[$2::uuid]) r
 CROSS JOIN LATERAL (
     SELECT max(number) AS last_number,
            bool_or(kind = 'delta' AND step_id = $3) AS has_text,
            bool_or(kind = 'restarted' AND step_id = $3) AS is_taken_back
       FROM deltas l
      WHERE l.organization_id = r.organization_id AND l.session_id = r.session_id AND l.turn_id = r.turn_id
 ) d
 WHERE r.organization_id = $1 AND d.has_text AND NOT d.is_taken_back
"""


async def restart(
    conn: Connection, organization_id: UUID, run_id: UUID, step_id: UUID, *, at: datetime
) -> None:
    """Take back what a step of the run's turn has shown, if it has shown anything; once."""
    await conn.execute(_RESTART, organization_id, run_id, step_id, at)


# A log goes as a whole, and not before its turn is final: a cancel keeps what it holds, and a reader that
# found its beginning missing would show the rest as if it were all. A turn's log lies in one partition, which
# is dropped as a whole; here goes what was carried over from there, or written while there was none for it.
_SWEEP = """
DELETE FROM deltas_rest d
 WHERE d.at < $1
   AND NOT EXISTS (SELECT FROM deltas_rest l
                    WHERE l.organization_id = d.organization_id AND l.session_id = d.session_id
                      AND l.turn_id = d.turn_id AND l.at >= $1)
   AND NOT EXISTS (SELECT FROM turns t
                    WHERE t.organization_id = d.organization_id AND t.id = d.turn_id
                      AND t.state IN ('pending', 'awaiting_approval'))
   AND NOT EXISTS (SELECT FROM runs r
                    WHERE r.organization_id = d.organization_id AND r.turn_id = d.turn_id
                      AND r.ended_at >= $1)
"""


async def sweep(conn: Connection, *, before: datetime) -> int:
    """Forget the delta logs outside of partitions, of every organization, whose turns were final before this
    instant; answers how many entries.
    """
    return int((await conn.execute(_SWEEP, before)).rpartition(" ")[2])
