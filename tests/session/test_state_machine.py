"""The core against the model over thousands of steps, and proof that the machine can fail."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis.stateful import run_state_machine_as_test

from api.session import commands
from api.session.commands import _writing, conversation, rewinding, running
from api.session.document import Branch, Change, Head, Session, TurnState
from api.session.errors import InvariantViolated
from api.session.line import Line
from tests.session.machine import SessionMachine, settings_for, steps_wanted

STEPS_TO_FIND_A_MUTANT = 2_000


def test_core_and_model_agree_at_every_step() -> None:
    SessionMachine.steps_taken = 0

    run_state_machine_as_test(SessionMachine, settings=settings_for(steps_wanted()))

    assert SessionMachine.steps_taken >= steps_wanted()


def mutant_restore_that_does_not_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewinding, "_trimmed", lambda *_, **__: ())


def mutant_restore_that_trims_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewinding, "common_prefix", lambda a, b: max(a.segments[-1].first, 1))


def mutant_append_that_discards_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "discard_from", lambda *_, **__: None)


def mutant_append_that_stays_on_the_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(head: Head, **arguments: Any) -> Change:
        change = real(head, **arguments)
        session = msgspec.structs.replace(change.session, branch=head.session.branch)
        return msgspec.structs.replace(change, session=session)

    real = commands.append
    monkeypatch.setattr(commands, "append", append)


def mutant_append_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "UNFINISHED_MAX", 100)


def mutant_rewind_that_cancels_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewinding, "cancelled", lambda *_, **__: ())


def mutant_rewind_that_cancels_the_active_turn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = _writing.cancelled
    monkeypatch.setattr(rewinding, "cancelled", lambda turns, **rest: real(turns[:1], **rest))


def mutant_branch_whose_parent_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def branch_off(session: Session, *, point: int, line: Line | None) -> Branch:
        parent = session.branch if point else None
        return Branch(number=session.branch_count, parent=parent, branch_point=point)

    monkeypatch.setattr(conversation, "branch_off", branch_off)
    monkeypatch.setattr(rewinding, "branch_off", branch_off)


def mutant_rewind_that_forgets_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def rewind(head: Head, **arguments: Any) -> Change:
        return real(head, **(arguments | {"node": None, "variables": None}))

    real = commands.rewind
    monkeypatch.setattr(commands, "rewind", rewind)


def mutant_decide_that_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(head: Head, **arguments: Any) -> Change:
        change = real(head, **arguments)
        (turn,) = change.changed
        pending = msgspec.structs.replace(turn, state=TurnState.PENDING)
        return msgspec.structs.replace(change, changed=(pending,))

    real = commands.decide
    monkeypatch.setattr(commands, "decide", decide)


def mutant_complete_that_ends_the_session_over_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "cancelled", lambda *_, **__: ())


@pytest.mark.parametrize(
    "mutant",
    [
        mutant_restore_that_does_not_trim,
        mutant_restore_that_trims_too_much,
        mutant_append_that_discards_nothing,
        mutant_append_that_stays_on_the_branch,
        mutant_append_without_a_limit,
        mutant_rewind_that_cancels_nothing,
        mutant_rewind_that_cancels_the_active_turn_alone,
        mutant_branch_whose_parent_is_the_current_one,
        mutant_rewind_that_forgets_the_node,
        mutant_decide_that_does_not_wait_for_the_others,
        mutant_complete_that_ends_the_session_over_a_queue,
    ],
)
def test_the_machine_catches_a_mutant(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)

    with pytest.raises((AssertionError, InvariantViolated)):
        run_state_machine_as_test(SessionMachine, settings=settings_for(STEPS_TO_FIND_A_MUTANT, shrink=False))
