"""What a run has brought so far: its steps, what they cost, where the agent stands, and the text shown."""

from collections.abc import Iterable
from uuid import UUID

from api.session.commands import Partial
from api.session.document import Reply, StepSummary, Usage
from api.session.usage import total_usage
from api.store import rows
from db import deltas, runs
from db.pool import Connection


async def partial_of(conn: Connection, organization_id: UUID, turn_id: UUID) -> Partial:
    """Read what a cancelled turn keeps. The session is locked; from here on its run can show nothing more.

    Tool calls that are under way are kept as cancelled: they may have had their effect all the same.
    """
    await runs.lock_current(conn, organization_id, turn_id)
    found = await runs.steps(conn, organization_id, turn_id)
    steps, usage = _summed(row for row in found if row.state != "started" or row.kind == "tool")
    stood = [standing for row in found if (standing := rows.standing(row)) is not None]
    shown = await deltas.shown(conn, organization_id, turn_id)
    reply = None
    if shown:
        text = "".join(row.text for row in shown)
        reply = Reply(speaker=shown[0].speaker, text=text, created_at=shown[0].started_at, truncated=True)
    return Partial(
        replies=() if reply is None else (reply,),
        steps=steps,
        usage=usage,
        node=stood[-1].node if stood else None,
        variables=stood[-1].variables if stood else None,
    )


async def steps_of(
    conn: Connection, organization_id: UUID, turn_id: UUID
) -> tuple[tuple[StepSummary, ...], Usage | None]:
    """Read the finished steps of a turn, of every run, and the sum of what they cost."""
    found = await runs.steps(conn, organization_id, turn_id)
    return _summed(row for row in found if row.state != "started")


def _summed(found: Iterable[runs.StepRow]) -> tuple[tuple[StepSummary, ...], Usage | None]:
    summaries = tuple(rows.step_summary(row) for row in found)
    return summaries, total_usage(step.usage for step in summaries if step.usage is not None)
