"""The header of a session: finding it, swapping its revision, listing."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.pool import Connection


class HeaderRow(NamedTuple):
    """A header as a command is given it."""

    revision: int
    epoch: int
    document: bytes
    context: bytes
    metadata: bytes
    unfinished: list[bytes]
    """Bodies of the turns that are not final, by position."""


_LOAD = """
SELECT s.revision, s.epoch, s.document, s.context, s.metadata,
       CASE WHEN s.active_turn_id IS NULL THEN '{}'::json[]
            ELSE ARRAY(SELECT t.body
                         FROM turns a
                         JOIN turns t ON t.organization_id = a.organization_id AND t.session_id = a.session_id
                                     AND t.branch = a.branch AND t.position >= a.position
                        WHERE a.organization_id = s.organization_id AND a.id = s.active_turn_id
                          AND t.state IN ('pending', 'awaiting_approval')
                        ORDER BY t.position)
       END AS unfinished
  FROM sessions s
 WHERE s.organization_id = $1 AND s.id = $2 AND s.deleted_at IS NULL
"""


async def load(conn: Connection, organization_id: UUID, session_id: UUID) -> HeaderRow | None:
    """Read a header and its unfinished turns; None when the organization has no such session (any more)."""
    row = await conn.fetchrow(_LOAD, organization_id, session_id)
    return None if row is None else HeaderRow(*row.values())


_LOCK = """
SELECT revision FROM sessions WHERE organization_id = $1 AND id = $2 FOR UPDATE
"""


async def lock(conn: Connection, organization_id: UUID, session_id: UUID) -> None:
    """Hold the session's row until the transaction ends; what is loaded afterwards is the state found."""
    await conn.execute(_LOCK, organization_id, session_id)


_REVISION = """
SELECT revision FROM sessions WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
"""


async def revision(conn: Connection, organization_id: UUID, session_id: UUID) -> int | None:
    """The session's revision now; None when there is no such session."""
    value: int | None = await conn.fetchval(_REVISION, organization_id, session_id)
    return value


class ListedRow(NamedTuple):
    """A header in a list."""

    id: UUID
    document: bytes
    metadata: bytes


# A page is read along the primary key: ids are UUIDv7, so the newest created come first. Postgres lowers both
# sides: what it makes of a letter depends on the locale, and in `C` only A-Z have lower case.
_LIST = """
SELECT id, document, metadata
  FROM sessions
 WHERE organization_id = $1
   AND deleted_at IS NULL
   AND ($2::uuid IS NULL OR id < $2)
   AND ($3::text IS NULL OR state = $3)
   AND ($4::uuid IS NULL OR agent_id = $4)
   AND ($5::timestamptz IS NULL OR active_hour >= date_trunc('hour', $5::timestamptz))
   AND ($6::text IS NULL OR lower(name) LIKE lower($6))
   AND ($7::uuid IS NULL OR id = $7)
 ORDER BY id DESC
 LIMIT $8
"""


# The same for a prefix that few names have: these are found first, since along the key one might look through
# all sessions before the newest of them comes.
_LIST_NAMED = """
WITH named AS MATERIALIZED (
    SELECT id
      FROM sessions
     WHERE organization_id = $1
       AND deleted_at IS NULL
       AND lower(name) LIKE lower($6::text)
       AND ($2::uuid IS NULL OR id < $2)
       AND ($3::text IS NULL OR state = $3)
       AND ($4::uuid IS NULL OR agent_id = $4)
       AND ($5::timestamptz IS NULL OR active_hour >= date_trunc('hour', $5::timestamptz))
       AND ($7::uuid IS NULL OR id = $7)
), page AS MATERIALIZED (
    SELECT id FROM named ORDER BY id DESC LIMIT $8
)
SELECT s.id, s.document, s.metadata
  FROM page p
  JOIN sessions s ON s.organization_id = $1 AND s.id = p.id
 ORDER BY s.id DESC
"""

_FEW_NAMES = 10_000
"""Sessions that are put in order for a page of them, at most."""
_COUNT_NAMED = """
SELECT count(*)
  FROM (SELECT FROM sessions
         WHERE organization_id = $1 AND deleted_at IS NULL AND lower(name) LIKE lower($2)
         LIMIT $3) named
"""

