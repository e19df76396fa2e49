"""Reading sessions: the document, what changed since a revision, pages, previews, usage."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.session import codec, ids
from api.session.document import DiscardedFuture, Event, Session, StepSummary, Turn, Usage
from api.session.errors import UnknownFuture
from api.session.line import common_prefix, line_of
from api.store import rows
from api.store.base import PAGE_TURNS_MAX, Base, Caller, Delta, Reading, row_id
from api.store.errors import NotFound
from api.store.ledger import UsageEntry, usage_entry
from api.store.lines import LineReader
from db import events, futures, sessions, turns, usage
from db.pool import Connection


class TurnsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Turns of one line, by position."""

    revision: int
    turns: tuple[Turn, ...]
    end: int
    """The position behind the last turn of the line, or of the future."""


class FuturesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Futures that can be restored, newest first."""

    futures: tuple[DiscardedFuture, ...]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a command would put into a discarded future; true for `revision` only."""

    revision: int
    branch_point: int
    cursor: int
    """Turns in effect afterwards."""
    cancelled_turn_id: str | None
    """The active turn, which would be cancelled; None when there is none."""
    turns: tuple[Turn, ...]
    """The first of the turns, at most PAGE_TURNS_MAX."""
    turn_count: int
    reply_count: int
    tool_calls: tuple[StepSummary, ...]
    """Tool calls in those turns that were not only reading."""
    usage: Usage
    """What the turns have cost, from the ledger."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an organization's ledger, and the sums of all of it."""

    last_seq: int
    call_count: int
    usage: Usage


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of an organization's ledger."""

    entries: tuple[UsageEntry, ...]
    head: int
    """The number of the newest entry."""
    archived_through: int
    """Up to here entries may have left; behind it the numbers are dense. 0 when none has left."""


