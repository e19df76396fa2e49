"""A model call: recorded before it is made, shown while it speaks, settled whatever becomes of the turn."""

import asyncio
import time
from contextlib import aclosing
from uuid import UUID

import msgspec
from loguru import logger

from api.models.base import (
    Finished,
    FinishReason,
    ModelClient,
    ModelError,
    ModelErrorCode,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
)
from api.models.registry import Models
from api.prompt import again, window
from api.prompt.frame import Frame
from api.prompt.progress import ModelAnswer, Recorded
from api.runner import pricing, settling
from api.runner.delta_log import DeltaLog
from api.runner.endings import break_off, insist, to_its_end
from api.runner.limits import TurnLimits
from api.runner.run import Run, TurnLost
from api.session import ids
from api.store import Store
from api.store.base import utc_now
from api.store.running import Intent
from api.telemetry import measures, tracing
from api.telemetry.tracing import Span, Value

REPLY_CHARACTERS_MAX = 1_000_000
"""A reply, or a train of thought, that grows beyond this is cut off there; no model in use says as much."""


class _Brought:
    """What a call has brought while it runs; it outlives the task that makes the call."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.thoughts: list[str] = []
        self.character_count = 0
        self.first_text_at: float | None = None
        """On the monotonic clock."""
        self.finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def answer(self, finished: Finished) -> ModelAnswer:
        """What is kept of a call that came to its end."""
        return ModelAnswer(
            text=self.text,
            finish_reason=finished.finish_reason.value,
            tool_calls=finished.tool_calls,
            reasoning="".join(self.thoughts),
        )


class _Screen:
    """Where a call's text is shown as it comes; white space waits for the word that follows it."""

    def __init__(self, deltas: DeltaLog, run: Run, step_id: UUID, separator: str) -> None:
        self._show = deltas.add
        self._run = run
        self._step_id = step_id
        self._waiting = separator
        self._has_begun = False
        self._shown_count = 0

    def show(self, text: str) -> None:
        self._waiting += text
        if not self._has_begun and not self._waiting.strip():
            return
        self._has_begun = True
        self._show(
            self._run.claim, self._run.hold, self._step_id, offset=self._shown_count, text=self._waiting
        )
        self._shown_count += len(self._waiting)
        self._waiting = ""


