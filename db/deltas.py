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
WITH held AS (
    SELECT r.organization_id, r.session_id, r.turn_id, r.id
      FROM runs r
      JOIN (SELECT DISTINCT organization_id, run_id
              FROM unnest($1::uuid[], $2::uuid[]) AS f(organization_id, run_id)) f
        ON f.organization_id = r.organization_id AND f.run_id = r.id
     WHERE r.state = 'running'
       FOR SHARE OF r
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


_TEXT = """
SELECT s.id, s.speaker, s.started_at, string_agg(d.text, '' ORDER BY d.number) AS text
  FROM steps s
  JOIN deltas d ON d.organization_id = s.organization_id AND d.session_id = s.session_id
               AND d.turn_id = s.turn_id AND d.step_id = s.id AND d.kind = 'delta'
 WHERE s.organization_id = $1 AND s.turn_id = $2 AND s.run_id = $3
   AND s.id = (SELECT l.id FROM steps l
                WHERE l.organization_id = $1 AND l.turn_id = $2 AND l.run_id = $3 AND l.kind = 'model'
                ORDER BY l.started_at DESC, l.id DESC LIMIT 1)
 GROUP BY s.id, s.speaker, s.started_at
"""


class ShownRow(NamedTuple):
    """The text shown of the last model call of a run."""

    step_id: UUID
    speaker: str
    started_at: datetime
    text: str


async def shown(conn: Connection, organization_id: UUID, turn_id: UUID, run_id: UUID) -> ShownRow | None:
    """Read what the run's last model call has shown; None when it has shown nothing."""
    row = await conn.fetchrow(_TEXT, organization_id, turn_id, run_id)
    return None if row is None else ShownRow(*row.values())


_SWEEP = """
DELETE FROM deltas WHERE at < $1
"""


async def sweep(conn: Connection, *, before: datetime) -> int:
    """Forget the deltas of every organization that were stored before this instant; answers how many."""
    return int((await conn.execute(_SWEEP, before)).rpartition(" ")[2])
