"""A session held in memory, for tests: what a store does with changes, without a database.

It holds the whole document, applies each change to it and puts it to the law. Short methods (`say`,
`answer`, ...) take a conversation to where a test begins.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from api.session import commands
from api.session.document import (
    FIRST_BRANCH,
    TURN_TRANSITIONS,
    Actor,
    AgentRef,
    Approval,
    ApprovalReason,
    Change,
    Creation,
    Decision,
    Document,
    Event,
    Head,
    Reply,
    Turn,
    TurnError,
    TurnState,
)
from api.session.invariants import check
from api.session.line import Line, line_of

START = datetime(2026, 1, 1, tzinfo=UTC)
ACTOR = Actor(key_id="key_1")
AGENT = AgentRef(id="agt_1", version=3)
ERROR = TurnError(code="provider_unavailable", message="no answer")


def a_reply(text: str = "Hello.") -> Reply:
    return Reply(speaker="Ada", text=text, created_at=START)


def an_approval(number: int = 1, **fields: Any) -> Approval:
    """An open approval, as a runner asks for it; it does not expire while a test runs."""
    asked = {
        "id": f"apv_{number}",
        "asked_by": "stp_1",
        "call_index": number,
        "step_id": f"stp_allowed_{number}",
        "tool": "refund",
        "arguments": {"order": number},
        "arguments_digest": f"digest-{number}",
        "effect": "once",
        "reason": ApprovalReason.REQUIRED,
        "requested_at": START,
        "expires_at": START + timedelta(days=30),
    }
    return Approval(**asked | fields)


def document_of(creation: Creation) -> Document:
    """The document of a session that has just been created."""
    return Document(
        session=creation.session,
        context=creation.context,
        metadata=creation.metadata,
        turns=creation.turns,
        branches=(FIRST_BRANCH,),
        discarded_futures=(),
    )


def applied(document: Document, change: Change) -> Document:
    """The document after a change, taken field by field from what the change says."""
    branches = document.branches + ((change.opened,) if change.opened else ())
    turns = {(turn.branch, turn.position): turn for turn in (*document.turns, *document.discarded_turns)}
    for turn in change.changed:
        before = turns[turn.branch, turn.position]
        assert turn.id == before.id
        # Of several approvals all but the last leave the turn where it is.
        may_stay = change.decided is not None and turn.state is TurnState.AWAITING_APPROVAL
        assert may_stay or turn.state in TURN_TRANSITIONS[before.state], f"{before.state} -> {turn.state}"
        turns[turn.branch, turn.position] = turn
    if change.created:
        place = (change.created.branch, change.created.position)
        assert place not in turns
        turns[place] = change.created

    futures = {future.ordinal: future for future in document.discarded_futures}
    if change.restored is not None:
        del futures[change.restored]
    for future in change.trimmed:
        assert future.branch_point > futures[future.ordinal].branch_point
        futures[future.ordinal] = future
    if change.discarded:
        assert change.discarded.ordinal not in futures
        futures[change.discarded.ordinal] = change.discarded

    on_line = list(line_of(branches, change.session.branch, change.session.turn_count).places())
    return Document(
        session=change.session,
        context=document.context,
        metadata=document.metadata if change.metadata is None else change.metadata,
        turns=tuple(turns[place] for place in on_line),
        branches=branches,
        discarded_futures=tuple(futures[ordinal] for ordinal in sorted(futures)),
        discarded_turns=tuple(turn for place, turn in turns.items() if place not in set(on_line)),
    )


class InMemorySession:
    """One session that commands are run on, one after the other."""

    def __init__(self, *, greeting: commands.PendingGreeting | commands.FixedGreeting | None = None) -> None:
        self._ids = (f"trn_{number}" for number in count(1))
        self._now = START
        creation = commands.create(
            session_id="ses_1",
            agent=AGENT,
            name=None,
            context={"city": "Turin"},
            metadata={},
            now=self._now,
            actor=ACTOR,
            greeting=greeting,
        )
        self.document = document_of(creation)
        self.events: list[Event] = list(creation.events)
        check(self.document)

    @property
    def head(self) -> Head:
        return Head(
            session=self.document.session,
            unfinished=tuple(turn for turn in self.document.turns if not turn.state.is_final),
        )

    @property
    def line(self) -> Line:
        session = self.document.session
        return line_of(self.document.branches, session.branch, session.turn_count)

    @property
    def turn_ids(self) -> list[str]:
        return [turn.id for turn in self.document.turns]

    def new_turn_id(self) -> str:
        return next(self._ids)

    def turn(self, turn_id: str) -> Turn:
        return next(
            turn for turn in (*self.document.turns, *self.document.discarded_turns) if turn.id == turn_id
        )

    def run(self, command: Callable[..., Change], **arguments: Any) -> Change:
        """Run a command on the head, apply what it says, and hold the result to the law."""
        self._now += timedelta(seconds=1)
        revision = self.document.session.revision
        given = {"now": self._now, "actor": ACTOR} | arguments
        change = command(self.head, **given)
        assert change.session.revision == change.event.revision == revision + 1
        assert change.session.updated_at == change.event.at == given["now"]
        self.document = applied(self.document, change)
        self.events.append(change.event)
        check(self.document)
        return change

    def say(self, text: str = "Hi.", **arguments: Any) -> Change:
        return self.run(
            commands.append,
            **{"turn_id": self.new_turn_id(), "speaker": None, "line": self.line} | arguments,
            text=text,
        )

    def answer(self, text: str = "Hello.", **arguments: Any) -> Change:
        return self.run(
            commands.complete,
            **{"turn_id": self.document.session.active_turn_id, "steps": (), "usage": None} | arguments,
            replies=(a_reply(text),),
        )

    def talk(self, turns: int) -> None:
        """Say something and have it answered, so many times."""
        for _ in range(turns):
            self.say()
            self.answer()

    def fail(self, **arguments: Any) -> Change:
        return self.run(
            commands.fail,
            **{
                "turn_id": self.document.session.active_turn_id,
                "error": ERROR,
                "steps": (),
                "usage": None,
            }
            | arguments,
        )

    def ask(self, *approvals: Approval, **arguments: Any) -> Change:
        """Let the active turn wait for these approvals, or for one."""
        return self.run(
            commands.request_approvals,
            **{
                "turn_id": self.document.session.active_turn_id,
                "approvals": approvals or (an_approval(),),
                "steps": (),
                "usage": None,
            }
            | arguments,
        )

    def decide(
        self, approval_id: str = "apv_1", decision: Decision = Decision.APPROVED, **arguments: Any
    ) -> Change:
        """Decide about an approval of the active turn, unless another is named."""
        turn = self.turn(arguments.pop("turn", None) or self.document.session.active_turn_id or "trn_1")
        digests = {approval.id: approval.arguments_digest for approval in turn.approvals}
        return self.run(
            commands.decide,
            **{"arguments_digest": digests.get(approval_id, ""), "note": None} | arguments,
            turn=turn,
            approval_id=approval_id,
            decision=decision,
        )

    def cancel(self, turn_id: str, **arguments: Any) -> Change:
        return self.run(commands.cancel, turn=self.turn(turn_id), **arguments)

    def rewind(self, to: int, **arguments: Any) -> Change:
        return self.run(commands.rewind, to=to, **arguments)

    def restore(self, ordinal: int, **arguments: Any) -> Change:
        return self.run(
            commands.restore,
            ordinal=ordinal,
            futures=self.document.discarded_futures,
            branches=self.document.branches,
            **arguments,
        )

    def regenerate(self, turn: str, text: str | None = None, **arguments: Any) -> Change:
        return self.run(
            commands.regenerate,
            **{"turn_id": self.new_turn_id(), "line": self.line} | arguments,
            turn=self.turn(turn),
            text=text,
        )

    def retry(self, turn: str, **arguments: Any) -> Change:
        return self.run(
            commands.retry,
            **{"turn_id": self.new_turn_id(), "line": self.line} | arguments,
            turn=self.turn(turn),
        )

    def update(self, **arguments: Any) -> Change:
        return self.run(commands.update, **arguments)

    def end(self, resolution: str | None = None, **arguments: Any) -> Change:
        return self.run(commands.end, resolution=resolution, **arguments)
