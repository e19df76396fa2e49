"""What the commands share: admitting a head, cancelling what is unfinished, writing the change.

Every command admits the head first and ends in `written`, so that one place counts the revision, names
the active turn and dates the header.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypedDict, Unpack

import msgspec

from api.session import errors
from api.session.document import (
    Actor,
    Approval,
    Branch,
    Change,
    DiscardedFuture,
    Effect,
    Event,
    EventType,
    Head,
    Reply,
    Session,
    SessionState,
    StepSummary,
    Turn,
    TurnState,
    Usage,
)
from api.session.invariants import fits, require
from api.session.line import Line


class Partial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the run of the active turn has brought so far; a command that cancels the turn keeps it."""

    replies: tuple[Reply, ...] = ()
    """The text that was shown; the last reply is kept as truncated."""
    steps: tuple[StepSummary, ...] = ()
    usage: Usage | None = None
    node: str | None = None
    """The node after the finished steps; None when they changed neither node nor variables."""
    variables: dict[str, Any] | None = None
    """All variables after the finished steps; given with `node`."""


class Extras(TypedDict, total=False):
    """What a change may carry beside its header, its changed turns and its event."""

    created: Turn | None
    opened: Branch | None
    discarded: DiscardedFuture | None
    restored: int | None
    trimmed: tuple[DiscardedFuture, ...]
    metadata: dict[str, Any] | None
    requested: tuple[Approval, ...]
    decided: Approval | None


def admit(head: Head) -> None:
    """Refuse an ended session; insist that the head is whole.

    Raises:
        SessionEnded: the session takes no further commands.
        InvariantViolated: the unfinished turns are not those that the header counts.
    """
    session, unfinished = head.session, head.unfinished
    if session.state is SessionState.ENDED:
        raise errors.SessionEnded(session.id)
    require(
        len(unfinished) == session.unfinished_count
        and not any(turn.state.is_final for turn in unfinished)
        and session.active_turn_id == (unfinished[0].id if unfinished else None),
        "a head holds exactly the unfinished turns that its header counts",
    )


def cancelled(
    turns: Iterable[Turn], *, head: Head, partial: Partial | None, now: datetime
) -> tuple[Turn, ...]:
    """Cancel unfinished turns of this head; the active one keeps what its run has brought so far."""
    return tuple(
        _cancelled_turn(
            turn,
            partial=partial if turn.id == head.session.active_turn_id else None,
            revision=head.session.revision + 1,
            now=now,
        )
        for turn in turns
    )


def pending_turn(
    session: Session, *, turn_id: str, branch: int, position: int, now: datetime, actor: Actor
) -> Turn:
    """A new turn without user message, as the next revision of this session creates it."""
    return Turn(
        id=turn_id,
        branch=branch,
        position=position,
        state=TurnState.PENDING,
        revision=session.revision + 1,
        created_at=now,
        created_by=actor,
    )


def branch_off(session: Session, *, point: int, line: Line | None) -> Branch:
    """The branch that leaves the line before position `point`; its parent holds the position below."""
    parent = line.owner(point - 1) if line is not None and point > 0 else None
    require((parent is None) == (point == 0), "the line is known down to the turn below a new branch")
    return Branch(number=session.branch_count, parent=parent, branch_point=point)


def discard_from(session: Session, *, point: int, now: datetime, actor: Actor) -> DiscardedFuture:
    """Keep the turns of the line from position `point` on as the next discarded future."""
    return DiscardedFuture(
        ordinal=session.discarded_count + 1,
        branch=session.branch,
        branch_point=point,
        line_count=session.turn_count,
        discarded_at=now,
        discarded_by=actor,
    )


def written(
    head: Head,
    *,
    event: EventType,
    effects: tuple[Effect, ...],
    now: datetime,
    actor: Actor,
    header: dict[str, Any],
    changed: tuple[Turn, ...] = (),
    content_from: int | None = None,
    **extras: Unpack[Extras],
) -> Change:
    """The change that takes this head to its next revision.

    `header` names the fields of the header that the command sets; revision, date and active turn are
    worked out here from the turns. `content_from` is the lowest position that got another occupant.
    """
    session = head.session
    unfinished = _unfinished_after(head.unfinished, changed, extras.get("created"))
    positions = [turn.position for turn in changed]
    if content_from is not None:
        positions.append(content_from)
    return Change(
        session=msgspec.structs.replace(
            session,
            **header,
            revision=session.revision + 1,
            updated_at=now,
            unfinished_count=len(unfinished),
            active_turn_id=unfinished[0].id if unfinished else None,
        ),
        changed=changed,
        revokes_run=any(
            turn.id == session.active_turn_id and turn.state is TurnState.CANCELLED for turn in changed
        ),
        event=Event(
            revision=session.revision + 1,
            type=event,
            at=now,
            actor=actor,
            effects=effects,
            line_from=min(positions, default=None),
        ),
        **extras,
    )


def turn_effects(event: EventType, turns: Iterable[Turn]) -> tuple[Effect, ...]:
    """One effect of this type for each turn, in order."""
    return tuple(Effect(type=event, turn_id=turn.id) for turn in turns)


def standing(
    session: Session,
    *,
    node: str | None,
    variables: dict[str, Any] | None,
    in_effect: Iterable[Turn] = (),
) -> dict[str, Any]:
    """The header's node and variables: the newest of the turns changed in this commit and still in effect
    that stores them, else what the caller found, else as they were.
    """
    for turn in in_effect:
        if turn.node is not None:
            node, variables = turn.node, turn.variables
    return {
        "node": session.node if node is None else node,
        "variables": session.variables if variables is None else variables,
    }


def active_turn(head: Head, turn_id: str) -> Turn:
    """The active turn, which must be this one.

    Raises:
        TurnNotActive: another turn is active, or none.
    """
    if turn_id != head.session.active_turn_id:
        raise errors.TurnNotActive(turn_id, active_turn_id=head.session.active_turn_id)
    return head.unfinished[0]


def _unfinished_after(
    before: tuple[Turn, ...], changed: tuple[Turn, ...], created: Turn | None
) -> tuple[Turn, ...]:
    by_id = {turn.id: turn for turn in changed}
    after = [by_id.get(turn.id, turn) for turn in before]
    if created is not None:
        after.append(created)
    return tuple(turn for turn in after if not turn.state.is_final)


def _cancelled_turn(turn: Turn, *, partial: Partial | None, revision: int, now: datetime) -> Turn:
    ended = msgspec.structs.replace(
        turn,
        state=TurnState.CANCELLED,
        revision=revision,
        finished_at=now,
        replies=_cut_off(turn.replies),
    )
    if partial is None:
        return ended
    require(fits(partial.variables), "the variables of a turn are bounded")
    return msgspec.structs.replace(
        ended,
        replies=_cut_off(partial.replies),
        steps=partial.steps,
        usage=partial.usage,
        node=partial.node,
        variables=partial.variables,
    )


def _cut_off(replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
    if not replies:
        return ()
    return (*replies[:-1], msgspec.structs.replace(replies[-1], truncated=True))
