"""Commands that go back: rewind, restore, regenerate, retry.

Each cancels every unfinished turn first, in the same commit, and deletes nothing. `node` and `variables`
are those of the newest turn that stores them among the turns in effect afterwards, as the caller found
them; None leaves the header's as they are.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from api.session import errors
from api.session.document import (
    Actor,
    Branch,
    Change,
    DiscardedFuture,
    Effect,
    EventType,
    Head,
    Turn,
    TurnState,
    UserMessage,
)
from api.session.invariants import require
from api.session.line import Line, by_number, common_prefix, line_of

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


def rewind(
    head: Head,
    *,
    to: int,
    now: datetime,
    actor: Actor,
    node: str | None = None,
    variables: dict[str, Any] | None = None,
    partial: Partial | None = None,
) -> Change:
    """Move the cursor so that the first `to` turns are in effect; 0 is before the first turn.

    The turns behind the cursor stay on the line until the next turn is appended, which keeps them as a
    discarded future (see `append`); until then the cursor may also move forward again. To where it is
    already is a commit like any other.

    Raises:
        CursorOutOfRange: `to` is negative or beyond the line (0..turn_count).
    """
    admit(head)
    session = head.session
    if not 0 <= to <= session.turn_count:
        raise errors.CursorOutOfRange(to=to, turn_count=session.turn_count)

    ended = cancelled(head.unfinished, head=head, partial=partial, now=now)
    in_effect = [turn for turn in ended if turn.position < to]
    return written(
        head,
        event=EventType.SESSION_REWOUND,
        effects=(
            *turn_effects(EventType.TURN_CANCELLED, ended),
            Effect(type=EventType.SESSION_REWOUND),
        ),
        now=now,
        actor=actor,
        header={
            "cursor": to,
            **standing(session, node=node, variables=variables, in_effect=in_effect),
        },
        changed=ended,
    )


def restore(
    head: Head,
    *,
    ordinal: int,
    futures: Iterable[DiscardedFuture],
    branches: Iterable[Branch],
    now: datetime,
    actor: Actor,
    node: str | None = None,
    variables: dict[str, Any] | None = None,
    partial: Partial | None = None,
) -> Change:
    """Make the line what it was when a future was discarded, ancestors included, with the cursor at its end.

    What this displaces becomes a new discarded future. Other futures whose first turns come back onto the
    line with the restored one keep the rest. `futures` and `branches` are all that the session has.

    Raises:
        UnknownFuture: no future has this ordinal now.
    """
    admit(head)
    session = head.session
    by_ordinal = {future.ordinal: future for future in futures}
    restored = by_ordinal.pop(ordinal, None)
    if restored is None:
        raise errors.UnknownFuture(ordinal)

    known = by_number(branches)
    line = line_of(known, restored.branch, restored.line_count)
    point = common_prefix(line_of(known, session.branch, session.turn_count), line)
    # A branch is left only for another that has its own turn at the same position, so no line is ever
    # the beginning of another one, and there is always something to displace.
    require(point < session.turn_count, "no line is the beginning of another")

    ended = cancelled(head.unfinished, head=head, partial=partial, now=now)
    return written(
        head,
        event=EventType.SESSION_RESTORED,
        effects=(
            *turn_effects(EventType.TURN_CANCELLED, ended),
            Effect(type=EventType.SESSION_RESTORED, ordinal=ordinal),
        ),
        now=now,
        actor=actor,
        header={
            "branch": restored.branch,
            "turn_count": restored.line_count,
            "cursor": restored.line_count,
            "discarded_count": session.discarded_count + 1,
            **standing(session, node=node, variables=variables),
        },
        changed=ended,
        content_from=point,
        discarded=discard_from(session, point=point, now=now, actor=actor),
        restored=ordinal,
        trimmed=_trimmed(by_ordinal.values(), line=line, branches=known),
    )


def regenerate(
    head: Head,
    *,
    turn: Turn,
    turn_id: str,
    text: str | None,
    now: datetime,
    actor: Actor,
    line: Line,
    node: str | None = None,
    variables: dict[str, Any] | None = None,
    partial: Partial | None = None,
) -> Change:
    """Discard a turn and what follows it, and put a new pending turn in its place, in one commit.

    The new turn says the same, or `text` where it is given, in the name of the same speaker. `line` is
    known down to the turn below this one. A turn behind the cursor is regenerated as if the cursor had
    first been moved to it.

    Raises:
        TurnNotOnLine: the turn lies in a discarded future.
        GreetingHasNoUserMessage: `text` is given for a greeting.
    """
    admit(head)
    session = head.session
    if not line.holds(turn):
        raise errors.TurnNotOnLine(turn.id)
    if text is not None and turn.user_message is None:
        raise errors.GreetingHasNoUserMessage(turn.id)

    point = turn.position
    opened = branch_off(session, point=point, line=line)
    ended = cancelled(head.unfinished, head=head, partial=partial, now=now)
    in_effect = [other for other in ended if other.position < point]
    created = msgspec.structs.replace(
        pending_turn(session, turn_id=turn_id, branch=opened.number, position=point, now=now, actor=actor),
        user_message=_said_again(turn.user_message, text),
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
            "branch": opened.number,
            "branch_count": session.branch_count + 1,
            "discarded_count": session.discarded_count + 1,
            **standing(session, node=node, variables=variables, in_effect=in_effect),
        },
        changed=ended,
        content_from=point,
        created=created,
        opened=opened,
        discarded=discard_from(session, point=point, now=now, actor=actor),
    )


def retry(
    head: Head,
    *,
    turn: Turn,
    turn_id: str,
    now: datetime,
    actor: Actor,
    line: Line,
    node: str | None = None,
    variables: dict[str, Any] | None = None,
    partial: Partial | None = None,
) -> Change:
    """Regenerate the last turn in effect, which failed or was cancelled, with the same words.

    Raises:
        TurnNotOnLine: the turn lies in a discarded future.
        TurnNotRetryable: the turn is not the last one in effect, or neither failed nor cancelled.
    """
    admit(head)
    if not line.holds(turn):
        raise errors.TurnNotOnLine(turn.id)
    is_last = turn.position == head.session.cursor - 1
    if not is_last or turn.state not in (TurnState.FAILED, TurnState.CANCELLED):
        raise errors.TurnNotRetryable(turn.id, state=turn.state, is_last=is_last)
    return regenerate(
        head,
        turn=turn,
        turn_id=turn_id,
        text=None,
        now=now,
        actor=actor,
        line=line,
        node=node,
        variables=variables,
        partial=partial,
    )


def _said_again(said: UserMessage | None, text: str | None) -> UserMessage | None:
    if said is None or text is None:
        return said
    return msgspec.structs.replace(said, text=text)


def _trimmed(
    futures: Iterable[DiscardedFuture], *, line: Line, branches: Mapping[int, Branch]
) -> tuple[DiscardedFuture, ...]:
    """The futures that lose their first turns to this line, as they stand without them."""
    trimmed = []
    for future in futures:
        shared = common_prefix(line_of(branches, future.branch, future.line_count), line)
        if shared > future.branch_point:
            trimmed.append(msgspec.structs.replace(future, branch_point=shared))
    return tuple(trimmed)
