"""A Hypothesis state machine that drives the core and the model side by side and compares them."""

import os
from collections.abc import Callable, Iterator
from itertools import count, zip_longest
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from api.session import commands
from api.session.document import Change, Decision, Document, Turn
from api.session.errors import AlreadyCancelled, CommandRefused
from api.session.invariants import check
from tests.scale import scaled
from tests.session.in_memory import ACTOR, START, InMemorySession, an_approval, document_of
from tests.session.model import Model, ModelRefused, ModelTurn

STEPS_PER_EXAMPLE = 50
ORDINAL_MAX_TRIED = 12

indexes = st.integers(min_value=0, max_value=99)
"""Which of the candidates: taken modulo their number, so that every draw is of use."""
words = st.sampled_from(["one", "two", "three"])
texts = st.none() | words
policies = st.sampled_from(["enqueue", "enqueue", "interrupt", "reject"])
decisions = st.sampled_from(["approved", "denied"])
nodes = st.none() | st.sampled_from(["lobby", "garden"])
variables = st.none() | st.dictionaries(st.sampled_from("xy"), st.integers(0, 9), max_size=2)
cuts = st.none() | st.builds(ModelTurn, st.none(), st.none(), st.just("lobby"), st.just({"x": 1}))
"""What the run of the active turn has brought when it is cancelled: nothing, or another node."""


def steps_wanted() -> int:
    """How many steps to take in total; `TURNLEDGER_TEST_STEPS` asks for more or fewer."""
    return int(os.environ.get("TURNLEDGER_TEST_STEPS", scaled(short=10_000, long=100_000)))


