"""Every refusal: its code, and that it changes nothing."""

from collections.abc import Callable

import msgspec
import pytest

from api.session import errors
from api.session.commands import FixedGreeting, IfActive, fork
from api.session.document import APPROVALS_MAX, VARIABLES_BYTES_MAX, TurnState
from tests.session.in_memory import ACTOR, START, InMemorySession, an_approval
from tests.session.test_approving import awaiting_approval
from tests.session.test_running import with_queue


def talked(turns: int) -> InMemorySession:
    session = InMemorySession()
    session.talk(turns)
    return session


def failed() -> InMemorySession:
    session = talked(1)
    session.say()
    session.fail()
    return session


def branched() -> InMemorySession:
    """trn_2 lies in discarded future 1."""
    session = talked(2)
    session.rewind(1)
    session.talk(1)
    return session


def greeted() -> InMemorySession:
    return InMemorySession(greeting=FixedGreeting(turn_id="trn_0", speaker="Ada", text="Hello."))


def ended() -> InMemorySession:
    session = branched()
    session.end()
    return session


def cancelled() -> InMemorySession:
    session = with_queue(0)
    session.cancel("trn_1")
    return session


def decided() -> InMemorySession:
    session = awaiting_approval()
    session.decide()
    return session


def cancelled_while_waiting() -> InMemorySession:
    session = awaiting_approval()
    session.cancel("trn_1")
    return session


def ended_while_waiting() -> InMemorySession:
    session = awaiting_approval()
    session.end()
    return session


def expired() -> InMemorySession:
    return awaiting_approval(an_approval(expires_at=START))


def fork_all(session: InMemorySession) -> object:
    return fork(
        session.document.session,
        session.document.turns,
        session_id="ses_2",
        turn_ids=["trn_x"],
        context={},
        metadata={},
        now=START,
        actor=ACTOR,
    )


def code_of(reason: type[Exception]) -> str:
    code: str = vars(reason)["code"]
    return code


too_large = {"x": "x" * VARIABLES_BYTES_MAX}

REFUSALS: list[tuple[str, Callable[[], InMemorySession], Callable[[InMemorySession], object]]] = [
    ("session-ended", ended, lambda s: s.say()),
    ("session-ended", ended, lambda s: s.update(name="x")),
    ("session-ended", ended, lambda s: s.end()),
    ("session-ended", ended, lambda s: s.rewind(0)),
    ("session-ended", ended, lambda s: s.restore(1)),
    ("session-ended", ended, lambda s: s.regenerate("trn_1")),
    ("session-ended", ended, lambda s: s.retry("trn_1")),
    ("session-ended", ended, lambda s: s.answer(turn_id="trn_1")),
    ("session-ended", ended, lambda s: s.fail(turn_id="trn_1")),
    ("session-ended", ended, lambda s: s.cancel("trn_1")),
    ("turn-active", lambda: with_queue(0), lambda s: s.say()),
    ("queue-full", lambda: with_queue(8), lambda s: s.say(if_active=IfActive.ENQUEUE)),
    ("cursor-out-of-range", lambda: talked(1), lambda s: s.rewind(-1)),
    ("cursor-out-of-range", lambda: talked(1), lambda s: s.rewind(2)),
    ("cursor-out-of-range", lambda: with_queue(0), lambda s: s.rewind(2)),
    ("turn-not-on-line", branched, lambda s: s.regenerate("trn_2")),
    ("turn-not-on-line", branched, lambda s: s.retry("trn_2")),
    ("greeting-has-no-user-message", greeted, lambda s: s.regenerate("trn_0", "Hi.")),
    ("turn-not-retryable", lambda: talked(1), lambda s: s.retry("trn_1")),
    ("turn-not-retryable", failed, lambda s: s.retry("trn_1")),
    ("turn-not-retryable", lambda: with_queue(0), lambda s: s.retry("trn_1")),
    ("unknown-future", branched, lambda s: s.restore(2)),
    ("unknown-future", branched, lambda s: s.restore(0)),
    ("turn-not-active", lambda: with_queue(1), lambda s: s.answer(turn_id="trn_2")),
    ("turn-not-active", lambda: with_queue(1), lambda s: s.fail(turn_id="trn_2")),
    ("turn-not-active", lambda: talked(1), lambda s: s.answer(turn_id="trn_1")),
    ("turn-awaits-approval", awaiting_approval, lambda s: s.answer()),
    ("turn-awaits-approval", awaiting_approval, lambda s: s.ask(an_approval(2))),
    ("turn-not-active", lambda: with_queue(1), lambda s: s.ask(turn_id="trn_2")),
    ("session-ended", ended, lambda s: s.ask(turn_id="trn_1")),
    (
        "too-many-approvals",
        lambda: with_queue(0),
        lambda s: s.ask(*map(an_approval, range(APPROVALS_MAX + 1))),
    ),
    ("unknown-approval", awaiting_approval, lambda s: s.decide("apv_2")),
    ("unknown-approval", lambda: with_queue(0), lambda s: s.decide("apv_1")),
    ("digest-mismatch", awaiting_approval, lambda s: s.decide(arguments_digest="digest-2")),
    ("digest-mismatch", decided, lambda s: s.decide(arguments_digest="digest-2")),
    ("approval-decided", decided, lambda s: s.decide()),
    ("approval-closed", cancelled_while_waiting, lambda s: s.decide(turn="trn_1")),
    ("approval-closed", ended_while_waiting, lambda s: s.decide(turn="trn_1")),
    ("approval-expired", expired, lambda s: s.decide()),
    ("turn-final", lambda: talked(1), lambda s: s.cancel("trn_1")),
    ("turn-final", failed, lambda s: s.cancel("trn_2")),
    ("turn-unfinished", lambda: with_queue(0), fork_all),
    ("variables-too-large", lambda: with_queue(0), lambda s: s.answer(variables=too_large)),
    ("already-cancelled", cancelled, lambda s: s.cancel("trn_1")),
]


