"""What the events of a stream carry, and their names."""

from typing import Any, Literal

import msgspec

from api.routes.schemas.sessions import EventView
from api.session.document import EventType


class TurnDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a reply, as the model said it; stored before it is told."""

    turn_id: str
    step_id: str
    reply: int
    """Which reply of the turn, from 0."""
    offset: int
    """Where the text begins, in Unicode code points within the step."""
    text: str


class TurnRestarted(msgspec.Struct, frozen=True, kw_only=True):
    """What the step has said is taken back: the reply is begun anew."""

    turn_id: str
    step_id: str


class StreamResync(msgspec.Struct, frozen=True, kw_only=True):
    """What lay behind the last event is kept no longer: read the session; the stream goes on from here."""

    revision: int


class StreamEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing will follow; do not connect again."""

    reason: Literal["session_ended", "session_deleted", "turn_final"]


SESSION_STREAM: dict[str, Any] = {
    **{kind.value: EventView for kind in EventType},
    "turn.delta": TurnDelta,
    "turn.restarted": TurnRestarted,
    "resync": StreamResync,
    "end": StreamEnd,
}
"""The data of each event of a stream, by its name."""
