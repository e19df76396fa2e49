"""Bringing a session in from a file: all or nothing, in one transaction, lawful before a row is written.

Ids stay as they are. Turns that were not finished are cancelled before anybody can see them: they may go on
where the file comes from. What the session had cost there is kept beside the ledger, and never billed again.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from api.agents.definition import Definition, digest
from api.events import Notice
from api.session import commands, ids
from api.session.document import AgentRef, Turn
from api.store import rows, session_reading
from api.store.base import Caller, Idempotency, Replay, StoredAnswer, row_id
from api.store.errors import AgentDiffers, AlreadyHere, NotFound
from api.store.partial import partial_of
from api.store.replaying import Replaying
from api.store.session_files import FileStep, SessionFile
from api.store.session_reading import ReadEntry, ReadSession
from api.store.swapping import approval_uuid, swap
from db import agents, exports, imports, sessions, turns
from db.pool import Connection

_T = TypeVar("_T")
_PAGE = 500
_TAKEN = {"sessions": "session", "turns": "turn", "steps": "step", "approvals": "approval"}
_encode = msgspec.json.encode


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What an import has brought."""

    session_id: str
    revision: int
    """Higher than in the file when turns were cancelled."""
    agent: AgentRef
    """With whom the session goes on."""
    is_agent_new: bool
    """The agent's version was brought along."""
    turn_count: int
    """All turns ever created, on the line or not."""
    cancelled_turn_count: int
    """Turns that were not finished, and are cancelled now."""
    step_count: int
    usage_entry_count: int
    """Entries of the ledger that it comes from; shown, and not billed again."""


class Importing(Replaying):
    """The part of the store that brings sessions in."""

    async def import_session(
        self,
        caller: Caller,
        file: SessionFile,
        *,
        idempotency: Idempotency | None,
        render: Callable[[Imported], StoredAnswer],
    ) -> StoredAnswer | Replay:
        """Write the session of a file into the caller's organization.

        Raises:
            FileRefused: the file holds no session as it can be.
            AlreadyHere: something of the same id is here, or was deleted here.
            AgentDiffers: the file's agent is another one here; choose one by `as_agent`.
            NotFound: there is no such agent version as `as_agent` names.
        """
        read = await asyncio.to_thread(session_reading.read, file)
        now = self._clock()

        async def write(conn: Connection) -> StoredAnswer:
            return render(await self._write(conn, caller, file, read, now=now))

        try:
            answer = await self._write_once(
                caller, write, idempotency=idempotency, at=now, session_id=read.row
            )
        except asyncpg.UniqueViolationError as error:
            # Of a table in partitions the partition is named: `steps_first`.
            what = _TAKEN.get((error.table_name or "").partition("_")[0])
            if what is None:
                raise
            raise AlreadyHere(what, read.document.session.id if what == "session" else None) from error
        if isinstance(answer, StoredAnswer):
            self._hub.tell(Notice(session_id=read.row, is_claimable=False))
        return answer

    async def _write(
        self, conn: Connection, caller: Caller, file: SessionFile, read: ReadSession, *, now: datetime
    ) -> Imported:
        by = _encode(caller.actor)
        agent, is_agent_new = await self._agent(conn, caller, file, read.definition, now=now)
        session = msgspec.structs.replace(read.document.session, agent=agent)
        scope = (conn, caller.organization_id, read.row)
        await imports.session(
            *scope,
            agent_id=row_id(ids.Kind.AGENT, agent.id, "agent"),
            agent_version=agent.version,
            created_at=session.created_at,
            context=_encode(read.document.context),
            metadata=_encode(read.document.metadata),
            revision=session.revision,
            header=rows.header(session),
        )
        origin = {name: getattr(file.agent, name) for name in ("id", "version", "name")}
        await imports.origin(
            *scope,
            imported_at=now,
            imported_by=by,
            exported_at=file.exported_at,
            organization=file.organization_id,
            agent=_encode(origin),
        )
        branches = [turns.BranchRow(b.number, b.parent, b.branch_point) for b in read.document.branches]
        await imports.branches(*scope, branches)
        futures = [
            exports.FutureRow(
                **msgspec.structs.asdict(future) | {"discarded_by": _encode(future.discarded_by)}
            )
            for future in read.futures
        ]
        await imports.futures(*scope, futures)
        for page in _pages(list(read.turns)):
            await imports.turns(*scope, [(rows.created_turn(turn), turn.revision) for turn in page])
            await imports.approvals(*scope, [row for turn in page for row in _approvals(turn)])
        for steps in _pages(read.steps):
            await imports.steps(*scope, [_step(turn_id, step, now=now) for turn_id, step in steps])
        for events in _pages(read.events):
            await imports.events(*scope, [rows.event_row(event) for event in events])
        for entries in _pages(read.entries):
            await imports.entries(*scope, [_entry(entry) for entry in entries])
        cancelled_count = await self._cancel_unfinished(*scope, caller, now=now)
        return Imported(
            session_id=session.id,
            revision=session.revision + cancelled_count,
            agent=agent,
            is_agent_new=is_agent_new,
            turn_count=sum(1 for _ in read.turns),
            cancelled_turn_count=cancelled_count,
            step_count=len(read.steps),
            usage_entry_count=len(read.entries),
        )

    async def _agent(
        self,
        conn: Connection,
        caller: Caller,
        file: SessionFile,
        definition: Definition,
        *,
        now: datetime,
    ) -> tuple[AgentRef, bool]:
        """Find the agent version that the session goes on with, or bring it along; says which it was."""
        chosen = file.as_agent
        wanted = AgentRef(id=file.agent.id, version=file.agent.version)
        if chosen is not None:
            wanted = AgentRef(id=chosen.id, version=chosen.version)
        row = row_id(ids.Kind.AGENT, wanted.id, "agent")
        found = await agents.version(conn, caller.organization_id, row, wanted.version)
        if chosen is not None:
            if found is None:
                raise NotFound("agent version")
            return wanted, False
        if found is not None:
            here = msgspec.json.decode(found.definition, type=Definition)
            if digest(here) != digest(definition):
                raise AgentDiffers(agent_id=wanted.id, version=wanted.version)
            return wanted, False
        await imports.agent_version(
            conn,
            caller.organization_id,
            row,
            name=file.agent.name,
            version=wanted.version,
            definition=_encode(definition),
            at=now,
            by=_encode(caller.actor),
        )
        return wanted, True

    async def _cancel_unfinished(
        self, conn: Connection, organization_id: UUID, session_id: UUID, caller: Caller, *, now: datetime
    ) -> int:
        """Cancel what had not ended, the last of the queue first; answers how many turns."""
        count = 0
        while True:
            loaded = await sessions.load(conn, organization_id, session_id)
            assert loaded is not None, "it was written in this transaction"
            head = rows.head(loaded)
            if not head.unfinished:
                return count
            turn = head.unfinished[-1]
            is_active = turn.id == head.session.active_turn_id
            partial = await partial_of(conn, organization_id, rows.turn_uuid(turn.id)) if is_active else None
            change = commands.cancel(head, turn=turn, now=now, actor=caller.actor, partial=partial)
            is_committed = await swap(
                conn, organization_id, session_id, change, expected_epoch=None, key=None
            )
            assert is_committed, "nobody else sees the session yet"
            count += 1


