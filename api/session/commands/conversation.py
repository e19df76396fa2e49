"""Commands that a conversation moves on with: append, update, end."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from api.session import errors
from api.session.document import (
    UNFINISHED_MAX,
    Actor,
    Change,
    Effect,
    EventType,
    Head,
    SessionState,
    UserMessage,
)
from api.session.invariants import require
from api.session.line import Line

from ._writing import (
    Partial,
    admit,
    branch_off,
    cancelled,
    discard_from,
    pending_turn,
    standing,
    turn_effects,
    written,
)


class IfActive(StrEnum):
    """What a new message does when a turn is still unfinished."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"


def append(
    head: Head,
    *,
    turn_id: str,
    text: str,
    speaker: str | None,
    now: datetime,
    actor: Actor,
    if_active: IfActive = IfActive.REJECT,
    line: Line | None = None,
    partial: Partial | None = None,
) -> Change:
    """Add a pending turn with the user's words behind the turns in effect.

    Behind a moved cursor the turns that are no longer in effect become one discarded future, and the new
    turn begins a branch; only then, and with a cursor above 0, `line` is needed, down to position
    `cursor - 1`. To interrupt cancels every unfinished turn first, in the same commit; they stay in effect.

    Raises:
        TurnActive: a turn is unfinished and `if_active` is `reject`.
        QueueFull: to be queued, and UNFINISHED_MAX turns are unfinished.
    """
    admit(head)
    session, unfinished = head.session, head.unfinished
    if unfinished and if_active is IfActive.REJECT:
        raise errors.TurnActive(unfinished[0].id)
    if if_active is IfActive.ENQUEUE and len(unfinished) >= UNFINISHED_MAX:
        raise errors.QueueFull(UNFINISHED_MAX - 1)
    # Whatever moves the cursor cancels the unfinished turns, and nobody but `append` makes new ones.
    require(not unfinished or session.cursor == session.turn_count, "unfinished turns are in effect")

    point = session.cursor
    is_behind = point < session.turn_count
    opened = branch_off(session, point=point, line=line) if is_behind else None
    discarded = discard_from(session, point=point, now=now, actor=actor) if is_behind else None
    ended = (
        cancelled(unfinished, head=head, partial=partial, now=now) if if_active is IfActive.INTERRUPT else ()
    )
    created = msgspec.structs.replace(
        pending_turn(
            session,
            turn_id=turn_id,
            branch=session.branch if opened is None else opened.number,
            position=point,
            now=now,
            actor=actor,
        ),
        user_message=UserMessage(text=text, speaker=speaker),
    )
    return written(
        head,
        event=EventType.TURN_CREATED,
        effects=(
            *turn_effects(EventType.TURN_CANCELLED, ended),
            Effect(type=EventType.TURN_CREATED, turn_id=turn_id),
        ),
        now=now,
        actor=actor,
        header={
            "cursor": point + 1,
            "turn_count": point + 1,
            "branch": created.branch,
            "branch_count": session.branch_count + is_behind,
            "discarded_count": session.discarded_count + is_behind,
            **standing(session, node=None, variables=None, in_effect=ended),
        },
        changed=ended,
        content_from=point,
        created=created,
        opened=opened,
        discarded=discarded,
    )


def update(
    head: Head,
    *,
    now: datetime,
    actor: Actor,
    name: str | UnsetType | None = UNSET,
    metadata: dict[str, Any] | None = None,
) -> Change:
    """Give the session another name, or other metadata, or both.

    `metadata` is the whole new value (see `merge_patch`); None leaves it as it is. An update is a commit
    even when it says what was so already: the caller is told a revision that holds their words.
    """
    admit(head)
    return written(
        head,
        event=EventType.SESSION_UPDATED,
        effects=(Effect(type=EventType.SESSION_UPDATED),),
        now=now,
        actor=actor,
        header={} if name is UNSET else {"name": name},
        metadata=metadata,
    )


def end(
    head: Head,
    *,
    resolution: str | None,
    now: datetime,
    actor: Actor,
    partial: Partial | None = None,
) -> Change:
    """End the session: it takes no further commands. Every unfinished turn is cancelled first."""
    admit(head)
    ended = cancelled(head.unfinished, head=head, partial=partial, now=now)
    return written(
        head,
        event=EventType.SESSION_ENDED,
        effects=(
            *turn_effects(EventType.TURN_CANCELLED, ended),
            Effect(type=EventType.SESSION_ENDED),
        ),
        now=now,
        actor=actor,
        header={
            "state": SessionState.ENDED,
            "resolution": resolution,
            "ended_at": now,
            **standing(head.session, node=None, variables=None, in_effect=ended),
        },
        changed=ended,
    )
