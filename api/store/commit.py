"""How a command is carried out: load -> command -> one transaction, under the caller's revision.

Without a run to take the turn from, a command reads the header, decides, and swaps the revision in one
statement. A command that may cancel a running turn first locks the session and its run, so that the text
it keeps is all the text that was shown.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from api.events import Notice
from api.session import ids
from api.session.commands import Partial
from api.session.conflicts import advise
from api.session.document import Change, Creation, Head, Turn
from api.store import rows
from api.store.base import (
    CHANGES_MAX,
    PAGE_TURNS_MAX,
    BudgetState,
    Caller,
    Delta,
    Done,
    Idempotency,
    Reading,
    Render,
    Replay,
    row_id,
)
from api.store.budgets import Budgets
from api.store.errors import NotFound, RequestInFlight, RevisionConflict
from api.store.lines import LineReader
from api.store.partial import partial_of
from api.store.replaying import Replaying
from api.store.swapping import Beside, swap
from db import commits, events, futures, sessions
from db.pool import Connection, retry_serialization


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A session as a command of the store finds it."""

    conn: Connection
    caller: Caller
    id: UUID
    head: Head
    context: bytes
    metadata: bytes
    partial: Partial | None
    """What the run of the active turn has brought so far; None when no run is to be taken from its turn."""

    @property
    def reader(self) -> LineReader:
        """Reads the line as it was found."""
        return LineReader(self.conn, self.caller.organization_id, self.id, self.head.session)


Prepare = Callable[[Found], Awaitable[Change]]

_Result = TypeVar("_Result")


