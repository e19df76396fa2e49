"""What a runner does to the database: claim, read the turn, record steps, settle, publish.

Every write of a run is fenced by the session's epoch or by the run's own row, except settlement: what a
call cost is always written.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from api.events import Notice
from api.session import codec, ids
from api.session.document import Actor, Change, Head, StepSummary, Turn, TurnState, Usage
from api.session.usage import total_usage
from api.store import rows
from api.store.base import PAGE_TURNS_MAX, Base
from api.store.budgets import start_reserved_step
from api.store.partial import steps_of
from api.store.prices import Price as Price
from api.store.prices import price_of
from api.store.swapping import swap
from db import deltas, prices, runs, sessions, turns, usage
from db.pool import Connection, retry_serialization

RUNNER = Actor(process="runner")
"""Who publishes what a run has brought."""

_CLAIM_ATTEMPTS_MAX = 4


Publishing = Callable[[Head, tuple[StepSummary, ...], Usage | None], Change]
"""A command of the core that ends or parks a turn: it is given the head found, and the turn's steps and
their cost.
"""


TURNS_UNLIMITED = 2**31 - 1


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that this process may execute, until its lease ends or its epoch is raised."""

    organization_id: UUID
    session_id: UUID
    turn_id: UUID
    run_id: UUID
    attempt: int
    """1 for the first run of a turn; rises only when a lease ran out."""
    epoch: int
    is_first: bool = False
    """Nobody has run the turn before."""
    is_take_over: bool = False
    """The turn was taken from a run whose lease had run out."""
    asked_at_seconds: float = msgspec.field(default_factory=time.monotonic)
    """On this process's monotonic clock, before the claim was sent: the lease is counted from later on."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A call of this turn that an earlier run has started, and perhaps finished."""

    id: UUID
    run_id: UUID
    kind: str
    purpose: str
    speaker: str
    provider: str | None
    model: str | None
    state: str
    request: msgspec.Raw
    """Of a tool: what is called, and for whom. Of a model: by reference."""
    result: msgspec.Raw | None
    """What came back; None while it is not finished, and of a model call that failed."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner needs to execute a claimed turn."""

    head: Head
    turn: Turn
    context: msgspec.Raw
    """The session's, a JSON object."""
    steps: tuple[Step, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a runner knows of its turn without asking the database."""

    head: Head
    """As it was when the turn was claimed."""
    steps: tuple[StepSummary, ...]
    """All finished steps of the turn, in the order in which they were started."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is about to be made."""

    id: UUID
    kind: str = "model"
    """`model` or `tool`."""
    purpose: str
    speaker: str
    provider: str | None = None
    """None for a tool."""
    model: str | None = None
    """None for a tool."""
    started_at: datetime
    request: dict[str, object]
    """Of a model call by reference: digest of the instructions, first and last turn, sha256 of the request.
    Of a tool call at least `tool` and `effect`.
    """


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a model call ended and what it cost."""

    outcome: str
    """`completed`, `failed` or `cancelled`."""
    model: str
    """As the provider named it."""
    tokens: Usage
    """Token counts; its cost is the call's, None when no price is known."""
    unit_prices: bytes | None
    price_source: str | None
    source: str
    """Where the counts came from: `provider`, `estimated` or `unknown`."""
    is_billable: bool
    billable_reason: str
    latency_ms: int
    result: dict[str, object] | None
    """What the call brought, for a take-over to continue from; None when it brought nothing."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Text that a model has said and that nobody has seen yet."""

    organization_id: UUID
    session_id: UUID
    run_id: UUID
    step_id: UUID
    offset: int
    """In Unicode code points within the step."""
    text: str


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose run has ended without it."""

    claim: Claim
    """The run that made it."""
    step_id: UUID
    kind: str
    """`model` or `tool`."""
    model: str | None
    """None for a tool."""


class Running(Base):
    """The runner's side of the store."""

    async def claim(
        self, *, runner: str, lease_seconds: float, organization_turns_max: int = TURNS_UNLIMITED
    ) -> Claim | None:
        """Take the oldest turn that waits, of the organization with the fewest running; None when none waits.

        Organizations with `organization_turns_max` running are passed over.
        """
        async with self._pool.acquire() as conn:
            for _ in range(_CLAIM_ATTEMPTS_MAX):
                asked_at_seconds = time.monotonic()
                try:
                    row = await runs.claim(
                        conn,
                        run_id=self._new_id(),
                        runner=runner,
                        lease_seconds=lease_seconds,
                        organization_turns_max=organization_turns_max,
                    )
                except asyncpg.UniqueViolationError:
                    continue  # another runner took the same turn at this moment; others may wait
                if row is None:
                    return None
                return Claim(**row._asdict(), asked_at_seconds=asked_at_seconds)
        return None

    async def heartbeat(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Prolong the lease; False when the run has lost its turn."""
        async with self._pool.acquire() as conn:
            return await runs.heartbeat(
                conn, claim.organization_id, claim.run_id, lease_seconds=lease_seconds
            )

    async def work(self, claim: Claim) -> Work | None:
        """Read the claimed turn and its steps; None when the run has lost it already."""
        async with self._pool.acquire() as conn:
            # The steps first: as long as the epoch is still ours after that, none is a successor's, whose
            # open call we would settle as lost.
            steps = await _steps(conn, claim)
            loaded = await sessions.load(conn, claim.organization_id, claim.session_id)
            if loaded is None or loaded.epoch != claim.epoch:
                return None
        head = rows.head(loaded)
        return Work(head=head, turn=head.unfinished[0], context=msgspec.Raw(loaded.context), steps=steps)

    async def steps(self, claim: Claim) -> tuple[Step, ...]:
        """Read the steps of the claimed turn again."""
        async with self._pool.acquire() as conn:
            return await _steps(conn, claim)

    async def turns_backwards(self, claim: Claim, head: Head, *, end: int) -> AsyncIterator[Sequence[Turn]]:
        """Read the turns before position `end` of the line, newest first, a page at a time."""
        session = head.session
        while end > 0:
            first = max(0, end - PAGE_TURNS_MAX)
            async with self._pool.acquire() as conn:
                bodies = await turns.on_line(
                    conn,
                    claim.organization_id,
                    claim.session_id,
                    branch=session.branch,
                    line_count=session.turn_count,
                    first=first,
                    end=end,
                )
            yield [codec.decode_turn(body) for body in reversed(bodies)]
            end = first

    async def start_step(self, claim: Claim, intent: Intent) -> bool:
        """Record a call before it is made; False when the run has lost its turn and must not make it.

        In an organization with budgets an amount is reserved for it, until it is settled.

        Raises:
            BudgetExceeded: a hard limit is used up and this would be the turn's first model call.
        """
        row = runs.StepIntent(
            id=intent.id,
            kind=intent.kind,
            purpose=intent.purpose,
            speaker=intent.speaker,
            provider=intent.provider,
            model=intent.model,
            started_at=intent.started_at,
            request=msgspec.json.encode(intent.request),
        )
        async with self._pool.acquire() as conn:
            if await runs.start_step(conn, claim.organization_id, claim.run_id, row):
                return True
            # The turn is lost, or there are budgets: only then is there more to ask.
            return await start_reserved_step(conn, claim.organization_id, claim.run_id, row, at=self._clock())

    async def show(self, shown: Sequence[Shown]) -> set[UUID]:
        """Store streamed text of any number of runs; answers the runs that still hold their turns."""
        pieces = [deltas.DeltaRow(s.organization_id, s.run_id, s.step_id, s.offset, s.text) for s in shown]
        async with self._pool.acquire() as conn:
            held = await deltas.flush(conn, pieces, at=self._clock())
        for session_id in {piece.session_id for piece in shown if piece.run_id in held}:
            self._hub.tell(Notice(session_id=session_id, is_commit=False))
        return held

    async def end_tool_step(
        self, claim: Claim, step_id: UUID, state: str, result: dict[str, object] | None
    ) -> bool:
        """Record how a tool call ended, whether or not the run still holds its turn; False when it is known.

        `state` is `completed`, `failed` or `cancelled`. A result that says `standing` (a node and all
        variables) is where the agent stands after the step, should the turn be cancelled.
        """
        async with self._pool.acquire() as conn:
            return await runs.end_step(
                conn,
                claim.organization_id,
                step_id,
                state=state,
                ended_at=self._clock(),
                result=None if result is None else msgspec.json.encode(result),
            )

    async def shown(self, claim: Claim) -> tuple[tuple[UUID, str], ...]:
        """Read what the readers of the turn see now: steps with their text, in the order of speaking."""
        async with self._pool.acquire() as conn:
            found = await deltas.shown(conn, claim.organization_id, claim.turn_id)
        return tuple((row.step_id, row.text) for row in found)

    async def take_back(self, claim: Claim, step_id: UUID) -> None:
        """Tell readers to drop what a step has shown: the reply is begun anew."""
        async with self._pool.acquire() as conn:
            await deltas.restart(conn, claim.organization_id, claim.run_id, step_id, at=self._clock())
        self._hub.tell(Notice(session_id=claim.session_id, is_commit=False))

    async def prices_of(self, claim: Claim, provider: str) -> list[Price]:
        """Read the organization's own prices of a provider's models."""
        async with self._pool.acquire() as conn:
            found = await prices.of_provider(conn, claim.organization_id, provider)
        return [price_of(row) for row in found]

    async def is_given_up(self, claim: Claim) -> bool:
        """Whether a caller wants nothing more of the turn: it was cancelled, or its session deleted."""
        async with self._pool.acquire() as conn:
            state = await turns.state(conn, claim.organization_id, claim.session_id, claim.turn_id)
        return state is None or state == TurnState.CANCELLED

    async def leaked(self, *, older_than_seconds: float, limit: int) -> list[Leak]:
        """Find calls that nobody will end."""
        async with self._pool.acquire() as conn:
            found = await runs.leaked(conn, older_than_seconds=older_than_seconds, limit=limit)
        return [
            Leak(
                claim=Claim(
                    organization_id=row.organization_id,
                    session_id=row.session_id,
                    turn_id=row.turn_id,
                    run_id=row.run_id,
                    attempt=0,
                    epoch=0,
                ),
                step_id=row.step_id,
                kind=row.kind,
                model=row.model,
            )
            for row in found
        ]

    async def release(self, claim: Claim) -> None:
        """Hand the turn back: any runner may claim it at once, and continues the attempt."""
        async with self._pool.acquire() as conn:
            await runs.release(conn, claim.organization_id, claim.run_id)
        self._hub.tell(Notice(session_id=claim.session_id, is_claimable=True))

    async def settle(self, claim: Claim, step_id: UUID, outcome: Outcome) -> bool:
        """End a step and write what it cost, whether or not the run still holds its turn.

        A step that was settled as lost, by a runner that believed this one dead, gets a correction. False
        when the step is settled already; nothing is written twice.
        """
        tokens = outcome.tokens
        settlement = usage.Settlement(
            state=outcome.outcome,
            ended_at=self._clock(),
            result=None if outcome.result is None else msgspec.json.encode(outcome.result),
            entry_id=self._new_id(),
            model=outcome.model,
            input_tokens=tokens.input_tokens,
            cached_tokens=tokens.cached_tokens,
            cache_write_tokens=tokens.cache_write_tokens,
            output_tokens=tokens.output_tokens,
            reasoning_tokens=tokens.reasoning_tokens,
            unit_prices=outcome.unit_prices,
            price_source=outcome.price_source,
            cost=tokens.cost,
            currency=tokens.currency,
            source=outcome.source,
            billable=outcome.is_billable,
            billable_reason=outcome.billable_reason,
            latency_ms=outcome.latency_ms,
        )

        async def attempt() -> bool:
            async with self._pool.acquire() as conn:
                seq = await usage.settle(conn, claim.organization_id, step_id, settlement)
                if seq is None:
                    try:
                        seq = await usage.correct(conn, claim.organization_id, step_id, settlement)
                    except asyncpg.UniqueViolationError:
                        return False  # corrected at this moment
                return seq is not None

        return await retry_serialization(attempt)

    async def publish(self, claim: Claim, command: Publishing, *, known: Known | None = None) -> bool:
        """Commit what the run has brought, with the turn's steps and their cost.

        With what is `known` of the turn that is one round trip, as long as nobody has moved the revision. A
        revision that moved meanwhile (a rename, a queued message) is no obstacle: the session is locked and
        the command applied to the state found. Only a raised epoch loses; then False, with nothing written.
        """

        async def attempt() -> bool:
            async with self._pool.acquire() as conn:
                if known is not None:
                    spent = total_usage(step.usage for step in known.steps if step.usage is not None)
                    if await self._swap(conn, claim, command(known.head, known.steps, spent)):
                        return True
                async with conn.transaction():
                    await sessions.lock(conn, claim.organization_id, claim.session_id)
                    return await self._publish(conn, claim, command)

        is_published = await retry_serialization(attempt)
        self._hub.tell(Notice(session_id=claim.session_id, is_claimable=is_published))
        return is_published

    async def _publish(self, conn: Connection, claim: Claim, command: Publishing) -> bool:
        loaded = await sessions.load(conn, claim.organization_id, claim.session_id)
        if loaded is None or loaded.epoch != claim.epoch:
            return False
        steps, spent = await steps_of(conn, claim.organization_id, claim.turn_id)
        return await self._swap(conn, claim, command(rows.head(loaded), steps, spent))

    async def _swap(self, conn: Connection, claim: Claim, change: Change) -> bool:
        return await swap(
            conn, claim.organization_id, claim.session_id, change, expected_epoch=claim.epoch, key=None
        )

    def new_step_id(self) -> UUID:
        """An id for a call that is about to be made, or that will be once it is approved."""
        return self._new_id()

    def new_approval_id(self) -> str:
        """An id for an approval that is about to be asked for."""
        return self._wire_id(ids.Kind.APPROVAL)


def turn_id_of(claim: Claim) -> str:
    """The claimed turn's wire id."""
    return ids.to_wire(ids.Kind.TURN, claim.turn_id)


async def _steps(conn: Connection, claim: Claim) -> tuple[Step, ...]:
    return tuple(
        Step(
            id=row.id,
            run_id=row.run_id,
            kind=row.kind,
            purpose=row.purpose,
            speaker=row.speaker,
            provider=row.provider,
            model=row.model,
            state=row.state,
            request=msgspec.Raw(row.request),
            result=None if row.result is None else msgspec.Raw(row.result),
        )
        for row in await runs.steps(conn, claim.organization_id, claim.turn_id)
    )
