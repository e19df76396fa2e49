"""What a run has brought so far: its finished steps, what they cost, and the text that was shown."""

from uuid import UUID

from api.session.commands import Partial
from api.session.document import Reply, StepSummary, Usage
from api.session.usage import total_usage
from api.store import rows
from db import deltas, runs
from db.pool import Connection


async def partial_of(conn: Connection, organization_id: UUID, turn_id: UUID) -> Partial:
    """Read what a cancelled turn keeps. The session is locked; from here on its run can show nothing more."""
    await runs.lock_current(conn, organization_id, turn_id)
    steps, usage = await steps_of(conn, organization_id, turn_id)
    shown = await deltas.shown(conn, organization_id, turn_id)
    if shown is None:
        return Partial(steps=steps, usage=usage)
    reply = Reply(speaker=shown.speaker, text=shown.text, created_at=shown.started_at, truncated=True)
    return Partial(replies=(reply,), steps=steps, usage=usage)


async def steps_of(
    conn: Connection, organization_id: UUID, turn_id: UUID
) -> tuple[tuple[StepSummary, ...], Usage | None]:
    """Read the finished steps of a turn, of every run, and the sum of what they cost."""
    found = await runs.steps(conn, organization_id, turn_id)
    summaries = tuple(rows.step_summary(row) for row in found if row.state != "started")
    return summaries, total_usage(step.usage for step in summaries if step.usage is not None)