class Committing(Replaying):
    """The part of the store that commits; the commands themselves are in `Sessions`."""

    def __init__(self, *args: Any, budgets: Budgets, **options: Any) -> None:
        super().__init__(*args, **options)
        self._budgets = budgets

    async def _change(
        self,
        caller: Caller,
        session_id: str,
        prepare: Prepare,
        *,
        expected: int | None,
        revokes: bool = False,
        judges_header: bool = False,
        idempotency: Idempotency | None = None,
        render: Render | None = None,
        turn_id: str | None = None,
        is_whole: bool = False,
        beside: Beside | None = None,
    ) -> Done | Replay:
        """Carry a command out at `expected`, or at whatever revision is found for None.

        With `render` its answer is kept under the idempotency key, with `turn_id` the turn that it makes.
        `judges_header` says that it changes what is beside the line, for the advice after a conflict.
        `revokes` says that it may take a running turn from its runner, `is_whole` that the caller wants the
        whole document as the command leaves it. `beside` is written in the same transaction.
        """

        async def attempt() -> Done | Replay:
            async with self._pool.acquire() as conn:
                if expected is None:
                    return await locked(conn)
                found = await self._find(conn, caller, session_id)
                if revokes and found.head.session.active_turn_id is not None:
                    return await locked(conn)
                return await carry_out(found)

        async def locked(conn: Connection) -> Done | Replay:
            async with conn.transaction():
                return await carry_out(await self._find(conn, caller, session_id, is_locking=True))

        async def carry_out(found: Found) -> Done | Replay:
            conn = found.conn
            replay = await self._replay(conn, caller, idempotency)
            if replay is not None:
                return replay
            if expected is not None:
                # Staleness is told before refusal: a stale caller judged a document that they never saw.
                await self._require_revision(conn, found, expected, judges_header=judges_header)
            change = await prepare(found)
            near = () if change.created is None else await self._budgets.admit(conn, caller)
            delta = await self._delta(found, change)
            if is_whole:
                document = await self._document(found, change, delta)
                delta = msgspec.structs.replace(delta, document=document)
            answer = None if idempotency is None or render is None else render(delta)
            key = None
            if idempotency is not None:
                key = rows.key_row(
                    idempotency,
                    change.event.at,
                    answer=answer,
                    turn_id=turn_id,
                    base=found.head.session.revision,
                )
            is_committed = await swap(
                conn,
                caller.organization_id,
                found.id,
                change,
                expected_epoch=None,
                key=key,
                beside=beside,
            )
            if is_committed:
                return Done(delta=delta, answer=answer, turn_id=turn_id, near_budgets=near)
            # Somebody else was first: a twin of this call, or another command.
            replay = await self._replay(conn, caller, idempotency)
            if replay is not None:
                return replay
            raise await self._conflict(
                conn,
                caller,
                found.id,
                expected=found.head.session.revision,
                judges_header=judges_header,
            )

        try:
            done = await self._retried(attempt)
        except asyncpg.UniqueViolationError as error:
            return await self._first_answer(caller, idempotency, error)
        if isinstance(done, Done):
            row = row_id(ids.Kind.SESSION, session_id, "session")
            is_claimable = done.delta.session.active_turn_id is not None
            self._hub.tell(Notice(session_id=row, is_claimable=is_claimable))
        return done

    async def _create(
        self, caller: Caller, made: Creation, *, idempotency: Idempotency | None, render: Render
    ) -> Done | Replay:
        session = made.session
        delta = Delta(
            session=session,
            context=msgspec.Raw(msgspec.json.encode(made.context)),
            metadata=msgspec.Raw(msgspec.json.encode(made.metadata)),
            line_from=0 if made.turns else None,
            turns=made.turns[:PAGE_TURNS_MAX],
            more=len(made.turns) > PAGE_TURNS_MAX,
            document=Reading(
                session=session,
                context=msgspec.Raw(msgspec.json.encode(made.context)),
                metadata=msgspec.Raw(msgspec.json.encode(made.metadata)),
                turns=made.turns[-PAGE_TURNS_MAX:],
                discarded_futures=(),
                is_complete=len(made.turns) <= PAGE_TURNS_MAX,
            ),
        )
        answer = render(delta)
        row = row_id(ids.Kind.SESSION, session.id, "session")

        async def attempt() -> Done | Replay:
            async with self._pool.acquire() as conn:
                replay = await self._replay(conn, caller, idempotency)
                if replay is not None:
                    return replay
                near: tuple[BudgetState, ...] = ()
                if session.active_turn_id is not None:
                    near = await self._budgets.admit(conn, caller)
                await commits.create(
                    conn,
                    caller.organization_id,
                    row,
                    agent_id=row_id(ids.Kind.AGENT, session.agent.id, "agent"),
                    agent_version=session.agent.version,
                    revision=session.revision,
                    context=bytes(delta.context),
                    metadata=bytes(delta.metadata),
                    header=rows.header(session),
                    turns=[(rows.created_turn(turn), turn.revision) for turn in made.turns],
                    events=[rows.event_row(event) for event in made.events],
                    key=None
                    if idempotency is None
                    else rows.key_row(
                        idempotency, session.created_at, answer=answer, turn_id=None, base=None
                    ),
                )
            return Done(delta=delta, answer=answer, near_budgets=near)

        try:
            done = await self._retried(attempt)
        except asyncpg.UniqueViolationError as error:
            return await self._first_answer(caller, idempotency, error)
        self._hub.tell(Notice(session_id=row, is_claimable=session.active_turn_id is not None))
        return done

    async def _retried(self, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        try:
            return await retry_serialization(attempt)
        except asyncpg.LockNotAvailableError:
            raise RequestInFlight from None

    async def _find(
        self, conn: Connection, caller: Caller, session_id: str, *, is_locking: bool = False
    ) -> Found:
        """Load a session; locking, also hold its row and its run, and read what the run has shown."""
        row = row_id(ids.Kind.SESSION, session_id, "session")
        if is_locking:
            await sessions.lock(conn, caller.organization_id, row)
        loaded = await sessions.load(conn, caller.organization_id, row)
        if loaded is None:
            raise NotFound("session")
        head = rows.head(loaded)
        partial = None
        if is_locking and head.session.active_turn_id is not None:
            turn = rows.turn_uuid(head.session.active_turn_id)
            partial = await partial_of(conn, caller.organization_id, turn)
        return Found(
            conn=conn,
            caller=caller,
            id=row,
            head=head,
            context=loaded.context,
            metadata=loaded.metadata,
            partial=partial,
        )

    async def _require_revision(
        self, conn: Connection, found: Found, expected: int, *, judges_header: bool = False
    ) -> None:
        if found.head.session.revision != expected:
            raise await self._conflict(
                conn, found.caller, found.id, expected=expected, judges_header=judges_header
            )

    async def _conflict(
        self, conn: Connection, caller: Caller, session_id: UUID, *, expected: int, judges_header: bool
    ) -> RevisionConflict | NotFound:
        # Read in a statement of its own: the one that failed saw an older snapshot.
        loaded = await sessions.load(conn, caller.organization_id, session_id)
        if loaded is None:
            return NotFound("session")
        session = rows.head(loaded).session
        since = await events.after(
            conn, caller.organization_id, session_id, revision=expected, limit=CHANGES_MAX + 1
        )
        # What was committed between the two reads is behind the revision that we tell.
        told = tuple(rows.event(row) for row in since if row.revision <= session.revision)
        # Some of them may be kept no longer.
        is_whole = 0 < len(told) == session.revision - expected <= CHANGES_MAX
        return RevisionConflict(
            session_id=session.id,
            expected=expected,
            actual=session.revision,
            changes=told[:CHANGES_MAX],
            advice=advise(session.state, told, judges_header=judges_header, is_whole=is_whole),
        )

    async def _delta(self, found: Found, change: Change) -> Delta:
        """What the change answers: the new header, and the line from the lowest position that it touched."""
        session, first = change.session, change.event.line_from
        told: tuple[Turn, ...] = ()
        more = False
        if first is not None:
            end = min(session.turn_count, first + PAGE_TURNS_MAX)
            more = end < session.turn_count
            told = await self._touched(found, change, first=first, end=end)
        metadata = found.metadata if change.metadata is None else msgspec.json.encode(change.metadata)
        return Delta(
            session=session,
            context=msgspec.Raw(found.context),
            metadata=msgspec.Raw(metadata),
            line_from=first,
            turns=told,
            more=more,
        )

    async def _touched(self, found: Found, change: Change, *, first: int, end: int) -> tuple[Turn, ...]:
        """Turns on the line that the change leaves, at positions that it touched."""
        # Of the turns that a change writes, those that it displaces are on the line no longer.
        displaced_from = change.session.turn_count
        if change.discarded is not None:
            displaced_from = change.discarded.branch_point
        written = {turn.position: turn for turn in change.changed if turn.position < displaced_from}
        if change.created is not None:
            written[change.created.position] = change.created
        told: tuple[Turn, ...] = ()
        if any(position not in written for position in range(first, end)):
            # A branch that the change opens is not stored yet, and all below it is on the line as found.
            session = change.session if change.opened is None else found.head.session
            told = await LineReader(found.conn, found.caller.organization_id, found.id, session).turns(
                first=first, end=end
            )
        known = {turn.position: turn for turn in told} | written
        return tuple(known[position] for position in range(first, end))

    async def _document(self, found: Found, change: Change, delta: Delta) -> Reading:
        """The document that the change leaves. Nobody can come between: the swap is still to be made."""
        session = change.session
        first = max(0, session.turn_count - PAGE_TURNS_MAX)
        touched = session.turn_count if delta.line_from is None else max(first, delta.line_from)
        told = await found.reader.turns(first=first, end=touched)
        if touched < session.turn_count:
            told += await self._touched(found, change, first=touched, end=session.turn_count)
        before = await futures.restorable(
            found.conn, found.caller.organization_id, found.id, before=None, limit=PAGE_TURNS_MAX + 2
        )
        restorable = {row.ordinal: rows.future(row) for row in before}
        restorable |= {future.ordinal: future for future in change.trimmed}
        restorable.pop(change.restored or 0, None)
        if change.discarded is not None:
            restorable[change.discarded.ordinal] = change.discarded
        newest = sorted(restorable)[-PAGE_TURNS_MAX:]
        return Reading(
            session=session,
            context=delta.context,
            metadata=delta.metadata,
            turns=told,
            discarded_futures=tuple(restorable[ordinal] for ordinal in newest),
            is_complete=first == 0 and len(newest) == len(restorable),
        )
