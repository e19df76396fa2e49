"""Every clause of the law can be broken, and is then named."""

import ast
import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from api.session import invariants
from api.session.commands import IfActive
from api.session.document import (
    APPROVALS_MAX,
    NOTE_CHARACTERS_MAX,
    UNFINISHED_MAX,
    VARIABLES_BYTES_MAX,
    Approval,
    Branch,
    Decision,
    Document,
    SessionState,
    TurnState,
    Usage,
)
from api.session.errors import InvariantViolated
from tests.session.in_memory import ACTOR, ERROR, START, InMemorySession, an_approval

replace = msgspec.structs.replace
TOO_LARGE = {"x": "x" * VARIABLES_BYTES_MAX}


def lawful() -> Document:
    """Two branches, a future of two turns, an active turn, and a queued one.

    trn_1 and trn_4 are completed and in effect, trn_2 and trn_3 discarded, trn_5 active, trn_6 queued.
    """
    session = InMemorySession()
    session.say()
    session.answer(node="lobby", variables={"x": 1})
    session.talk(2)
    session.rewind(1)
    session.talk(1)
    session.say()
    session.say(if_active=IfActive.ENQUEUE)
    return session.document


def header(**fields: Any) -> Callable[[Document], Document]:
    return lambda document: replace(document, session=replace(document.session, **fields))


def turn(at: int, /, **fields: Any) -> Callable[[Document], Document]:
    def broken(document: Document) -> Document:
        turns = list(document.turns)
        turns[at] = replace(turns[at], **fields)
        return replace(document, turns=tuple(turns))

    return broken


def waiting(*approvals: Approval) -> Callable[[Document], Document]:
    return turn(2, state=TurnState.AWAITING_APPROVAL, approvals=approvals)


def asked(**fields: Any) -> Callable[[Document], Document]:
    return waiting(an_approval(**fields))


def denied(**fields: Any) -> Callable[[Document], Document]:
    decided = {"decision": Decision.DENIED, "decided_at": START, "decided_by": ACTOR}
    return turn(2, approvals=(an_approval(**decided | fields),))


def asked_twice(**fields: Any) -> Callable[[Document], Document]:
    return waiting(an_approval(1), an_approval(2, **fields))


def discarded_turn(**fields: Any) -> Callable[[Document], Document]:
    def broken(document: Document) -> Document:
        first, *rest = document.discarded_turns
        return replace(document, discarded_turns=(replace(first, **fields), *rest))

    return broken


def future(**fields: Any) -> Callable[[Document], Document]:
    return lambda document: replace(
        document, discarded_futures=(replace(document.discarded_futures[0], **fields),)
    )


def branches(*branches: tuple[int | None, int]) -> Callable[[Document], Document]:
    return lambda document: replace(
        document,
        branches=tuple(
            Branch(number=number, parent=parent, branch_point=point)
            for number, (parent, point) in enumerate(branches)
        ),
    )


def both(*breaks: Callable[[Document], Document]) -> Callable[[Document], Document]:
    def broken(document: Document) -> Document:
        for one in breaks:
            document = one(document)
        return document

    return broken


def a_second_future(document: Document) -> Document:
    (first,) = document.discarded_futures
    return replace(document, discarded_futures=(first, replace(first, ordinal=1)))


def a_line_that_stops_below_its_branch(document: Document) -> Document:
    stopped = header(turn_count=1, cursor=1, unfinished_count=0, active_turn_id=None)
    return replace(stopped(document), turns=document.turns[:1])


def a_turn_too_many(document: Document) -> Document:
    extra = replace(document.discarded_turns[0], id="trn_9", position=9)
    return replace(document, discarded_turns=(*document.discarded_turns, extra))


def a_turn_on_the_line_and_in_a_future(document: Document) -> Document:
    shared = document.turns[0]
    kept = replace(document.discarded_futures[0], branch_point=0)
    return replace(document, discarded_futures=(kept,), discarded_turns=(shared, *document.discarded_turns))