# A filter that does not filter must cost nothing, and one that does must find its index: that is seen only
# when the statement is planned for the values at hand.
_PLAN_EACH = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)
"""


async def listed(
    conn: Connection,
    organization_id: UUID,
    *,
    before: UUID | None,
    state: str | None,
    agent_id: UUID | None,
    active_since: datetime | None,
    name_prefix: str | None,
    session_id: UUID | None,
    limit: int,
) -> list[ListedRow]:
    """Read headers, newest created first. A filter of None does not filter; case does not count in names.

    `conn` is in a transaction, the rest of which is planned for its values as well.
    """
    await conn.execute(_PLAN_EACH)
    pattern = None if name_prefix is None else _like_prefix(name_prefix)
    filters = (organization_id, before, state, agent_id, active_since, pattern, session_id, limit)
    if (
        pattern is None
        or await conn.fetchval(_COUNT_NAMED, organization_id, pattern, _FEW_NAMES) == _FEW_NAMES
    ):
        rows = await conn.fetch(_LIST, *filters)
    else:
        rows = await conn.fetch(_LIST_NAMED, *filters)
    return [ListedRow(*row.values()) for row in rows]


# The rows that DELETE leaves: a tombstone without text, and steps that can still be settled.
_ERASE = """
WITH erased AS (
    UPDATE sessions
       SET deleted_at = $4, epoch = epoch + 1, context = '{}', metadata = '{}', name = NULL,
           state = 'ended', branch = 0, turn_count = 0, cursor = 0, unfinished_count = 0,
           active_turn_id = NULL, document = '{}', updated_at = $4
     WHERE organization_id = $1 AND id = $2 AND revision = $3 AND deleted_at IS NULL
 RETURNING organization_id, id
), runs_revoked AS (
    UPDATE runs r SET state = 'revoked', ended_at = $4
      FROM erased e
     WHERE r.organization_id = e.organization_id AND r.state = 'running'
       AND r.turn_id IN (SELECT t.id FROM turns t
                          WHERE t.organization_id = e.organization_id AND t.session_id = e.id)
), steps_redacted AS (
    UPDATE steps s SET is_redacted = true, result = NULL, request = '{}'
      FROM erased e
      JOIN turns t ON t.organization_id = e.organization_id AND t.session_id = e.id
     WHERE s.organization_id = t.organization_id AND s.turn_id = t.id
), approvals_emptied AS (
    UPDATE approvals a
       SET arguments = NULL, note = NULL,
           closed_at = CASE WHEN a.decision IS NULL THEN COALESCE(a.closed_at, $4) END
      FROM erased e
     WHERE a.organization_id = e.organization_id AND a.session_id = e.id
), import_gone AS (
    DELETE FROM session_imports i USING erased e
     WHERE i.organization_id = e.organization_id AND i.session_id = e.id
), imported_usage_gone AS (
    DELETE FROM imported_usage_entries i USING erased e
     WHERE i.organization_id = e.organization_id AND i.session_id = e.id
), interactions_gone AS (
    DELETE FROM interactions i USING erased e
     WHERE i.organization_id = e.organization_id AND i.session_id = e.id
), deltas_gone AS (
    DELETE FROM deltas d USING erased e WHERE d.organization_id = e.organization_id AND d.session_id = e.id
), events_gone AS (
    DELETE FROM events v USING erased e WHERE v.organization_id = e.organization_id AND v.session_id = e.id
), futures_gone AS (
    DELETE FROM discarded_futures f USING erased e
     WHERE f.organization_id = e.organization_id AND f.session_id = e.id
), branches_gone AS (
    DELETE FROM branches b USING erased e WHERE b.organization_id = e.organization_id AND b.session_id = e.id
), turns_gone AS (
    DELETE FROM turns t USING erased e WHERE t.organization_id = e.organization_id AND t.session_id = e.id
), answers_emptied AS (
    UPDATE idempotency_keys k SET answer = NULL, headers = NULL
      FROM erased e
     WHERE k.organization_id = e.organization_id AND k.session_id = e.id AND k.answer IS NOT NULL
)
SELECT count(*) FROM erased
"""


async def erase(
    conn: Connection, organization_id: UUID, session_id: UUID, *, revision: int, at: datetime
) -> bool:
    """Remove all text of a session in one commit; ledger, totals and a tombstone stay.

    Answers False, with nothing changed, when the session is no longer at `revision`. Keys of stored
    answers stay without their answer, so that a repeated call finds a session that is gone instead of
    making a second one.
    """
    return bool(await conn.fetchval(_ERASE, organization_id, session_id, revision, at))


def _like_prefix(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped + "%"
