"""The law of a session, one line per clause.

`check` judges a whole document. `check_session` and `check_turn` judge what a header and a turn say of
themselves; `codec` applies them to whatever it has read.
"""

from itertools import chain
from typing import Any

import msgspec

from api.session.document import (
    APPROVALS_MAX,
    FIRST_BRANCH,
    NOTE_CHARACTERS_MAX,
    UNFINISHED_MAX,
    VARIABLES_BYTES_MAX,
    Approval,
    Decision,
    Document,
    Session,
    SessionState,
    Turn,
    TurnState,
)
from api.session.errors import InvariantViolated
from api.session.line import line_of


def require(holds: bool, clause: str) -> None:
    """Raise InvariantViolated, naming the clause, unless it holds."""
    if not holds:
        raise InvariantViolated(clause)


def fits(variables: dict[str, Any] | None) -> bool:
    """Whether a turn may store these variables."""
    return len(msgspec.json.encode(variables)) <= VARIABLES_BYTES_MAX


def check(document: Document) -> None:
    """Raise InvariantViolated, naming the clause, unless every clause holds."""
    check_session(document.session)
    for turn in chain(document.turns, document.discarded_turns):
        check_turn(turn)
    # Branches come first: the later clauses walk them.
    _check_branches(document)
    _check_line(document)
    _check_unfinished(document)
    _check_futures(document)
    _check_standing(document)


def check_session(session: Session) -> None:
    """The clauses that a header can be held to alone."""
    is_active = session.unfinished_count > 0
    is_ended = session.state is SessionState.ENDED
    require(session.revision >= 1, "revisions begin at 1")
    require(0 <= session.cursor <= session.turn_count, "the cursor is on the line")
    require(0 <= session.unfinished_count <= UNFINISHED_MAX, "the queue is bounded")
    require((session.active_turn_id is not None) == is_active, "a turn is active while any is unfinished")
    require(not is_active or session.cursor == session.turn_count, "unfinished turns are in effect")
    require(0 <= session.branch < session.branch_count, "the current branch has been opened")
    require(session.discarded_count >= session.branch_count - 1, "opening a branch discards a future")
    require((session.ended_at is not None) == is_ended, "an ended session says when, an open one does not")
    require(not (is_ended and is_active), "an ended session has no unfinished turn")
    require(is_ended or session.resolution is None, "an open session has no resolution")
    require(fits(session.variables), "the variables are bounded")


def check_turn(turn: Turn) -> None:
    """The clauses that a turn can be held to alone."""
    require(turn.position >= 0 and turn.branch >= 0 and turn.revision >= 1, "a turn has place and revision")
    require((turn.finished_at is not None) == turn.state.is_final, "a final turn says when, no other does")
    require((turn.error is not None) == (turn.state is TurnState.FAILED), "only a failed turn says why")
    require((turn.node is None) == (turn.variables is None), "node and variables are stored together")
    require(turn.state is not TurnState.FAILED or turn.node is None, "a failed turn changes no node")
    require(fits(turn.variables), "the variables of a turn are bounded")
    require(turn.copied_from is None or turn.usage is None, "a copied turn has no usage")
    for approval in turn.approvals:
        check_approval(approval)
    require(are_distinct(turn.approvals), "approvals and the steps that they allow are not reused")
    undecided = sum(approval.decision is None for approval in turn.approvals)
    is_waiting = turn.state is TurnState.AWAITING_APPROVAL
    require(not is_waiting or undecided > 0, "a turn that awaits approval has an open one")
    require(
        is_waiting or undecided == 0 or turn.state in (TurnState.FAILED, TurnState.CANCELLED),
        "a turn goes on when its approvals are decided",
    )
    require(undecided <= APPROVALS_MAX, "the open approvals of a turn are bounded")


def check_approval(approval: Approval) -> None:
    """The clauses that an approval can be held to alone."""
    is_decided = approval.decision is not None
    require((approval.decided_at is not None) == is_decided, "a decision says when, no decision does not")
    require((approval.decided_by is not None) == is_decided, "a decision says who, no decision does not")
    require(is_decided or approval.note is None, "a note belongs to a decision")
    require(len(approval.note or "") <= NOTE_CHARACTERS_MAX, "the note of a decision is bounded")
    require(
        not approval.has_expired or approval.decision is Decision.DENIED, "what has expired counts as denied"
    )