BREAKS: list[tuple[str, Callable[[Document], Document]]] = [
    ("revisions begin at 1", header(revision=0)),
    ("the cursor is on the line", header(cursor=-1)),
    ("the cursor is on the line", header(cursor=5)),
    ("the queue is bounded", header(unfinished_count=UNFINISHED_MAX + 1)),
    ("a turn is active while any is unfinished", header(active_turn_id=None)),
    ("a turn is active while any is unfinished", header(unfinished_count=0)),
    ("unfinished turns are in effect", header(cursor=3)),
    ("the current branch has been opened", header(branch=2)),
    ("opening a branch discards a future", header(discarded_count=0)),
    ("an ended session says when, an open one does not", header(ended_at=START)),
    ("an ended session says when, an open one does not", header(state=SessionState.ENDED)),
    ("an ended session has no unfinished turn", header(state=SessionState.ENDED, ended_at=START)),
    ("an open session has no resolution", header(resolution="solved")),
    ("the variables are bounded", header(variables=TOO_LARGE)),
    ("a turn has place and revision", turn(0, position=-1)),
    ("a turn has place and revision", turn(0, branch=-1)),
    ("a turn has place and revision", turn(0, revision=0)),
    ("a final turn says when, no other does", turn(0, finished_at=None)),
    ("a final turn says when, no other does", turn(2, finished_at=START)),
    ("only a failed turn says why", turn(0, error=ERROR)),
    ("only a failed turn says why", turn(0, state=TurnState.FAILED)),
    ("node and variables are stored together", turn(0, variables=None)),
    ("a failed turn changes no node", turn(0, state=TurnState.FAILED, error=ERROR)),
    ("the variables of a turn are bounded", turn(0, variables=TOO_LARGE)),
    ("a copied turn has no usage", discarded_turn(copied_from="trn_x", usage=Usage())),
    ("a decision says when, no decision does not", asked(decided_at=START)),
    ("a decision says who, no decision does not", asked(decided_by=ACTOR)),
    ("a note belongs to a decision", asked(note="No.")),
    ("the note of a decision is bounded", denied(note="x" * (NOTE_CHARACTERS_MAX + 1))),
    ("what has expired counts as denied", denied(decision=Decision.APPROVED, has_expired=True)),
    ("approvals and the steps that they allow are not reused", asked_twice(id="apv_1")),
    ("approvals and the steps that they allow are not reused", asked_twice(step_id="stp_allowed_1")),
    ("a turn that awaits approval has an open one", turn(2, state=TurnState.AWAITING_APPROVAL)),
    ("a turn goes on when its approvals are decided", turn(2, approvals=(an_approval(),))),
    ("a turn goes on when its approvals are decided", turn(0, approvals=(an_approval(),))),
    (
        "the open approvals of a turn are bounded",
        waiting(*(an_approval(number) for number in range(APPROVALS_MAX + 1))),
    ),
    ("branches are dense", branches((None, 0))),
    ("the first branch begins the line", branches((None, 1), (0, 1))),
    ("a branch without parent begins at position 0", branches((None, 0), (None, 1))),
    ("a parent was opened before its branch", branches((None, 0), (1, 1))),
    ("a parent holds the position below its branch", branches((None, 0), (0, 0))),
    ("positions are dense", turn(1, position=2)),
    ("the line is its branches", turn(1, branch=0)),
    ("the current branch holds the end of the line", a_line_that_stops_below_its_branch),
    ("the header counts the unfinished turns", header(unfinished_count=1)),
    (
        "behind the active turn every final turn is cancelled",
        both(turn(3, state=TurnState.COMPLETED, finished_at=START), header(unfinished_count=1)),
    ),
    (
        "the unfinished are on the current branch",
        both(
            turn(0, state=TurnState.PENDING, finished_at=None),
            turn(1, state=TurnState.CANCELLED),
            header(unfinished_count=3, active_turn_id="trn_1"),
        ),
    ),
    ("the first unfinished turn is the active one", header(active_turn_id="trn_6")),
    (
        "a queued turn is pending",
        turn(3, state=TurnState.AWAITING_APPROVAL, approvals=(an_approval(),)),
    ),
    ("ordinals are not reused", a_second_future),
    ("ordinals have been given", future(ordinal=2)),
    ("ordinals have been given", future(ordinal=0)),
    ("a future keeps at least one turn", future(line_count=1)),
    ("every branch but the current one ends one future", future(branch=1)),
    ("every discarded turn is in exactly one future", a_turn_too_many),
    ("discarded turns are final", discarded_turn(state=TurnState.PENDING, finished_at=None)),
    ("every turn is on the line or in a future, and none in both", a_turn_on_the_line_and_in_a_future),
    ("turn ids are not reused", discarded_turn(id="trn_1")),
    ("no turn is newer than its session", discarded_turn(revision=99)),
    ("the node is that of the newest turn in effect", header(node="garden")),
    ("the variables are those of that turn", header(variables={"x": 2})),
]


def test_a_lawful_document_passes() -> None:
    invariants.check(lawful())


@pytest.mark.parametrize(("clause", "broken"), BREAKS)
def test_a_broken_clause_is_named(clause: str, broken: Callable[[Document], Document]) -> None:
    with pytest.raises(InvariantViolated) as violation:
        invariants.check(broken(lawful()))

    assert violation.value.clause == clause


def test_every_clause_is_broken_above() -> None:
    clauses = set()
    for node in ast.walk(ast.parse(inspect.getsource(invariants))):
        match node:
            case ast.Call(func=ast.Name(id="require"), args=[_, ast.Constant(value=clause)]):
                clauses.add(clause)

    assert clauses == {clause for clause, _ in BREAKS}
