"""One turn, from the claim to the commit that ends it.

    take up      settle what an earlier run left open; go on from what it finished
    call         record the step, call the model, store what it says while it says it
    settle       what the call cost is written, whatever became of the turn
    publish      the reply is committed, unless the run has lost its turn

A call that has ended well is never made again: its text lies with its step until the turn is published.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from uuid import UUID

import msgspec
from loguru import logger

from api.agents.definition import Definition
from api.events import Hub
from api.models.base import (
    Finished,
    FinishReason,
    ModelClient,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    TextDelta,
)
from api.models.registry import Models
from api.runner import pricing, prompt, settling
from api.runner.delta_log import DeltaLog
from api.runner.hold import Hold, holding
from api.session import commands, ids
from api.session.document import Change, Head, Reply, StepSummary, TurnError, Usage
from api.store import Store
from api.store.base import utc_now
from api.store.errors import BudgetExceeded
from api.store.running import RUNNER, Claim, Intent, Known, Publishing, Step, Work, turn_id_of

REPLY_CHARACTERS_MAX = 1_000_000
"""A reply that grows beyond this is cut off there; no model in use says as much in one answer."""

CLOSE_SECONDS_MAX = 10
"""How long a stream that was broken off may take to close; then it is left to itself."""


class TurnLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn may take."""

    lease_seconds: float = 15
    heartbeat_seconds: float = 5
    turn_seconds: float = 120
    attempts_max: int = 3
    context_tokens_default: int = 8_192
    """The window of models whose size nobody has told us."""
    stream_breaks_max: int = 1
    """How often a call whose stream broke in the middle is made again, as a call of its own."""
    settle_seconds: float = 30
    """How long to go on trying to write a settlement while the database does not answer."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn's model call has brought."""

    text: str
    is_truncated: bool