class Readings(Base):
    """The part of the store that only reads."""

    async def revision(self, caller: Caller, session_id: str) -> int:
        """The session's revision now; the cheapest way to find that nothing changed."""
        row = row_id(ids.Kind.SESSION, session_id, "session")
        async with self._pool.acquire() as conn:
            revision = await sessions.revision(conn, caller.organization_id, row)
        if revision is None:
            raise NotFound("session")
        return revision

    async def document(self, caller: Caller, session_id: str, *, last_turns: int = PAGE_TURNS_MAX) -> Reading:
        """Read the header, the newest turns and the newest futures, all as of one revision."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            first = max(0, session.turn_count - last_turns)
            told = await LineReader(conn, caller.organization_id, row, session).turns(
                first=first, end=session.turn_count
            )
            restorable = await futures.restorable(
                conn, caller.organization_id, row, before=None, limit=PAGE_TURNS_MAX + 1
            )
        newest = restorable[:PAGE_TURNS_MAX]
        return Reading(
            session=session,
            context=msgspec.Raw(loaded.context),
            metadata=msgspec.Raw(loaded.metadata),
            turns=told,
            discarded_futures=tuple(rows.future(future) for future in reversed(newest)),
            is_complete=first == 0 and len(newest) == len(restorable),
        )

    async def since(self, caller: Caller, session_id: str, revision: int) -> Delta:
        """Read what changed behind a revision: the header, and the line from the lowest position touched.

        A revision that the session has not reached yet is treated as the present one.
        """
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            first = await events.line_from(
                conn, caller.organization_id, row, revision=revision, until=session.revision
            )
            told: tuple[Turn, ...] = ()
            if first is not None:
                end = min(session.turn_count, first + PAGE_TURNS_MAX)
                told = await LineReader(conn, caller.organization_id, row, session).turns(
                    first=first, end=end
                )
        return Delta(
            session=session,
            context=msgspec.Raw(loaded.context),
            metadata=msgspec.Raw(loaded.metadata),
            line_from=first,
            turns=told,
            more=first is not None and first + len(told) < session.turn_count,
        )

    async def turns_page(self, caller: Caller, session_id: str, *, first: int, limit: int) -> TurnsPage:
        """Read a page of the line, from position `first` on."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            end = min(session.turn_count, first + limit)
            told = await LineReader(conn, caller.organization_id, row, session).turns(first=first, end=end)
        return TurnsPage(revision=session.revision, turns=told, end=session.turn_count)

    async def turn(self, caller: Caller, session_id: str, turn_id: str) -> Turn:
        """Read one turn of the session, on the line or in a discarded future."""
        session_row = row_id(ids.Kind.SESSION, session_id, "session")
        async with self._pool.acquire() as conn:
            if await sessions.revision(conn, caller.organization_id, session_row) is None:
                raise NotFound("session")
            turn_row = row_id(ids.Kind.TURN, turn_id, "turn")
            body = await turns.by_id(conn, caller.organization_id, session_row, turn_row)
        if body is None:
            raise NotFound("turn")
        return codec.decode_turn(body)

    async def turn_in_place(
        self, caller: Caller, session_id: str, turn_id: str
    ) -> tuple[Turn, str, dict[str, Any]]:
        """Read one turn, on the line or not, with the agent's node and variables before it."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            reader = LineReader(conn, caller.organization_id, row, rows.head(loaded).session)
            turn = await reader.turn(turn_id)
            # Any line that a turn lies on has the same turns before it; the shortest ends with the turn.
            node, variables = await reader.standing(
                end=turn.position, branch=turn.branch, line_count=turn.position + 1
            )
        return turn, node, variables

    async def discarded_futures(
        self, caller: Caller, session_id: str, *, before: int | None, limit: int
    ) -> FuturesPage:
        """Read futures that can be restored, newest first, of ordinals below `before` if given."""
        async with self._pool.acquire() as conn:
            row, _ = await self._load(conn, caller, session_id)
            found = await futures.restorable(conn, caller.organization_id, row, before=before, limit=limit)
        return FuturesPage(futures=tuple(rows.future(future) for future in found))

    async def future_turns(
        self, caller: Caller, session_id: str, ordinal: int, *, first: int, limit: int
    ) -> TurnsPage:
        """Read a page of the turns that a discarded future keeps, from position `first` on."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            found = await futures.by_ordinal(conn, caller.organization_id, row, ordinal)
            if found is None:
                raise NotFound("discarded future")
            first = max(first, found.branch_point)
            bodies = await turns.on_line(
                conn,
                caller.organization_id,
                row,
                branch=found.branch,
                line_count=found.line_count,
                first=first,
                end=min(found.line_count, first + limit),
            )
        return TurnsPage(
            revision=loaded.revision,
            turns=tuple(codec.decode_turn(body) for body in bodies),
            end=found.line_count,
        )

    async def events_after(
        self, caller: Caller, session_id: str, *, after: int, limit: int
    ) -> tuple[int, tuple[Event, ...]]:
        """Read the session's revision and the events behind revision `after`, in order."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            found = await events.after(conn, caller.organization_id, row, revision=after, limit=limit)
        return loaded.revision, tuple(rows.event(event) for event in found)

    async def list_sessions(
        self,
        caller: Caller,
        *,
        before: UUID | None,
        state: str | None,
        agent_id: str | None,
        active_since: datetime | None,
        query: str | None,
        limit: int,
    ) -> list[tuple[UUID, Session, msgspec.Raw]]:
        """List sessions and their metadata, newest created first. `query` is an id or a name's prefix."""
        wanted = None if query is None else ids.from_wire(ids.Kind.SESSION, query)
        agent = None if agent_id is None else ids.from_wire(ids.Kind.AGENT, agent_id)
        if agent_id is not None and agent is None:
            return []
        async with self._pool.acquire() as conn, conn.transaction(readonly=True):
            found = await sessions.listed(
                conn,
                caller.organization_id,
                before=before,
                state=state,
                agent_id=agent,
                active_since=active_since,
                name_prefix=query if wanted is None else None,
                session_id=wanted,
                limit=limit,
            )
        return [(row.id, codec.decode_session(row.document), msgspec.Raw(row.metadata)) for row in found]

    async def rewind_preview(self, caller: Caller, session_id: str, *, turn_id: str | None) -> Preview:
        """What the next turn would discard after a rewind to this turn, or to the start for None."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            reader = LineReader(conn, caller.organization_id, row, session)
            first = 0 if turn_id is None else 1 + (await reader.turn_on_line(turn_id)).position
            return await self._preview(conn, caller, row, session, first=first, cursor=first)

    async def regenerate_preview(self, caller: Caller, session_id: str, *, turn_id: str) -> Preview:
        """What regenerating this turn would discard."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            turn = await LineReader(conn, caller.organization_id, row, session).turn_on_line(turn_id)
            point = turn.position
            return await self._preview(conn, caller, row, session, first=point, cursor=point + 1)

    async def restore_preview(self, caller: Caller, session_id: str, *, ordinal: int) -> Preview:
        """What restoring this future would discard of the present line."""
        async with self._pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            row, loaded = await self._load(conn, caller, session_id)
            session = rows.head(loaded).session
            future = await futures.by_ordinal(conn, caller.organization_id, row, ordinal)
            if future is None:
                raise UnknownFuture(ordinal)
            branches = rows.branches(await turns.branches(conn, caller.organization_id, row))
            first = common_prefix(
                line_of(branches, session.branch, session.turn_count),
                line_of(branches, future.branch, future.line_count),
            )
            return await self._preview(conn, caller, row, session, first=first, cursor=future.line_count)

    async def usage_entries(
        self, caller: Caller, *, after: int, session_id: str | None, limit: int
    ) -> tuple[list[UsageEntry], int]:
        """Read the ledger behind a sequence number, and the number of its newest row: see `ledger_page`."""
        page = await self.ledger_page(caller, after=after, session_id=session_id, limit=limit)
        return list(page.entries), page.head

    async def ledger_page(
        self, caller: Caller, *, after: int, session_id: str | None, limit: int
    ) -> LedgerPage:
        """Read the ledger behind a sequence number, of one session if given, and how far it goes.

        A session that there is not has no rows; those of a deleted one are still there.
        """
        wanted = None if session_id is None else ids.from_wire(ids.Kind.SESSION, session_id)
        async with self._pool.acquire() as conn:
            # The head first: a row that is written in between is then behind it, never missing before it.
            head = await usage.head(conn, caller.organization_id)
            found: list[usage.EntryRow] = []
            if session_id is None or wanted is not None:
                found = await usage.entries(
                    conn, caller.organization_id, after=after, session_id=wanted, limit=limit
                )
            archived_through = head.archived_through
            if session_id is None and not _is_dense(found, max(after, archived_through), head.last_seq):
                # What is missing has left for an archive since the head was read.
                archived_through = (await usage.head(conn, caller.organization_id)).archived_through
        return LedgerPage(
            entries=tuple(usage_entry(row) for row in found),
            head=head.last_seq,
            archived_through=archived_through,
        )

    async def usage_totals(self, caller: Caller) -> Totals:
        """Read the organization's totals."""
        async with self._pool.acquire() as conn:
            head = await usage.head(conn, caller.organization_id)
        return Totals(last_seq=head.last_seq, call_count=head.totals.call_count, usage=_usage(head.totals))

    async def session_usage(self, caller: Caller, session_id: str) -> Usage:
        """Read the sums of a session's ledger rows, whatever became of their turns."""
        async with self._pool.acquire() as conn:
            row, _ = await self._load(conn, caller, session_id)
            return _usage(await usage.session_totals(conn, caller.organization_id, row))

    async def imported_usage(self, caller: Caller, session_id: str) -> Usage:
        """Read the sums of what an imported session had cost where it came from, which is billed there."""
        async with self._pool.acquire() as conn:
            row, _ = await self._load(conn, caller, session_id)
            return _usage(await usage.imported_totals(conn, caller.organization_id, row))

    # --- helpers ------------------------------------------------------------------------------------

    async def _load(
        self, conn: Connection, caller: Caller, session_id: str
    ) -> tuple[UUID, sessions.HeaderRow]:
        row = row_id(ids.Kind.SESSION, session_id, "session")
        loaded = await sessions.load(conn, caller.organization_id, row)
        if loaded is None:
            raise NotFound("session")
        return row, loaded

    async def _preview(
        self, conn: Connection, caller: Caller, row: UUID, session: Session, *, first: int, cursor: int
    ) -> Preview:
        end = session.turn_count
        reader = LineReader(conn, caller.organization_id, row, session)
        told: tuple[Turn, ...] = ()
        reply_count = 0
        tool_calls: list[StepSummary] = []
        for start in range(first, end, PAGE_TURNS_MAX):
            page = await reader.turns(first=start, end=min(end, start + PAGE_TURNS_MAX))
            told = told or page
            reply_count += sum(len(turn.replies) for turn in page)
            tool_calls += (
                step for turn in page for step in turn.steps if step.kind == "tool" and step.effect != "read"
            )
        line = await reader.line(down_to=first)
        spent = await usage.of_stretches(
            conn,
            caller.organization_id,
            row,
            branches=[segment.branch for segment in line.segments],
            firsts=[max(segment.first, first) for segment in line.segments],
            ends=[segment.end for segment in line.segments],
        )
        return Preview(
            revision=session.revision,
            branch_point=first,
            cursor=cursor,
            cancelled_turn_id=session.active_turn_id,
            turns=told,
            turn_count=end - first,
            reply_count=reply_count,
            tool_calls=tuple(tool_calls),
            usage=_usage(spent),
        )


def _usage(totals: usage.TotalsRow) -> Usage:
    is_unknown = totals.call_count > 0 and totals.unknown_count == totals.call_count
    return Usage(
        input_tokens=totals.input_tokens,
        cached_tokens=totals.cached_tokens,
        cache_write_tokens=totals.cache_write_tokens,
        output_tokens=totals.output_tokens,
        reasoning_tokens=totals.reasoning_tokens,
        cost=None if is_unknown else totals.cost,
        unknown_count=totals.unknown_count,
    )


def _is_dense(found: Sequence[usage.EntryRow], after: int, head: int) -> bool:
    """Whether no entry is missing of those behind `after`, as far as a page goes."""
    seqs = [row.seq for row in found if row.seq > after]
    return seqs == list(range(after + 1, after + 1 + len(seqs))) and (bool(found) or after >= head)