@pytest.mark.parametrize(("code", "session_as", "command"), REFUSALS)
def test_a_refusal_changes_nothing(
    code: str,
    session_as: Callable[[], InMemorySession],
    command: Callable[[InMemorySession], object],
) -> None:
    session = session_as()
    document, stored, events = session.document, msgspec.json.encode(session.document), len(session.events)

    with pytest.raises((errors.CommandRefused, errors.AlreadyCancelled)) as refusal:
        command(session)

    assert code_of(type(refusal.value)) == code
    assert session.document is document
    assert msgspec.json.encode(session.document) == stored
    assert len(session.events) == events


def test_every_reason_is_shown_above() -> None:
    reasons = {*errors.CommandRefused.__subclasses__(), errors.AlreadyCancelled}
    # The core knows neither settings nor rules: there the store refuses in its words.
    reasons -= {errors.MetadataTooLarge, errors.NoStandingDecision}

    assert {code_of(reason) for reason in reasons} == {code for code, _, _ in REFUSALS}


def test_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    words = errors.__doc__.split()

    for reason in errors.CommandRefused.__subclasses__():
        assert words[words.index(reason.__name__) + 1] == reason.code


def test_too_large_metadata_says_how_large() -> None:
    refusal = errors.MetadataTooLarge(size_bytes=70, bytes_max=64)

    assert str(refusal) == "the metadata would take 70 bytes of JSON; 64 are allowed"
    assert (refusal.size_bytes, refusal.bytes_max) == (70, 64)


def test_a_decision_that_cannot_stand_says_of_which_approval() -> None:
    refusal = errors.NoStandingDecision("apv_1")

    assert str(refusal) == "approval apv_1 is about one call whose outcome is unknown, not about its tool"
    assert refusal.approval_id == "apv_1"


def test_a_refusal_tells_its_fields() -> None:
    refusal = errors.TurnNotRetryable("trn_1", state=TurnState.COMPLETED, is_last=False)

    assert str(refusal) == "turn trn_1 cannot be retried: it is completed and not the last turn in effect"
    assert (refusal.turn_id, refusal.state, refusal.is_last) == ("trn_1", TurnState.COMPLETED, False)