def are_distinct(approvals: tuple[Approval, ...]) -> bool:
    """Whether no two have the same id, and no two allow the same step."""
    ids, steps = ({a.id for a in approvals}, {a.step_id for a in approvals})
    return len(ids) == len(steps) == len(approvals)


def _check_branches(document: Document) -> None:
    branches = document.branches
    require([b.number for b in branches] == list(range(document.session.branch_count)), "branches are dense")
    require(branches[0] == FIRST_BRANCH, "the first branch begins the line")
    for branch in branches:
        if branch.parent is None:
            require(branch.branch_point == 0, "a branch without parent begins at position 0")
        else:
            require(0 <= branch.parent < branch.number, "a parent was opened before its branch")
            parent = branches[branch.parent]
            require(parent.branch_point < branch.branch_point, "a parent holds the position below its branch")


def _check_line(document: Document) -> None:
    session, turns = document.session, document.turns
    line = line_of(document.branches, session.branch, session.turn_count)
    require([turn.position for turn in turns] == list(range(session.turn_count)), "positions are dense")
    require([(t.branch, t.position) for t in turns] == list(line.places()), "the line is its branches")
    require(not turns or turns[-1].branch == session.branch, "the current branch holds the end of the line")


def _check_unfinished(document: Document) -> None:
    session = document.session
    unfinished = [turn for turn in document.turns if not turn.state.is_final]
    require(len(unfinished) == session.unfinished_count, "the header counts the unfinished turns")
    if not unfinished:
        return
    active, *queued = unfinished
    # The turns that are not final form a suffix of the line, but for queued ones that were cancelled alone:
    # they keep their place, since no turn is ever re-keyed.
    tail = [turn.state for turn in document.turns[active.position :] if turn.state.is_final]
    require(set(tail) <= {TurnState.CANCELLED}, "behind the active turn every final turn is cancelled")
    require(active.id == session.active_turn_id, "the first unfinished turn is the active one")
    require({turn.state for turn in queued} <= {TurnState.PENDING}, "a queued turn is pending")
    require(
        {turn.branch for turn in unfinished} == {session.branch}, "the unfinished are on the current branch"
    )


def _check_futures(document: Document) -> None:
    session, futures = document.session, document.discarded_futures
    ordinals = [future.ordinal for future in futures]
    require(ordinals == sorted(set(ordinals)), "ordinals are not reused")
    require(all(1 <= ordinal <= session.discarded_count for ordinal in ordinals), "ordinals have been given")
    require(all(future.turn_count >= 1 for future in futures), "a future keeps at least one turn")
    others = [number for number in range(session.branch_count) if number != session.branch]
    require(sorted(f.branch for f in futures) == others, "every branch but the current one ends one future")

    discarded = sorted((turn.branch, turn.position) for turn in document.discarded_turns)
    kept = [
        place
        for future in futures
        for place in line_of(document.branches, future.branch, future.line_count).places(future.branch_point)
    ]
    require(discarded == sorted(kept), "every discarded turn is in exactly one future")
    require(all(turn.state.is_final for turn in document.discarded_turns), "discarded turns are final")

    tops = {future.branch: future.line_count for future in futures} | {session.branch: session.turn_count}
    ever = [(b.number, p) for b in document.branches for p in range(b.branch_point, tops[b.number])]
    on_line = [(turn.branch, turn.position) for turn in document.turns]
    require(sorted(on_line + discarded) == ever, "every turn is on the line or in a future, and none in both")
    ids = [turn.id for turn in chain(document.turns, document.discarded_turns)]
    require(len(ids) == len(set(ids)), "turn ids are not reused")
    revisions = [turn.revision for turn in chain(document.turns, document.discarded_turns)]
    require(max(revisions, default=1) <= session.revision, "no turn is newer than its session")


def _check_standing(document: Document) -> None:
    session = document.session
    storing = [turn for turn in document.turns[: session.cursor] if turn.node is not None]
    if storing:
        require(session.node == storing[-1].node, "the node is that of the newest turn in effect")
        require(session.variables == storing[-1].variables, "the variables are those of that turn")
