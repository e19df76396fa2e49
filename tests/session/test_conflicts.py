"""What a stale caller is advised to do."""

import pytest

from api.session.conflicts import Advice, advise
from api.session.document import SessionState
from tests.session.in_memory import InMemorySession


def renamed(session: InMemorySession) -> None:
    session.update(name="Demo")
    session.update(metadata={"ticket": 7})


def test_after_updates_alone_the_caller_sends_it_with_the_new_revision() -> None:
    session = InMemorySession()
    seen = len(session.events)
    renamed(session)

    assert advise(SessionState.OPEN, session.events[seen:]) is Advice.RESUBMIT


def test_when_the_line_moved_too_the_caller_looks_first() -> None:
    session = InMemorySession()
    seen = len(session.events)
    renamed(session)
    session.say()

    assert advise(SessionState.OPEN, session.events[seen:]) is Advice.REBASE


def test_a_rewind_is_a_reason_to_look_first() -> None:
    session = InMemorySession()
    session.talk(1)
    seen = len(session.events)
    session.rewind(0)

    assert advise(SessionState.OPEN, session.events[seen:]) is Advice.REBASE


def test_a_caller_of_a_revision_that_never_was_looks_first() -> None:
    assert advise(SessionState.OPEN, []) is Advice.REBASE


@pytest.mark.parametrize("updates", [0, 1])
def test_an_ended_session_is_abandoned_whatever_else_happened(updates: int) -> None:
    session = InMemorySession()
    seen = len(session.events)
    for _ in range(updates):
        renamed(session)
    session.end()

    assert advise(SessionState.ENDED, session.events[seen:]) is Advice.ABANDON


def test_who_would_rename_looks_first_after_another_rename_and_not_after_a_turn() -> None:
    session = InMemorySession()
    seen = len(session.events)
    session.talk(1)
    after_turn = session.events[seen:]
    renamed(session)

    assert advise(SessionState.OPEN, after_turn, judges_header=True) is Advice.RESUBMIT
    assert advise(SessionState.OPEN, session.events[seen:], judges_header=True) is Advice.REBASE
