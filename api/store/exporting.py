"""Writing a session whole into a file, a page of it in memory at a time.

Everything is read in one transaction, so that the file shows one revision. Whoever sends it to somebody slow
writes it to disk first: the transaction is not to wait for a reader.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec

from api.session import codec, ids
from api.session.document import DiscardedFuture, Session, Turn
from api.store import rows, session_files
from api.store.base import Base, Caller, row_id
from api.store.errors import NotFound
from api.store.ledger import UsageEntry, usage_entry
from db import agents, events, exports, futures, sessions, turns, usage
from db.pool import Connection

Write = Callable[[bytes], object]
"""Takes the next piece of the file."""

_PAGE = 100
_NIL = UUID(int=0)
_NULL = b"null"
_encode = msgspec.json.encode


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What `Exporting.read_turns` tells first: the session itself."""

    session: Session
    agent_name: str


class Exporting(Base):
    """The part of the store that writes sessions out."""

    async def export(self, caller: Caller, session_id: str, write: Write) -> None:
        """Write the whole session as one JSON document, which `importing` reads.

        Raises:
            NotFound: there is no such session; nothing was written.
        """
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            await _File(conn, caller.organization_id, row, write).write_all(loaded, exported_at=self._clock())

    async def read_turns(
        self, caller: Caller, session_id: str
    ) -> AsyncIterator[Transcript | DiscardedFuture | tuple[Turn, ...]]:
        """Read the session for people: itself, its line in pages, then each future and its turns in pages.

        Raises:
            NotFound: there is no such session.
        """
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            yield Transcript(
                session=session, agent_name=(await _agent(conn, caller.organization_id, session)).name
            )
            scope = (conn, caller.organization_id, row)
            async for page in _line(*scope, branch=session.branch, line_count=session.turn_count, first=0):
                yield page
            for found in reversed(await futures.restorable(*scope, before=None, limit=None)):
                yield rows.future(found)
                async for page in _line(
                    *scope, branch=found.branch, line_count=found.line_count, first=found.branch_point
                ):
                    yield page

    async def _load(
        self, conn: Connection, caller: Caller, session_id: str
    ) -> tuple[UUID, sessions.HeaderRow]:
        row = row_id(ids.Kind.SESSION, session_id, "session")
        loaded = await sessions.load(conn, caller.organization_id, row)
        if loaded is None:
            raise NotFound("session")
        return row, loaded


