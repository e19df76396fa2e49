"""Commands about approvals: request_approvals, for a runner; decide, for people and for what expires."""

from datetime import datetime

import msgspec

from api.session import errors
from api.session.document import (
    APPROVALS_MAX,
    NOTE_CHARACTERS_MAX,
    Actor,
    Approval,
    Change,
    Decision,
    Effect,
    EventType,
    Head,
    Notice,
    Reply,
    StepSummary,
    Turn,
    TurnState,
    Usage,
)
from api.session.invariants import are_distinct, require

from ._writing import active_turn, admit, turn_effects, written


def request_approvals(
    head: Head,
    *,
    turn_id: str,
    approvals: tuple[Approval, ...],
    steps: tuple[StepSummary, ...],
    usage: Usage | None,
    now: datetime,
    actor: Actor,
    replies: tuple[Reply, ...] = (),
    notices: tuple[Notice, ...] = (),
) -> Change:
    """Let the active turn wait for a person, about at least one tool call; its run ends.

    The turn keeps its place and nobody may claim it. `steps`, `usage`, `replies` and `notices` are all that
    the turn has brought until now, and replace what it said of them before.

    Raises:
        TurnNotActive: another turn is active, or none.
        TurnAwaitsApproval: the turn waits already.
        TooManyApprovals: more than APPROVALS_MAX.
    """
    admit(head)
    active = active_turn(head, turn_id)
    if active.state is TurnState.AWAITING_APPROVAL:
        raise errors.TurnAwaitsApproval(turn_id)
    if len(approvals) > APPROVALS_MAX:
        raise errors.TooManyApprovals(count=len(approvals), count_max=APPROVALS_MAX)
    require(len(approvals) > 0, "a turn waits for at least one approval")
    require(all(approval.decision is None for approval in approvals), "what is requested is undecided")
    asked = (*active.approvals, *approvals)
    require(are_distinct(asked), "approvals and the steps that they allow are not reused")

    waiting = msgspec.structs.replace(
        active,
        state=TurnState.AWAITING_APPROVAL,
        revision=head.session.revision + 1,
        replies=replies,
        steps=steps,
        approvals=asked,
        notices=notices,
        usage=usage,
    )
    return written(
        head,
        event=EventType.TURN_AWAITING_APPROVAL,
        effects=turn_effects(EventType.TURN_AWAITING_APPROVAL, (waiting,)),
        now=now,
        actor=actor,
        header={},
        changed=(waiting,),
        requested=approvals,
    )


def decide(
    head: Head,
    *,
    turn: Turn,
    approval_id: str,
    arguments_digest: str,
    decision: Decision,
    note: str | None,
    now: datetime,
    actor: Actor,
    has_expired: bool = False,
) -> Change:
    """Answer one approval of a turn, once; the turn is pending again when none is left open.

    `arguments_digest` is the one that was shown to whoever decides. `has_expired` says that nobody did in
    time: the decision is then a denial, and not made before `expires_at`.

    Raises:
        UnknownApproval: the turn never asked for it.
        DigestMismatch: other arguments were judged than those that were asked about.
        ApprovalDecided: somebody was first; it says what stands.
        ApprovalClosed: the turn was cancelled or has failed, and nobody waits any more.
        ApprovalExpired: nobody decided in time, and this counts as denied.
    """
    # An ended session has no turn that waits, so what became of the turn is told before `admit` refuses.
    approval = next((asked for asked in turn.approvals if asked.id == approval_id), None)
    if approval is None:
        raise errors.UnknownApproval(approval_id)
    if approval.arguments_digest != arguments_digest:
        raise errors.DigestMismatch(approval_id)
    if approval.decision is not None:
        raise errors.ApprovalDecided(approval)
    if turn.state.is_final:
        raise errors.ApprovalClosed(approval_id, state=turn.state)
    admit(head)
    require(turn in head.unfinished, "the turn to decide on is as the head holds it")
    is_over = now >= approval.expires_at
    if is_over and not has_expired:
        raise errors.ApprovalExpired(approval_id)
    require(len(note or "") <= NOTE_CHARACTERS_MAX, "the note of a decision is bounded")
    require(
        not has_expired or (is_over and decision is Decision.DENIED),
        "what expires is denied, and not before its time",
    )

    decided = msgspec.structs.replace(
        approval,
        decision=decision,
        decided_at=now,
        decided_by=actor,
        note=note,
        has_expired=has_expired,
    )
    approvals = tuple(decided if asked.id == approval_id else asked for asked in turn.approvals)
    is_open = any(asked.decision is None for asked in approvals)
    answered = msgspec.structs.replace(
        turn,
        state=TurnState.AWAITING_APPROVAL if is_open else TurnState.PENDING,
        revision=head.session.revision + 1,
        approvals=approvals,
    )
    return written(
        head,
        event=EventType.APPROVAL_DECIDED,
        effects=(Effect(type=EventType.APPROVAL_DECIDED, turn_id=turn.id, approval_id=approval_id),),
        now=now,
        actor=actor,
        header={},
        changed=(answered,),
        decided=decided,
    )