class _Progress:
    """What a call has brought while it runs; it outlives the task that makes the call."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.character_count = 0
        self.finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str) -> int:
        """Take the next piece and answer the offset at which it begins."""
        offset = self.character_count
        self.pieces.append(text)
        self.character_count += len(text)
        return offset


class _TurnLost(Exception):
    """Somebody else has the turn now, or it was cancelled: nothing may be published."""


class TurnRunner:
    """Carries out claimed turns; one for all turns of a process."""

    def __init__(self, store: Store, models: Models, hub: Hub, deltas: DeltaLog, limits: TurnLimits) -> None:
        self._store = store
        self._models = models
        self._hub = hub
        self._deltas = deltas
        self._limits = limits

    async def run(self, claim: Claim) -> None:
        """Carry a claimed turn out. Ends with the turn final, or with the run having lost it."""
        log = logger.bind(turn_id=turn_id_of(claim), attempt=claim.attempt)
        made: list[StepSummary] = []
        work = await self._store.running.work(claim)
        if work is None:
            return
        try:
            async with holding(
                self._store.running,
                self._hub,
                claim,
                lease_seconds=self._limits.lease_seconds,
                heartbeat_seconds=self._limits.heartbeat_seconds,
            ) as hold:
                command = await self._outcome_of_turn(claim, hold, work, made)
                await self._deltas.flush()
                # Steps of earlier runs are in the database alone.
                known = None if work.steps else Known(head=work.head, steps=tuple(made))
                is_published = await self._store.running.publish(claim, command, known=known)
        except _TurnLost:
            is_published = False
        finally:
            self._deltas.forget(claim)
        log.info("turn ended" if is_published else "turn lost")

    async def _outcome_of_turn(
        self, claim: Claim, hold: Hold, work: Work, made: list[StepSummary]
    ) -> Publishing:
        """Do the turn's work; answers the command that ends it, and adds the steps that were `made`."""
        agent = work.head.session.agent
        version = await self._store.agents.agent_version(claim.organization_id, agent.id, agent.version)
        definition = version.definition
        if work.turn.user_message is None and isinstance(definition.greeting, str):
            return _completing(claim, definition, Said(text=definition.greeting, is_truncated=False))
        try:
            said = await self._take_up(claim, hold, work.steps)
            if said is None and claim.attempt > self._limits.attempts_max:
                message = f"{self._limits.attempts_max} runs of this turn were lost."
                return _failing(claim, TurnError(code="attempts_exhausted", message=message))
            if said is None:
                said = await self._converse(claim, hold, work, definition, made)
            return _completing(claim, definition, said)
        except BudgetExceeded as error:
            return _failing(claim, TurnError(code="budget_exceeded", message=f"{error}."))
        except ModelError as error:
            return _failing(
                claim,
                TurnError(
                    code=error.code,
                    message=error.message,
                    provider=error.provider,
                    provider_status=error.status,
                ),
            )

    async def _converse(
        self, claim: Claim, hold: Hold, work: Work, definition: Definition, made: list[StepSummary]
    ) -> Said:
        """Call the model, and again when its stream breaks in the middle, within the turn's time."""
        seconds_max = min(
            definition.limits.turn_seconds or self._limits.turn_seconds, self._limits.turn_seconds
        )
        ends_at = time.monotonic() + seconds_max
        for _ in range(self._limits.stream_breaks_max):
            try:
                return await self._call(claim, hold, work, definition, made, ends_at=ends_at)
            except ModelError as error:
                if error.code is not ModelErrorCode.STREAM_BROKEN or time.monotonic() >= ends_at:
                    raise
            # What the broken call has said is in the ledger; readers drop it and hear the next one.
            await self._deltas.flush()
            step_id = ids.from_wire(ids.Kind.STEP, made[-1].id)
            assert step_id is not None
            await self._store.running.take_back(claim, step_id)
        return await self._call(claim, hold, work, definition, made, ends_at=ends_at)

    async def _call(
        self,
        claim: Claim,
        hold: Hold,
        work: Work,
        definition: Definition,
        made: list[StepSummary],
        *,
        ends_at: float,
    ) -> Said:
        """Make the model call of the turn and settle it.

        Raises:
            ModelError: the call failed; it is settled.
            _TurnLost: the turn was taken from the run; the call is settled all the same.
        """
        client, model = self._models.resolve(definition.model)
        built = await self._prompt(claim, work, definition, client.provider, model)
        seconds_max = max(ends_at - time.monotonic(), 0.001)
        request = msgspec.structs.replace(built.request, timeout_seconds=seconds_max)
        step_id = self._store.running.new_step_id()
        intent = Intent(
            id=step_id,
            purpose="greeting" if work.turn.user_message is None else "reply",
            speaker=definition.speaker_name,
            provider=client.provider,
            model=model,
            started_at=utc_now(),
            request={
                "instructions_sha256": hashlib.sha256(request.instructions.encode()).hexdigest(),
                "first_turn_id": built.first_turn_id,
                "last_turn_id": built.last_turn_id,
                "sha256": built.sha256,
            },
        )
        if not await self._store.running.start_step(claim, intent):
            raise _TurnLost

        started = time.monotonic()
        progress = _Progress()
        call = asyncio.create_task(self._stream(claim, hold, client, request, step_id, progress))
        lost = asyncio.create_task(hold.lost.wait())
        error: ModelError | None = None
        is_stopping = True
        try:
            await asyncio.wait({call, lost}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
            is_stopping = False
        finally:
            # Also when this process stops: what was spent is written, whatever becomes of the turn.
            if call.done():
                error = _model_error(call, client.provider)
            elif not (is_stopping or hold.lost.is_set() or progress.finished):
                message = "The turn took longer than its limit."
                error = ModelError(ModelErrorCode.TIMEOUT, message, provider=client.provider)
            lost.cancel()
            await _to_its_end(
                self._end_call(
                    claim,
                    intent,
                    made,
                    call,
                    progress,
                    error,
                    settling.Call(
                        provider=client.provider,
                        model=model,
                        asked_model=model,
                        input_tokens_estimated=built.estimated_tokens,
                        text="",
                        usage=None if error is None else error.usage,
                        ended_at=utc_now(),
                        latency_ms=round((time.monotonic() - started) * 1000),
                    ),
                )
            )
        if error is not None:
            raise error
        if progress.finished is None:
            raise _TurnLost
        return _said(progress.text, progress.finished.finish_reason, provider=client.provider)

    async def _stream(
        self,
        claim: Claim,
        hold: Hold,
        client: ModelClient,
        request: ModelRequest,
        step_id: UUID,
        progress: _Progress,
    ) -> None:
        async with aclosing(client.stream(request)) as stream:
            async for item in stream:
                if isinstance(item, Finished):
                    progress.finished = item
                    break
                assert isinstance(item, TextDelta)
                offset = progress.add(item.text)
                self._deltas.add(claim, hold, step_id, offset=offset, text=item.text)
                if progress.character_count > REPLY_CHARACTERS_MAX:
                    progress.finished = Finished(
                        usage=None,
                        finish_reason=FinishReason.LENGTH,
                        model=request.model,
                        provider=client.provider,
                    )
                    break

    async def _prompt(
        self, claim: Claim, work: Work, definition: Definition, provider: str, model: str
    ) -> prompt.Prompt:
        budget = prompt.context_budget(
            definition,
            window_tokens=pricing.context_window_tokens(provider, model),
            context_tokens_default=self._limits.context_tokens_default,
        )
        pages = self._store.running.turns_backwards(claim, work.head, end=work.turn.position)
        return await prompt.build_from_pages(definition, work.turn, pages, model=model, context_tokens=budget)

    async def _end_call(
        self,
        claim: Claim,
        intent: Intent,
        made: list[StepSummary],
        call: "asyncio.Task[None]",
        progress: _Progress,
        error: ModelError | None,
        ended: settling.Call,
    ) -> None:
        """Break the call off if it still goes on, and settle it with all that it has brought."""
        call.cancel()
        _, open_still = await asyncio.wait({call}, timeout=CLOSE_SECONDS_MAX)
        if open_still:
            logger.warning("a model's stream does not close", provider=ended.provider)
        ended = msgspec.structs.replace(ended, text=progress.text)
        if (finished := progress.finished) is not None:
            ended = msgspec.structs.replace(ended, model=finished.model, usage=finished.usage)

        async def write() -> None:
            prices = await self._store.running.prices_of(claim, ended.provider)
            if error is not None:
                outcome = settling.failed(ended, prices, error=error)
            elif finished is None:
                outcome = settling.cancelled(ended, prices)
            else:
                outcome = settling.completed(ended, prices, finish_reason=finished.finish_reason)
            if outcome.tokens.cost is None:
                logger.warning("no price known", provider=ended.provider, model=ended.model)
            await self._store.running.settle(claim, intent.id, outcome)
            made.append(settling.summary(intent, outcome))

        await self._insist(write, intent.id)

    async def _insist(self, write: Callable[[], Awaitable[object]], step_id: UUID) -> None:
        """Go on trying to settle while the database does not answer: this is money."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.settle_seconds
        while True:
            try:
                await write()
            except Exception as error:
                if loop.time() >= deadline:
                    raise
                logger.warning("settlement not written yet", step_id=str(step_id), error=repr(error))
                await asyncio.sleep(0.5)
            else:
                return

    async def _take_up(self, claim: Claim, hold: Hold, steps: tuple[Step, ...]) -> Said | None:
        """Go on from what earlier runs of the turn have left; answers what one had finished.

        Calls that were never ended are settled, for their process is gone. Readers drop what a call has
        shown that came to nothing, and get the rest of one that had come to its end.

        Raises:
            ModelError: the call had come to its end without a text.
        """
        for step in steps:
            if step.state == "started":
                lost = settling.lost(model=step.model or "", latency_ms=0)
                await self._insist(partial(self._store.running.settle, claim, step.id, lost), step.id)
        if any(step.state == "started" for step in steps):
            # A run believed dead may have ended its call just before us: then we go on from its result.
            steps = await self._store.running.steps(claim)
        finished = next((step for step in steps if step.kind == "model" and step.result is not None), None)
        shown = await self._store.running.shown(claim) if steps else None
        if shown is not None and (finished is None or shown[0] != finished.id):
            await self._store.running.take_back(claim, shown[0])
            shown = None
        if finished is None or finished.result is None:
            return None
        result = msgspec.json.decode(finished.result, type=dict[str, str])
        text = result["text"]
        stored_count = 0 if shown is None else len(shown[1])
        if stored_count < len(text):
            self._deltas.add(claim, hold, finished.id, offset=stored_count, text=text[stored_count:])
        return _said(text, FinishReason(result["finish_reason"]), provider=finished.provider or "")


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Await `work`, also when we are cancelled meanwhile; the cancellation goes on when it is done."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if (error := task.exception()) is not None:
            logger.opt(exception=error).error("a call was not settled")
        raise


def _said(text: str, finish_reason: FinishReason, *, provider: str) -> Said:
    """A reply without text is no reply.

    Raises:
        ModelError: the model said nothing.
    """
    if not text.strip():
        is_withheld = finish_reason is FinishReason.FILTER
        message = "The provider withheld the reply." if is_withheld else "The model said nothing."
        raise ModelError(ModelErrorCode.EMPTY_REPLY, message, provider=provider)
    return Said(text=text, is_truncated=finish_reason is FinishReason.LENGTH)


def _completing(claim: Claim, definition: Definition, said: Said) -> Publishing:
    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        now = utc_now()
        reply = Reply(
            speaker=definition.speaker_name, text=said.text, created_at=now, truncated=said.is_truncated
        )
        return commands.complete(
            head,
            turn_id=turn_id_of(claim),
            replies=(reply,),
            steps=steps,
            usage=usage,
            now=now,
            actor=RUNNER,
        )

    return command


def _failing(claim: Claim, error: TurnError) -> Publishing:
    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        return commands.fail(
            head,
            turn_id=turn_id_of(claim),
            error=error,
            steps=steps,
            usage=usage,
            now=utc_now(),
            actor=RUNNER,
        )

    return command


def _model_error(call: "asyncio.Task[None]", provider: str) -> ModelError | None:
    """How a finished call failed; None when it did not."""
    error = asyncio.CancelledError() if call.cancelled() else call.exception()
    if error is None or isinstance(error, ModelError):
        return error
    logger.opt(exception=error).error("a model client raised what it should not", provider=provider)
    return ModelError(ModelErrorCode.INTERNAL, "The model client failed.", provider=provider)
