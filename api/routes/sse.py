"""Server-sent events, as bytes: each item of a session's stream is one event with an id to go on from.

An id is `revision.position.number`: the last durable event, and how far the turn at that position had spoken.
"""

import re
from typing import Any

import msgspec

from api.routes.errors import MalformedEventId
from api.routes.etags import REVISION_MAX
from api.routes.schemas.events import StreamEnd, StreamResync, TurnDelta, TurnRestarted
from api.routes.schemas.sessions import event_view
from api.store import streaming
from api.store.streaming import Cursor, Item

COMMENT = b":\n\n"
"""Says nothing, and shows that the stream is alive."""

_RETRY_MS = 1000
_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,10})\.([0-9]{1,10})")


def parse_event_id(text: str) -> Cursor:
    """Read the id of an event.

    Raises:
        MalformedEventId: it is none that we give.
    """
    found = _ID.fullmatch(text)
    numbers = [int(number) for number in found.groups()] if found else []
    if not numbers or max(numbers) > REVISION_MAX:
        raise MalformedEventId
    return Cursor(revision=numbers[0], position=numbers[1], number=numbers[2])


def write_opening(cursor: Cursor) -> bytes:
    """Write what comes first: where the stream begins, so that one cut off at once goes on from there.

    A block without data is told to nobody; clients keep its id (WHATWG HTML 9.2.6).
    """
    return b"retry: %d\nid: %s\n\n" % (_RETRY_MS, _id(cursor))


def write_item(item: Item) -> bytes:
    """Write an item of the stream as an event."""
    match item:
        case streaming.Told():
            return _event(item.event.type.value, event_view(item.event), item.cursor)
        case streaming.Said(is_restart=True):
            restarted = TurnRestarted(turn_id=item.turn_id, step_id=item.step_id)
            return _event("turn.restarted", restarted, item.cursor)
        case streaming.Said():
            delta = TurnDelta(
                turn_id=item.turn_id,
                step_id=item.step_id,
                reply=item.reply,
                offset=item.offset,
                text=item.text,
            )
            return _event("turn.delta", delta, item.cursor)
        case streaming.Resync():
            return _event("resync", StreamResync(revision=item.revision), Cursor(revision=item.revision))


def write_end(end: StreamEnd) -> bytes:
    """Write the last event; it has no id, for there is nothing to go on to."""
    return b"event: end\ndata: %s\n\n" % msgspec.json.encode(end)


def _event(name: str, data: Any, cursor: Cursor) -> bytes:
    # JSON has no line breaks of its own, so the data is one line.
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (_id(cursor), name.encode(), msgspec.json.encode(data))


def _id(cursor: Cursor) -> bytes:
    return b"%d.%d.%d" % (cursor.revision, cursor.position, cursor.number)