class ModelCalls:
    """Makes the model calls of all turns of a process."""

    def __init__(self, store: Store, models: Models, deltas: DeltaLog, limits: TurnLimits) -> None:
        self._store = store
        self._models = models
        self._deltas = deltas
        self._limits = limits

    async def make(self, run: Run, frame: Frame, *, purpose: str, separator: str | None) -> ModelAnswer:
        """Make a call and settle it. With a `separator` its text is shown, behind that; with None it is not.

        Raises:
            ModelError: the call failed; it is settled.
            TurnLost: the turn was taken from the run; the call is settled all the same.
        """
        client, model = self._models.resolve(run.definition.model)
        built = await self._prompt(run, frame, client.provider, model)
        seconds_max = run.seconds_left
        request = msgspec.structs.replace(built.request, timeout_seconds=seconds_max)
        reference = again.reference(built, frame, run.steps)
        if reference.tools is not None:
            await self._store.interactions.keep_part(
                run.claim.organization_id, reference.tools.sha256, again.tools_part(request.tools)
            )
        step_id = self._store.running.new_step_id()
        intent = Intent(
            id=step_id,
            kind="model",
            purpose=purpose,
            speaker=run.definition.speaker_name,
            provider=client.provider,
            model=model,
            started_at=run.next_instant(),
            request=msgspec.to_builtins(reference),
        )
        if not await self._store.running.start_step(run.claim, intent):
            raise TurnLost
        run.steps.append(Recorded(id=_wire(step_id), purpose=purpose, state="started"))

        with tracing.span(
            f"chat {model}",
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": client.provider,
                "gen_ai.request.model": model,
                "gen_ai.conversation.id": run.work.head.session.id,
                "turnledger.step.id": _wire(step_id),
                "turnledger.purpose": purpose,
            },
            kind="client",
        ) as span:
            return await self._call(run, intent, built, request, client, model, seconds_max, separator, span)

    async def _call(
        self,
        run: Run,
        intent: Intent,
        built: window.Prompt,
        request: ModelRequest,
        client: ModelClient,
        model: str,
        seconds_max: float,
        separator: str | None,
        span: Span,
    ) -> ModelAnswer:
        step_id = intent.id
        started = time.monotonic()
        brought = _Brought()
        screen = None if separator is None else _Screen(self._deltas, run, step_id, separator)
        call = asyncio.create_task(_stream(client, request, brought, screen))
        lost = asyncio.create_task(run.hold.lost.wait())
        error: ModelError | None = None
        is_stopping = True
        try:
            await asyncio.wait({call, lost}, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
            is_stopping = False
        finally:
            # Also when this process stops: what was spent is written, whatever becomes of the turn.
            if call.done():
                error = _model_error(call, client.provider)
            elif not (is_stopping or run.hold.lost.is_set() or brought.finished):
                message = "The turn took longer than its limit."
                error = ModelError(ModelErrorCode.TIMEOUT, message, provider=client.provider)
            lost.cancel()
            ended = settling.Call(
                provider=client.provider,
                model=model,
                asked_model=model,
                input_tokens_estimated=built.estimated_tokens,
                answer=ModelAnswer(text="", finish_reason=""),
                usage=None if error is None else error.usage,
                ended_at=utc_now(),
                latency_ms=round((time.monotonic() - started) * 1000),
            )
            await to_its_end(self._end(run, intent, call, brought, error, ended))
            span.set(_of_span(brought, started))
            if error is not None:
                measures.ERRORS.labels(where="model", code=error.code).inc()
                span.fail(error.code)
        if error is not None:
            raise error
        if brought.finished is None:
            raise TurnLost
        answer = brought.answer(brought.finished)
        run.answered(_wire(step_id), answer, state="completed")
        return answer

    async def _prompt(self, run: Run, frame: Frame, provider: str, model: str) -> window.Prompt:
        budget = window.context_budget(
            run.definition,
            window_tokens=pricing.context_window_tokens(provider, model),
            context_tokens_default=self._limits.context_tokens_default,
        )
        work = run.work
        pages = self._store.running.turns_backwards(run.claim, work.head, end=work.turn.position)
        return await window.build_from_pages(
            run.definition, work.turn, pages, frame=frame, model=model, context_tokens=budget
        )

    async def _end(
        self,
        run: Run,
        intent: Intent,
        call: "asyncio.Task[None]",
        brought: _Brought,
        error: ModelError | None,
        ended: settling.Call,
    ) -> None:
        """Break the call off if it still goes on, and settle it with all that it has brought."""
        if not await break_off(call):
            logger.warning("a model's stream does not close", provider=ended.provider)
        finished = brought.finished
        if finished is None:
            answer = ModelAnswer(text=brought.text, finish_reason="", reasoning="".join(brought.thoughts))
            ended = msgspec.structs.replace(ended, answer=answer)
        else:
            ended = msgspec.structs.replace(
                ended, answer=brought.answer(finished), model=finished.model, usage=finished.usage
            )

        async def write() -> None:
            prices = await self._store.running.prices_of(run.claim, ended.provider)
            if error is not None:
                outcome = settling.failed(ended, prices, error=error)
            elif finished is not None:
                outcome = settling.completed(ended, prices)
            elif await self._store.running.is_given_up(run.claim):
                outcome = settling.cancelled(ended, prices)
            else:
                outcome = settling.dropped(ended, prices)
            if outcome.tokens.cost is None:
                logger.warning("no price known", provider=ended.provider, model=ended.model)
            await self._store.running.settle(run.claim, intent.id, outcome)
            measures.MODEL_CALLS.labels(outcome=outcome.outcome).inc()
            measures.LEDGER_LAG.observe(max((utc_now() - ended.ended_at).total_seconds(), 0))
            if run.hold.lost.is_set():
                measures.LOST_RACES_SETTLED.inc()
            run.made.append(settling.summary(intent, outcome))

        await insist(write, intent.id, seconds_max=self._limits.settle_seconds)


async def _stream(
    client: ModelClient, request: ModelRequest, brought: _Brought, screen: _Screen | None
) -> None:
    async with aclosing(client.stream(request)) as stream:
        async for item in stream:
            if isinstance(item, Finished):
                brought.finished = item
                break
            brought.character_count += len(item.text)
            if isinstance(item, ReasoningDelta):
                brought.thoughts.append(item.text)
            else:
                assert isinstance(item, TextDelta)
                if not brought.pieces:
                    brought.first_text_at = time.monotonic()
                brought.pieces.append(item.text)
                if screen is not None:
                    screen.show(item.text)
            if brought.character_count > REPLY_CHARACTERS_MAX:
                brought.finished = Finished(
                    usage=None,
                    finish_reason=FinishReason.LENGTH,
                    model=request.model,
                    provider=client.provider,
                )
                break


def _model_error(call: "asyncio.Task[None]", provider: str) -> ModelError | None:
    """How a finished call failed; None when it did not."""
    error = asyncio.CancelledError() if call.cancelled() else call.exception()
    if error is None or isinstance(error, ModelError):
        return error
    logger.opt(exception=error).error("a model client raised what it should not", provider=provider)
    return ModelError(ModelErrorCode.INTERNAL, "The model client failed.", provider=provider)


def _of_span(brought: _Brought, started: float) -> dict[str, Value | None]:
    """What a span tells of a call that has ended: counts and names, nothing that was said."""
    if brought.first_text_at is not None:
        measures.FIRST_TOKEN.observe(brought.first_text_at - started)
    finished = brought.finished
    if finished is None:
        return {}
    usage = finished.usage
    return {
        "gen_ai.response.model": finished.model,
        "gen_ai.response.finish_reasons": (finished.finish_reason.value,),
        "gen_ai.usage.input_tokens": None if usage is None else usage.input_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.output_tokens,
    }


def _wire(step_id: UUID) -> str:
    return ids.to_wire(ids.Kind.STEP, step_id)