class _File:
    """Writes one file."""

    def __init__(self, conn: Connection, organization_id: UUID, session_id: UUID, write: Write) -> None:
        self._scope = (conn, organization_id, session_id)
        self._write = write
        self._counts = dict.fromkeys(session_files.FileCounts.__struct_fields__, 0)

    async def write_all(self, loaded: sessions.HeaderRow, *, exported_at: Any) -> None:
        conn, organization_id, _ = self._scope
        agent = await _agent(conn, organization_id, rows.head(loaded).session)
        head: dict[str, Any] = {
            "kind": session_files.KIND,
            "format": session_files.FORMAT,
            "exported_at": exported_at,
            "organization_id": ids.to_wire(ids.Kind.ORGANIZATION, organization_id),
            "agent": {
                "id": ids.to_wire(ids.Kind.AGENT, agent.agent_id),
                "version": agent.version,
                "name": agent.name,
                "definition": msgspec.Raw(agent.definition),
            },
            "session": msgspec.Raw(loaded.document),
            "context": msgspec.Raw(loaded.context),
            "metadata": msgspec.Raw(loaded.metadata),
            "branches": rows.branches(await turns.branches(*self._scope)),
        }
        self._counts["branches"] = len(head["branches"])
        self._write(_encode(head)[:-1])
        await self._array("discarded_futures", self._futures())
        await self._array("turns", self._turns())
        await self._array("events", self._events())
        await self._array("usage_entries", self._entries())
        await self._array("imported_usage_entries", self._imported_entries())
        self._write(b',\n"counts":' + _encode(self._counts) + b"}\n")

    async def _array(self, name: str, pages: AsyncIterator[Iterable[Any]]) -> None:
        self._write(f',\n"{name}":['.encode())
        count = 0
        async for page in pages:
            lines = [_encode(item) for item in page]
            if lines:
                self._write((b",\n" if count else b"\n") + b",\n".join(lines))
            count += len(lines)
        self._write(b"]")
        self._counts[name] = count

    async def _futures(self) -> AsyncIterator[Iterable[Any]]:
        after = 0
        while page := await exports.futures(*self._scope, after=after, limit=_PAGE):
            after = page[-1].ordinal
            yield [
                session_files.FileFuture(
                    **future._asdict() | {"discarded_by": rows.actor(future.discarded_by)}
                )
                for future in page
            ]

    async def _turns(self) -> AsyncIterator[Iterable[Any]]:
        conn, organization_id, _ = self._scope
        branch, position = 0, -1
        while page := await exports.turns(*self._scope, branch=branch, position=position, limit=_PAGE):
            branch, position = page[-1].branch, page[-1].position
            steps: dict[UUID, list[session_files.FileStep]] = {}
            for step in await exports.steps(conn, organization_id, [turn.id for turn in page]):
                steps.setdefault(step.turn_id, []).append(_step(step))
                self._counts["steps"] += 1
            yield [
                session_files.FileTurn(turn=msgspec.Raw(turn.body), steps=tuple(steps.get(turn.id, ())))
                for turn in page
            ]

    async def _events(self) -> AsyncIterator[Iterable[Any]]:
        after = 0
        while page := await events.after(*self._scope, revision=after, limit=_PAGE):
            after = page[-1].revision
            yield [rows.event(event) for event in page]

    async def _entries(self) -> AsyncIterator[Iterable[Any]]:
        turn_id, after = _NIL, 0
        while page := await usage.entries_of_session(*self._scope, turn_id=turn_id, after=after, limit=_PAGE):
            turn_id, after = page[-1].turn_id, page[-1].seq
            yield [_in_digits(usage_entry(entry)) for entry in page]

    async def _imported_entries(self) -> AsyncIterator[Iterable[Any]]:
        seq, entry_id = 0, _NIL
        while page := await exports.imported_entries(*self._scope, seq=seq, entry_id=entry_id, limit=_PAGE):
            seq, entry_id = page[-1].seq, page[-1].id
            yield [msgspec.Raw(entry.entry) for entry in page]


async def _agent(conn: Connection, organization_id: UUID, session: Session) -> agents.VersionRow:
    row = row_id(ids.Kind.AGENT, session.agent.id, "agent")
    found = await agents.version(conn, organization_id, row, session.agent.version)
    assert found is not None, "a session's agent version is never removed"
    return found


def _in_digits(entry: UsageEntry) -> dict[str, Any]:
    """Write the cost as plain digits, never with an exponent."""
    fields = {name: getattr(entry, name) for name in UsageEntry.__struct_fields__}
    return fields | {"cost": None if entry.cost is None else format(entry.cost, "f")}


async def _line(
    conn: Connection, organization_id: UUID, session_id: UUID, *, branch: int, line_count: int, first: int
) -> AsyncIterator[tuple[Turn, ...]]:
    for start in range(first, line_count, _PAGE):
        bodies = await turns.on_line(
            conn,
            organization_id,
            session_id,
            branch=branch,
            line_count=line_count,
            first=start,
            end=min(line_count, start + _PAGE),
        )
        yield tuple(codec.decode_turn(body) for body in bodies)


def _step(row: exports.StepRow) -> session_files.FileStep:
    return session_files.FileStep(
        id=ids.to_wire(ids.Kind.STEP, row.id),
        run_id=ids.to_wire(ids.Kind.RUN, row.run_id),
        attempt=row.attempt,
        kind=row.kind,  # type: ignore[arg-type]  # the table's CHECK says the same
        purpose=row.purpose,
        speaker=row.speaker,
        provider=row.provider,
        model=row.model,
        started_at=row.started_at,
        request=msgspec.Raw(row.request),
        state=row.state,  # type: ignore[arg-type]
        ended_at=row.ended_at,
        result=msgspec.Raw(row.result or _NULL),
    )
