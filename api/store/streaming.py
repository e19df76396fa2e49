"""Following a session: its durable events in order, and what a running turn says between them.

A reader is nowhere remembered. It says how far it has come, by a cursor that every item carries, and gets
what lies behind; so it may go on at any process, after any interruption, without a gap or a repetition.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from api.session import ids
from api.session.document import Effect, Event, EventType, SessionState
from api.store import rows
from api.store.base import Base, Caller, row_id
from api.store.errors import NotFound
from db import deltas, events, sessions
from db.pool import Connection

EVENTS_MAX = 64
"""Events in one batch, at most."""

DELTAS_MAX = 256
"""Pieces of replies in one batch, at most."""

_ENDINGS = frozenset({EventType.TURN_COMPLETED, EventType.TURN_FAILED, EventType.TURN_CANCELLED})


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader has come: `revision.position.number` on the wire."""

    revision: int
    """The last durable event that was read."""
    position: int = 0
    """The turn whose deltas were being read; says something only with a `number` above 0."""
    number: int = 0
    """The last entry read of that turn's delta log."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A durable event."""

    cursor: Cursor
    event: Event


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a reply, or the word that a step's pieces are taken back."""

    cursor: Cursor
    turn_id: str
    step_id: str
    is_restart: bool
    """The step's text is dropped: another run has begun the reply anew."""
    reply: int
    """Which reply of the turn, 0-based."""
    offset: int
    """In Unicode code points within the step."""
    text: str


class Resync(msgspec.Struct, frozen=True, kw_only=True):
    """The cursor can no longer be continued: read the session, and follow from its revision."""

    revision: int


Item = Told | Said | Resync


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The next items behind a cursor, in order; empty when there is nothing new."""

    items: tuple[Item, ...]
    cursor: Cursor
    """Where to go on."""
    has_more: bool
    """There is more already; ask again without waiting."""
    is_over: bool = False
    """The session has ended, and nothing will ever follow."""


class Streaming(Base):
    """The part of the store that readers of streams follow."""

    async def following(self, caller: Caller, session_id: str, cursor: Cursor | None) -> Batch:
        """Read what lies behind a cursor; None begins at the present revision, with what its turn has said.

        Raises:
            NotFound: there is no such session (any more).
        """
        row = row_id(ids.Kind.SESSION, session_id, "session")
        async with self._pool.acquire() as conn:
            if cursor is None:
                revision = await sessions.revision(conn, caller.organization_id, row)
                if revision is None:
                    raise NotFound("session")
                cursor = Cursor(revision=revision)
            news = await deltas.news(
                conn,
                caller.organization_id,
                row,
                revision=cursor.revision,
                position=cursor.position,
                number=cursor.number,
                limit=DELTAS_MAX,
            )
            if news is None:
                raise NotFound("session")
            if cursor.revision > news.revision:
                return _resync(news.revision)
            if cursor.revision < news.revision:
                return await self._events_behind(conn, caller, row, cursor, news.revision)
            reader = _Reader(conn, caller.organization_id, row, cursor)
            is_all = True
            if news.turn_id is not None and news.position is not None:
                is_all = reader.add(news.turn_id, news.position, news.entries, limit=DELTAS_MAX)
            batch = reader.batch(has_more=not is_all, revision=news.revision)
            return msgspec.structs.replace(batch, is_over=news.state == SessionState.ENDED)

    async def _events_behind(
        self, conn: Connection, caller: Caller, row: UUID, cursor: Cursor, revision: int
    ) -> Batch:
        """Tell events, each behind what the turns that it ends have said.

        No snapshot is needed: a log changes no more once the event that ends its turn can be seen.
        """
        reader = _Reader(conn, caller.organization_id, row, cursor)
        found = await events.after(
            conn, caller.organization_id, row, revision=cursor.revision, limit=EVENTS_MAX
        )
        if not found or found[0].revision != cursor.revision + 1:
            # What lay between is kept no longer.
            return _resync(revision)
        for place, event_row in enumerate(found, start=1):
            # Of two processes whose clocks differed, a later event may have left before an earlier one.
            if event_row.revision != cursor.revision + place:
                break
            if not await reader.tell(rows.event(event_row)):
                break
        return reader.batch(has_more=True, revision=revision)


class _Reader:
    """Collects one batch."""

    def __init__(self, conn: Connection, organization_id: UUID, session_id: UUID, cursor: Cursor) -> None:
        self._scope = (conn, organization_id, session_id)
        self._items: list[Item] = []
        self._deltas_left = DELTAS_MAX
        self._is_lost = False
        self._cursor = cursor

    async def tell(self, event: Event) -> bool:
        """Add an event, behind all that the turns which it ends or parks have said by then.

        False when the batch is full.
        """
        for effect in event.effects:
            if effect.type in _ENDINGS and not await self._say(effect, until=None):
                return False
            # A turn that waits goes on speaking when people have decided; that is told behind their decision.
            is_parked = effect.type is EventType.TURN_AWAITING_APPROVAL
            if is_parked and not await self._say(effect, until=event.at):
                return False
        self._cursor = msgspec.structs.replace(self._cursor, revision=event.revision)
        self._items.append(Told(cursor=self._cursor, event=event))
        return True

    def add(self, turn: UUID, position: int, entries: Sequence[deltas.LogRow], *, limit: int) -> bool:
        """Add what a turn has said behind the cursor; False when there may be more than `limit`."""
        for row in entries:
            expected = self._cursor.number + 1 if position == self._cursor.position else 1
            if row.number != expected:
                # What lay between is kept no longer.
                self._is_lost = True
                return False
            self._cursor = msgspec.structs.replace(self._cursor, position=position, number=row.number)
            self._items.append(
                Said(
                    cursor=self._cursor,
                    turn_id=ids.to_wire(ids.Kind.TURN, turn),
                    step_id=ids.to_wire(ids.Kind.STEP, row.step_id),
                    is_restart=row.kind == "restarted",
                    reply=0,
                    offset=row.text_offset,
                    text=row.text,
                )
            )
        self._deltas_left -= len(entries)
        return len(entries) < limit

    def batch(self, *, has_more: bool, revision: int) -> Batch:
        """What was collected."""
        if self._is_lost:
            return _resync(revision)
        return Batch(items=tuple(self._items), cursor=self._cursor, has_more=has_more)

    async def _say(self, effect: Effect, *, until: datetime | None) -> bool:
        """Add what a turn has said up to an instant, or to its end; False when the batch is full."""
        assert effect.turn_id is not None, "what happened to a turn names the turn"
        turn = rows.turn_uuid(effect.turn_id)
        place = await deltas.place(*self._scope, turn)
        if place is None:
            return True
        is_reading = place.position == self._cursor.position and self._cursor.number > 0
        said = self._cursor.number if is_reading else 0
        if place.last_number < said:
            # The rest of what this reader was reading is kept no longer.
            self._is_lost = True
            return False
        if place.last_number > said:
            limit = self._deltas_left
            found: list[deltas.LogRow] = []
            if limit:
                found = await deltas.after(*self._scope, turn, number=said, until=until, limit=limit)
            if not self.add(turn, place.position, found, limit=limit):
                return False
        if until is None and place.position == self._cursor.position:
            self._cursor = Cursor(revision=self._cursor.revision)
        return True


def _resync(revision: int) -> Batch:
    return Batch(items=(Resync(revision=revision),), cursor=Cursor(revision=revision), has_more=False)