def _pages(items: Sequence[_T]) -> Iterator[list[_T]]:
    rest = iter(items)
    while page := list(islice(rest, _PAGE)):
        yield page


def _step(turn_id: UUID, step: FileStep, *, now: datetime) -> exports.StepRow:
    """A step as it is written. Nobody here will tell how an open one ends."""
    is_open = step.state == "started"
    step_id, run_id = ids.from_wire(ids.Kind.STEP, step.id), ids.from_wire(ids.Kind.RUN, step.run_id)
    assert step_id is not None
    assert run_id is not None
    return exports.StepRow(
        id=step_id,
        turn_id=turn_id,
        run_id=run_id,
        attempt=step.attempt,
        kind=step.kind,
        purpose=step.purpose,
        speaker=step.speaker,
        provider=step.provider,
        model=step.model,
        started_at=step.started_at,
        request=bytes(step.request),
        state="cancelled" if is_open else step.state,
        ended_at=now if is_open else step.ended_at,
        result=None if bytes(step.result) == b"null" else bytes(step.result),
    )


def _approvals(turn: Turn) -> Iterator[imports.ApprovalRow]:
    for approval in turn.approvals:
        step_id = ids.from_wire(ids.Kind.STEP, approval.step_id)
        assert step_id is not None
        is_decided = approval.decision is not None
        yield imports.ApprovalRow(
            turn_id=rows.turn_uuid(turn.id),
            id=approval_uuid(approval.id),
            step_id=step_id,
            tool=approval.tool,
            arguments=_encode(approval.arguments),
            arguments_digest=approval.arguments_digest,
            effect=approval.effect,
            reason=approval.reason.value,
            requested_at=approval.requested_at,
            expires_at=approval.expires_at,
            decision=None if approval.decision is None else approval.decision.value,
            decided_at=approval.decided_at,
            decided_by=None if approval.decided_by is None else _encode(approval.decided_by),
            note=approval.note,
            has_expired=approval.has_expired,
            closed_at=None if is_decided else turn.finished_at,
        )


def _entry(read: ReadEntry) -> imports.EntryRow:
    entry = read.entry
    entry_id, turn_id = ids.from_wire(ids.Kind.USAGE, entry.id), ids.from_wire(ids.Kind.TURN, entry.turn_id)
    step_id = ids.from_wire(ids.Kind.STEP, entry.step_id)
    assert entry_id is not None
    assert turn_id is not None
    assert step_id is not None
    corrects_id = None if entry.corrects_id is None else ids.from_wire(ids.Kind.USAGE, entry.corrects_id)
    return imports.EntryRow(
        id=entry_id,
        seq=entry.seq,
        turn_id=turn_id,
        step_id=step_id,
        corrects_id=corrects_id,
        input_tokens=entry.input_tokens,
        cached_tokens=entry.cached_tokens,
        cache_write_tokens=entry.cache_write_tokens,
        output_tokens=entry.output_tokens,
        reasoning_tokens=entry.reasoning_tokens,
        cost=entry.cost,
        entry=read.whole,
    )