def settings_for(steps: int, *, shrink: bool = True) -> settings:
    """The same steps on every run, about so many of them."""
    return settings(
        # An example may stop early; a few more of them make up for it.
        max_examples=-(-steps * 5 // (STEPS_PER_EXAMPLE * 4)),
        stateful_step_count=STEPS_PER_EXAMPLE,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


class SessionMachine(RuleBasedStateMachine):
    """One session, commanded at random, lawfully and not; the core must do and refuse what the model does."""

    steps_taken = 0
    """Over all examples, so that a test can tell that the machine did run."""

    def __init__(self) -> None:
        super().__init__()
        self.session = InMemorySession()
        self.model = Model()
        self.fork_ids: Iterator[str] = (f"trn_copy_{number}" for number in count(1))
        self.approval_numbers = count(1)

    @initialize(kind=st.sampled_from(["none", "pending", "fixed"]))
    def begin(self, kind: str) -> None:
        if kind == "none":
            return
        greeting = (
            commands.PendingGreeting(turn_id="trn_0")
            if kind == "pending"
            else commands.FixedGreeting(turn_id="trn_0", speaker="Ada", text="Hello.")
        )
        self.session = InMemorySession(greeting=greeting)
        state = "pending" if kind == "pending" else "completed"
        self.model = Model(
            line=["trn_0"], cursor=1, turns={"trn_0": ModelTurn(text=None, state=state)}, revision=2
        )

    @rule(text=words, if_active=policies, cut=cuts)
    def append(self, text: str, if_active: str, cut: ModelTurn | None) -> None:
        new = self.session.new_turn_id()
        self.both(
            lambda model: model.append(new, text, if_active, cut),
            lambda: self.session.say(
                text, turn_id=new, if_active=commands.IfActive(if_active), partial=partial_of(cut)
            ),
        )

    @rule(answers=st.integers(1, 4))
    def talk(self, answers: int) -> None:
        """So that lines grow long enough to branch in more than one place."""
        for _ in range(answers):
            self.append("one", "interrupt", None)
            self.complete(0, None, None, True)

    @rule(indexes=st.lists(indexes, min_size=2, max_size=3))
    def branch_off(self, indexes: list[int]) -> None:
        """So that futures overlap, and a restored one takes turns from others."""
        for index in indexes:
            self.rewind(index, None)
            self.talk(1)

    @rule(messages=st.integers(2, 10))
    def fill_the_queue(self, messages: int) -> None:
        for _ in range(messages):
            self.append("two", "enqueue", None)

    @rule(index=indexes, node=nodes, values=variables, of_active=st.integers(0, 9).map(bool))
    def complete(self, index: int, node: str | None, values: dict[str, Any] | None, of_active: bool) -> None:
        turn = self.some_turn(index, of_active)
        self.both(
            lambda model: model.complete(turn, node, values),
            lambda: self.session.answer(turn_id=turn, node=node, variables=values),
        )

    @rule(index=indexes, of_active=st.integers(0, 9).map(bool), number=st.integers(1, 3))
    def ask(self, index: int, of_active: bool, number: int) -> None:
        turn = self.some_turn(index, of_active)
        approvals = [an_approval(next(self.approval_numbers)) for _ in range(number)]
        self.both(
            lambda model: model.ask(turn, [approval.id for approval in approvals]),
            lambda: self.session.ask(*approvals, turn_id=turn),
        )

    @rule(index=indexes, of_open=st.integers(0, 4).map(bool), decision=decisions)
    @precondition(lambda self: any(turn.asked for turn in self.model.turns.values()))
    def decide(self, index: int, of_open: bool, decision: str) -> None:
        """Mostly one that is open; else any that was ever asked for, or of another turn."""
        turns = self.model.turns.items()
        asked = [(turn, approval) for turn, it in turns for approval in it.asked]
        waiting = [(turn, one) for turn, one in asked if self.model.turns[turn].state == "awaiting_approval"]
        candidates = waiting if of_open and waiting else asked
        turn, approval = candidates[index % len(candidates)]
        self.decide_on(self.some_turn(index, False) if index % 20 == 0 else turn, approval, decision)

    @rule(decision=decisions)
    def decide_all(self, decision: str) -> None:
        """So that turns that wait go on."""
        for turn in self.model.unfinished[:1]:
            asked = self.model.turns[turn].asked
            for approval in [approval for approval, said in asked.items() if said == "open"]:
                self.decide_on(turn, approval, decision)

    def decide_on(self, turn: str, approval: str, decision: str) -> None:
        self.both(
            lambda model: model.decide(turn, approval, decision),
            lambda: self.session.decide(approval, Decision(decision), turn=turn),
        )

    @rule(index=indexes, of_active=st.integers(0, 9).map(bool))
    def fail(self, index: int, of_active: bool) -> None:
        turn = self.some_turn(index, of_active)
        self.both(lambda model: model.fail(turn), lambda: self.session.fail(turn_id=turn))

    @rule(index=indexes, of_unfinished=st.booleans(), cut=cuts)
    @precondition(lambda self: self.model.turns)
    def cancel(self, index: int, of_unfinished: bool, cut: ModelTurn | None) -> None:
        turns = (of_unfinished and self.model.unfinished) or list(self.model.turns)
        turn = turns[index % len(turns)]
        self.both(
            lambda model: model.cancel(turn, cut), lambda: self.session.cancel(turn, partial=partial_of(cut))
        )

    @rule(index=indexes, cut=cuts)
    def rewind(self, index: int, cut: ModelTurn | None) -> None:
        to = index % (len(self.model.line) + 3) - 1
        node, values = self.model.standing(self.model.line[: max(to, 0)])
        self.both(
            lambda model: model.rewind(to, cut),
            lambda: self.session.rewind(to, node=node, variables=values, partial=partial_of(cut)),
        )

    @rule(index=indexes, text=texts, cut=cuts)
    @precondition(lambda self: self.model.turns)
    def regenerate(self, index: int, text: str | None, cut: ModelTurn | None) -> None:
        old, new = self.some_turn(index, False), self.session.new_turn_id()
        node, values = self.standing_before(old)
        self.both(
            lambda model: model.regenerate(old, new, text, cut),
            lambda: self.session.regenerate(
                old, text, turn_id=new, node=node, variables=values, partial=partial_of(cut)
            ),
        )

    @rule(index=indexes, of_last=st.integers(0, 9).map(bool), cut=cuts)
    @precondition(lambda self: self.model.turns)
    def retry(self, index: int, of_last: bool, cut: ModelTurn | None) -> None:
        last = self.model.line[: self.model.cursor][-1:]
        old = last[0] if of_last and last else self.some_turn(index, False)
        new = self.session.new_turn_id()
        node, values = self.standing_before(old)
        self.both(
            lambda model: model.retry(old, new, cut),
            lambda: self.session.retry(
                old, turn_id=new, node=node, variables=values, partial=partial_of(cut)
            ),
        )

    @rule(index=indexes, of_known=st.integers(0, 9).map(bool), cut=cuts)
    def restore(self, index: int, of_known: bool, cut: ModelTurn | None) -> None:
        known = sorted(self.model.futures)
        ordinal = known[index % len(known)] if of_known and known else index % ORDINAL_MAX_TRIED
        future = self.model.futures.get(ordinal)
        node, values = self.model.standing(future.whole_line if future else [])
        self.both(
            lambda model: model.restore(ordinal, cut),
            lambda: self.session.restore(ordinal, node=node, variables=values, partial=partial_of(cut)),
        )

    @rule(name=texts)
    def update(self, name: str | None) -> None:
        self.both(lambda model: model.update(), lambda: self.session.update(name=name))

    @rule(node=nodes)
    @precondition(lambda self: self.model.revision > STEPS_PER_EXAMPLE // 2 and self.model.unfinished)
    def complete_and_end(self, node: str | None) -> None:
        turn = self.model.unfinished[0]
        self.both(
            lambda model: model.complete(turn, node, None, ends=True),
            lambda: self.session.answer(turn_id=turn, node=node, ends_session=True, resolution="solved"),
        )

    @rule(cut=cuts)
    @precondition(lambda self: self.model.revision > STEPS_PER_EXAMPLE // 2)
    def end(self, cut: ModelTurn | None) -> None:
        self.both(lambda model: model.end(cut), lambda: self.session.end(partial=partial_of(cut)))

    @rule(index=indexes)
    @precondition(lambda self: self.model.ended and self.model.line and not self.model.unfinished)
    def fork(self, index: int) -> None:
        """Go on with a fork of the ended session."""
        turns = self.session.document.turns[: index % len(self.model.line) + 1]
        copies = [next(self.fork_ids) for _ in turns]
        creation = commands.fork(
            self.session.document.session,
            turns,
            session_id="ses_2",
            turn_ids=copies,
            context={},
            metadata={},
            now=START,
            actor=ACTOR,
        )
        self.session.document = document_of(creation)
        self.model = self.model.fork(copies)
        check(self.session.document)
        self.compare()

    def some_turn(self, index: int, of_active: bool) -> str:
        """A turn ever created, the active one if asked for, or an id that is none where there is no other."""
        active = self.session.document.session.active_turn_id
        if of_active and active is not None:
            return active
        turns = list(self.model.turns) or ["trn_none"]
        return turns[index % len(turns)]

    def standing_before(self, turn: str) -> tuple[str, dict[str, Any]]:
        line = self.model.line
        return self.model.standing(line[: line.index(turn)] if turn in line else [])

    def both(self, in_model: Callable[[Model], object], in_core: Callable[[], Change]) -> None:
        """Command the model and the core, and compare what they did, or why they refused."""
        SessionMachine.steps_taken += 1
        before = self.session.document
        stored_before = msgspec.json.encode(before)
        change, code, code_expected = None, None, None
        try:
            in_model(self.model)
        except ModelRefused as refused:
            code_expected = refused.code
        try:
            change = in_core()
        except (CommandRefused, AlreadyCancelled) as refused:
            code = refused.code

        assert code == code_expected
        if change is None:
            assert msgspec.json.encode(self.session.document) == stored_before
        else:
            assert change.event.line_from == first_difference(before, self.session.document)
            self.compare()

    def compare(self) -> None:
        document, model = self.session.document, self.model
        session = document.session
        assert self.session.turn_ids == model.line
        assert session.cursor == model.cursor
        assert session.revision == model.revision
        assert session.discarded_count == model.ordinals_given
        assert (session.node, session.variables) == model.standing(model.line[: model.cursor])
        assert [turn.id for turn in self.session.head.unfinished] == model.unfinished
        assert session.active_turn_id == next(iter(model.unfinished), None)

        place = {turn.id: (turn.branch, turn.position) for turn in all_turns(document)}
        kept = {
            future.ordinal: [place[turn] for turn in model.futures[future.ordinal].own]
            for future in document.discarded_futures
        }
        assert kept == places_of_futures(document)
        assert {
            turn.id: ModelTurn(
                text=turn.user_message.text if turn.user_message else None,
                state=turn.state.value,
                node=turn.node,
                variables=turn.variables,
                asked={approval.id: approval.decision or "open" for approval in turn.approvals},
            )
            for turn in all_turns(document)
        } == model.turns


def all_turns(document: Document) -> tuple[Turn, ...]:
    return (*document.turns, *document.discarded_turns)


def places_of_futures(document: Document) -> dict[int, list[tuple[int, int]]]:
    """By ordinal, where the turns of each future stand, found by walking up from its end."""
    branches = {branch.number: branch for branch in document.branches}
    places: dict[int, list[tuple[int, int]]] = {}
    for future in document.discarded_futures:
        walked, number = [], future.branch
        for position in range(future.line_count - 1, future.branch_point - 1, -1):
            while position < branches[number].branch_point:
                parent = branches[number].parent
                assert parent is not None
                number = parent
            walked.append((number, position))
        places[future.ordinal] = walked[::-1]
    return places


def first_difference(before: Document, after: Document) -> int | None:
    """The lowest position that has another turn, or a turn with other content."""
    for position, (old, new) in enumerate(zip_longest(before.turns, after.turns)):
        if old != new:
            return position
    return None


def partial_of(cut: ModelTurn | None) -> commands.Partial | None:
    return commands.Partial(node=cut.node, variables=cut.variables) if cut else None
