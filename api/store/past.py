"""What stood when a model call was made, read from what is there now."""

from uuid import UUID

import msgspec

from api.agents.definition import Definition
from api.models.base import ToolSpec
from api.prompt import again, progress
from api.prompt.again import Past, Reference
from api.prompt.progress import Recorded
from api.session import codec, ids
from api.session.document import Session, Turn
from api.store import rows
from api.store.base import PAGE_TURNS_MAX
from api.store.errors import NotFound
from api.store.lines import LineReader
from db import agents, interactions, runs, sessions, turns
from db.pool import Connection


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """A model step with all that its prompt was made of."""

    reference: Reference
    past: Past
    step: runs.StepRow
    turn_steps: tuple[runs.StepRow, ...]
    """Every step of the turn, in the order of their start."""


async def trace(
    conn: Connection, organization_id: UUID, *, session: UUID, turn: UUID, step: UUID
) -> Traced | None:
    """Read what a model step was made of; in one snapshot, so that nothing is deleted in between.

    None when the step is kept no longer.

    Raises:
        NotFound: there is no such session or turn (any more).
    """
    loaded = await sessions.load(conn, organization_id, session)
    body = await turns.by_id(conn, organization_id, session, turn)
    found = await runs.steps(conn, organization_id, turn)
    own = next((row for row in found if row.id == step), None)
    if loaded is None or body is None:
        raise NotFound("interaction")
    if own is None:
        return None
    header = rows.head(loaded).session
    current = codec.decode_turn(body)
    reference = msgspec.json.decode(own.request, type=Reference)
    reader = LineReader(conn, organization_id, session, header)
    # The turn's own line, up to it: where it lies now does not matter.
    node, variables = await reader.standing(
        end=current.position, branch=current.branch, line_count=current.position + 1
    )
    by_id = {ids.to_wire(ids.Kind.STEP, row.id): row for row in found}
    past = Past(
        definition=await _definition(conn, organization_id, header),
        turn=current,
        earlier=await _earlier(conn, organization_id, session, current, reference),
        context=msgspec.json.decode(loaded.context),
        node=node,
        variables=variables,
        steps=tuple(_recorded(by_id[each]) for each in reference.step_ids if each in by_id),
        tools=await _tools(conn, organization_id, reference),
    )
    return Traced(reference=reference, past=past, step=own, turn_steps=tuple(found))


async def _definition(conn: Connection, organization_id: UUID, session: Session) -> Definition:
    agent = ids.from_wire(ids.Kind.AGENT, session.agent.id)
    assert agent is not None, session.agent.id
    version = await agents.version(conn, organization_id, agent, session.agent.version)
    assert version is not None, "versions are never removed"
    return msgspec.json.decode(version.definition, type=Definition)


async def _earlier(
    conn: Connection, organization_id: UUID, session: UUID, current: Turn, reference: Reference
) -> tuple[Turn, ...]:
    """The turns before the current one on its line, newest first, down to the oldest that was shown."""
    if reference.first_turn_id == current.id:
        return ()
    taken: list[Turn] = []
    end = current.position
    while end > 0:
        first = max(0, end - PAGE_TURNS_MAX)
        bodies = await turns.on_line(
            conn,
            organization_id,
            session,
            branch=current.branch,
            line_count=current.position + 1,
            first=first,
            end=end,
        )
        for body in reversed(bodies):
            taken.append(codec.decode_turn(body))
            if taken[-1].id == reference.first_turn_id:
                return tuple(taken)
        end = first
    return tuple(taken)


async def _tools(
    conn: Connection, organization_id: UUID, reference: Reference
) -> tuple[ToolSpec, ...] | None:
    if reference.tools is None:
        return ()
    part = await interactions.part(conn, organization_id, reference.tools.sha256)
    return None if part is None else again.read_tools(part)


def _recorded(row: runs.StepRow) -> Recorded:
    return progress.recorded(
        ids.to_wire(ids.Kind.STEP, row.id),
        kind=row.kind,
        purpose=row.purpose,
        state=row.state,
        request=row.request,
        result=row.result,
    )
