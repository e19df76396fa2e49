"""A run in the hands of its runner: the claim, the grip on the turn, and all that it knows of it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api.agents.definition import Definition
from api.prompt import progress
from api.prompt.progress import ModelAnswer, Progress, Recorded, ToolAnswer
from api.runner.hold import Hold
from api.session import ids
from api.session.document import Notice, StepSummary, TurnError
from api.store.base import utc_now
from api.store.running import Claim, Step, Work

TOOL_MISSING = "tool_missing"
"""The code of the notice of a tool that could not be offered."""

OUT_OF_TIME = TurnError(code="timeout", message="The turn took longer than its limit.")


class TurnLost(Exception):
    """Somebody else has the turn now, or it was cancelled: nothing may be published."""


class TurnFailed(Exception):
    """The turn comes to nothing, for a reason of its own."""

    def __init__(self, error: TurnError) -> None:
        super().__init__(error.message)
        self.error = error


class Run:
    """What is known of a run while it goes on."""

    def __init__(
        self, claim: Claim, hold: Hold, work: Work, definition: Definition, *, seconds_max: float
    ) -> None:
        self.claim = claim
        self.hold = hold
        self.work = work
        self.definition = definition
        self.context: dict[str, Any] = msgspec.json.decode(work.context)
        self.ends_at = time.monotonic() + seconds_max
        self.steps: list[Recorded] = []
        """Every step of the turn, of this run and of earlier ones, in the order of their start."""
        self.made: list[StepSummary] = []
        """The model calls of this run."""
        self.missing: dict[str, Notice] = {}
        """Tools that could not be offered, by name."""
        self.outcome = "completed"
        """`completed`, `failed` or `awaiting_approval`: what the run is about to make of its turn."""
        self.error_code: str | None = None
        """Why it failed."""
        self._missing_before = [notice for notice in work.turn.notices if notice.code == TOOL_MISSING]
        self.is_known_whole = not work.steps
        """All steps of the turn are in `made`, as the database would tell them."""
        self._latest = datetime.min.replace(tzinfo=UTC)

    @property
    def seconds_left(self) -> float:
        """Of the turn's time."""
        return max(self.ends_at - time.monotonic(), 0.001)

    @property
    def has_time(self) -> bool:
        """The turn may begin something more."""
        return time.monotonic() < self.ends_at

    def next_instant(self) -> datetime:
        """This moment, and later than the one before: a run's steps are ordered by when they began."""
        self._latest = max(utc_now(), self._latest + timedelta(microseconds=1))
        return self._latest

    def check_time(self) -> None:
        """Insist that the turn may begin something more: what is begun too late is broken off at once.

        Raises:
            TurnFailed: its time is over.
        """
        if not self.has_time:
            raise TurnFailed(OUT_OF_TIME)

    def notices(self) -> tuple[Notice, ...]:
        """What the turn has to say of itself so far."""
        missing = dict.fromkeys((*self._missing_before, *self.missing.values()))
        return (*self.progress().notices, *missing)

    def progress(self) -> Progress:
        """Work out where the turn stands."""
        session = self.work.head.session
        return progress.replay(
            self.definition,
            node=session.node,
            variables=session.variables,
            steps=self.steps,
            approvals=self.work.turn.approvals,
        )

    def answered(self, step_id: str, answer: ModelAnswer | ToolAnswer, *, state: str) -> None:
        """Note that a step has ended."""
        self.steps = [
            msgspec.structs.replace(step, state=state, answer=answer) if step.id == step_id else step
            for step in self.steps
        ]


def recorded(step: Step) -> Recorded:
    """A stored step as the replay reads it."""
    return progress.recorded(
        ids.to_wire(ids.Kind.STEP, step.id),
        kind=step.kind,
        purpose=step.purpose,
        state=step.state,
        request=step.request,
        result=step.result,
    )
