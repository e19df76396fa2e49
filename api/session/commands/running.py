"""Commands that finish a turn: complete and fail, for its runner; cancel, for people."""

from datetime import datetime
from typing import Any

import msgspec

from api.session import errors
from api.session.document import (
    TURN_TRANSITIONS,
    VARIABLES_BYTES_MAX,
    Actor,
    Change,
    Effect,
    EventType,
    Head,
    Notice,
    Reply,
    SessionState,
    StepSummary,
    Turn,
    TurnError,
    TurnState,
    Usage,
)
from api.session.invariants import fits, require

from ._writing import Partial, active_turn, admit, cancelled, standing, turn_effects, written


def complete(
    head: Head,
    *,
    turn_id: str,
    replies: tuple[Reply, ...],
    steps: tuple[StepSummary, ...],
    usage: Usage | None,
    now: datetime,
    actor: Actor,
    node: str | None = None,
    variables: dict[str, Any] | None = None,
    notices: tuple[Notice, ...] = (),
    ends_session: bool = False,
    resolution: str | None = None,
) -> Change:
    """Publish what the run of the active turn said; the next queued turn becomes active.

    `node` and `variables` are None where the turn changed neither; when it changed either, the turn
    stores both as they stand after it. With `ends_session` the session ends in the same commit, with that
    `resolution`, and every queued turn is cancelled.

    Raises:
        TurnNotActive: another turn is active, or none.
        TurnAwaitsApproval: the turn waits for a person.
        VariablesTooLarge: the variables take more than VARIABLES_BYTES_MAX.
    """
    admit(head)
    active = active_turn(head, turn_id)
    if TurnState.COMPLETED not in TURN_TRANSITIONS[active.state]:
        raise errors.TurnAwaitsApproval(turn_id)
    require(ends_session or resolution is None, "only a session that ends has a resolution")
    if not fits(variables):
        raise errors.VariablesTooLarge(bytes_max=VARIABLES_BYTES_MAX)

    completed = msgspec.structs.replace(
        active,
        state=TurnState.COMPLETED,
        revision=head.session.revision + 1,
        finished_at=now,
        replies=replies,
        steps=steps,
        usage=usage,
        notices=notices,
    )
    after = standing(head.session, node=node, variables=variables)
    if node is not None or variables is not None:
        completed = msgspec.structs.replace(completed, **after)
    effects = turn_effects(EventType.TURN_COMPLETED, (completed,))
    ended: tuple[Turn, ...] = ()
    if ends_session:
        ended = cancelled(head.unfinished[1:], head=head, partial=None, now=now)
        effects = (
            *effects,
            *turn_effects(EventType.TURN_CANCELLED, ended),
            Effect(type=EventType.SESSION_ENDED),
        )
        after |= {"state": SessionState.ENDED, "resolution": resolution, "ended_at": now}
    return written(
        head,
        event=EventType.TURN_COMPLETED,
        effects=effects,
        now=now,
        actor=actor,
        header=after,
        changed=(completed, *ended),
    )


def fail(
    head: Head,
    *,
    turn_id: str,
    error: TurnError,
    steps: tuple[StepSummary, ...],
    usage: Usage | None,
    now: datetime,
    actor: Actor,
    notices: tuple[Notice, ...] = (),
) -> Change:
    """Publish that the active turn came to nothing, and why; the next queued turn becomes active.

    A failed turn leaves the node and the variables as they were, and keeps no reply. One that awaits an
    approval may fail.

    Raises:
        TurnNotActive: another turn is active, or none.
    """
    admit(head)
    failed = msgspec.structs.replace(
        active_turn(head, turn_id),
        state=TurnState.FAILED,
        revision=head.session.revision + 1,
        finished_at=now,
        error=error,
        replies=(),
        node=None,
        variables=None,
        steps=steps,
        usage=usage,
        notices=notices,
    )
    return written(
        head,
        event=EventType.TURN_FAILED,
        effects=turn_effects(EventType.TURN_FAILED, (failed,)),
        now=now,
        actor=actor,
        header={},
        changed=(failed,),
    )


def cancel(
    head: Head,
    *,
    turn: Turn,
    now: datetime,
    actor: Actor,
    partial: Partial | None = None,
) -> Change:
    """Cancel one unfinished turn: the active one, or a queued one alone.

    It stays on the line, with what its run had brought so far (`partial`, of the active turn only). When it
    was active, the next queued turn becomes active.

    Raises:
        AlreadyCancelled: the turn was cancelled before; an answer, not a refusal.
        TurnFinal: the turn was completed or has failed.
    """
    admit(head)
    if turn.state is TurnState.CANCELLED:
        raise errors.AlreadyCancelled(turn.id)
    if turn.state.is_final:
        raise errors.TurnFinal(turn.id, state=turn.state)
    require(turn in head.unfinished, "the turn to cancel is as the head holds it")

    ended = cancelled((turn,), head=head, partial=partial, now=now)
    return written(
        head,
        event=EventType.TURN_CANCELLED,
        effects=turn_effects(EventType.TURN_CANCELLED, ended),
        now=now,
        actor=actor,
        header=standing(head.session, node=None, variables=None, in_effect=ended),
        changed=ended,
    )
