"""One turn, from the claim to the commit that ends it or parks it.

    take up      settle what an earlier run left open; go on from what it finished
    speak        call the model with what the turn has brought so far
    carry out    answer the calls that it asks for: tools, then a transition
    publish      the reply is committed, or the questions to people, unless the run has lost its turn

Where a turn stands is worked out from its recorded steps after every one of them (`api.prompt.progress`), so
a run goes on from another's steps just as from its own. A call that has ended is never made again.
"""

import time
from functools import partial

from loguru import logger

from api.agents import templates
from api.agents.templates import RenderedTooLong
from api.events import Hub
from api.models.base import FinishReason, ModelError, ModelErrorCode, ToolSpec
from api.models.registry import Models
from api.prompt import frame
from api.prompt.progress import Progress
from api.runner.delta_log import DeltaLog
from api.runner.endings import insist
from api.runner.hold import holding
from api.runner.leaks import end_lost
from api.runner.limits import TurnLimits
from api.runner.model_calls import ModelCalls
from api.runner.run import Run, TurnFailed, TurnLost, recorded
from api.runner.tool_calls import ToolCalls
from api.runner.tools.base import Toolbox
from api.runner.transitions import Transitions
from api.session import commands, ids
from api.session.document import Approval, Change, Head, Reply, StepSummary, TurnError, Usage
from api.store import Store
from api.store.base import utc_now
from api.store.errors import BudgetExceeded
from api.store.running import RUNNER, Claim, Known, Publishing, Work, turn_id_of
from api.telemetry import measures, tracing
from api.telemetry.tracing import Span


class TurnRunner:
    """Carries out claimed turns; one for all turns of a process."""

    def __init__(
        self,
        store: Store,
        models: Models,
        toolbox: Toolbox,
        hub: Hub,
        deltas: DeltaLog,
        limits: TurnLimits,
    ) -> None:
        self._store = store
        self._hub = hub
        self._deltas = deltas
        self._limits = limits
        self._models = ModelCalls(store, models, deltas, limits)
        self._tools = ToolCalls(store, toolbox, limits)
        self._transitions = Transitions(self._models, self._tools, deltas)

    async def run(self, claim: Claim) -> None:
        """Carry a claimed turn out. Ends with the turn final or parked, or with the run having lost it."""
        started = time.monotonic()
        work = await self._store.running.work(claim)
        if work is None:
            return
        if claim.is_take_over:
            measures.TAKE_OVERS.inc()
        elif claim.is_first:
            waited = utc_now() - work.turn.created_at
            measures.QUEUE_WAIT.observe(max(waited.total_seconds(), 0))
        agent = work.head.session.agent
        with tracing.span(
            "invoke_agent",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": agent.id,
                "gen_ai.agent.version": str(agent.version),
                "gen_ai.conversation.id": work.head.session.id,
                "turnledger.turn.id": turn_id_of(claim),
                "turnledger.run.attempt": claim.attempt,
            },
        ) as span:
            outcome = await self._carry_out(claim, work, span)
        measures.RUN_TIME.labels(outcome=outcome).observe(time.monotonic() - started)

    async def _carry_out(self, claim: Claim, work: Work, span: Span) -> str:
        """Do the turn's work and publish it; answers how the run ended."""
        agent = work.head.session.agent
        version = await self._store.agents.agent_version(claim.organization_id, agent.id, agent.version)
        definition = version.definition
        seconds_max = min(
            definition.limits.turn_seconds or self._limits.turn_seconds, self._limits.turn_seconds
        )
        try:
            async with holding(
                self._store.running,
                self._hub,
                claim,
                lease_seconds=self._limits.lease_seconds,
                heartbeat_seconds=self._limits.heartbeat_seconds,
            ) as hold:
                run = Run(claim, hold, work, definition, seconds_max=seconds_max)
                command = await self._outcome_of_turn(run)
                await self._deltas.flush()
                # Steps of earlier runs, and of tools, are in the database alone.
                known = Known(head=work.head, steps=tuple(run.made)) if run.is_known_whole else None
                is_published = await self._store.running.publish(claim, command, known=known)
        except TurnLost:
            is_published = False
        finally:
            self._deltas.forget(claim)
        outcome = run.outcome if is_published else "lost"
        if is_published and run.error_code is not None:
            measures.ERRORS.labels(where="turn", code=run.error_code).inc()
            span.fail(run.error_code)
        span.set({"turnledger.run.outcome": outcome})
        logger.info("turn ended" if is_published else "turn lost", outcome=outcome)
        return outcome

    async def _outcome_of_turn(self, run: Run) -> Publishing:
        """Do the turn's work; answers the command that ends or parks it."""
        greeting = run.definition.greeting
        try:
            if run.work.turn.user_message is None and isinstance(greeting, str):
                return _greeting(run, greeting)
            attempts_max = self._limits.attempts_max
            exhausted = TurnError(
                code="attempts_exhausted", message=f"{attempts_max} runs of this turn were lost."
            )
            if run.claim.attempt > attempts_max + 1:
                # The run that should have found this out was lost over it: something in the steps is bad.
                return _failing(run, exhausted)
            await self._take_up(run)
            progress = run.progress()
            if not progress.is_answered and run.claim.attempt > attempts_max:
                return _failing(run, exhausted)
            while not progress.is_answered:
                run.check_time()
                if progress.open_tools:
                    # What was said before a tool is called is seen before it is.
                    await self._deltas.flush()
                    asked = await self._tools.carry_out(run, progress)
                    if asked:
                        return _parking(run, asked)
                elif progress.open_calls:
                    await self._transitions.take(run, progress)
                else:
                    await self._speak(run, progress)
                progress = run.progress()
            return _completing(run, progress)
        except TurnFailed as failure:
            return _failing(run, failure.error)
        except RenderedTooLong as error:
            return _failing(run, TurnError(code="template_too_long", message=str(error)))
        except BudgetExceeded as error:
            return _failing(run, TurnError(code="budget_exceeded", message=f"{error}."))
        except ModelError as error:
            return _failing(
                run,
                TurnError(
                    code=error.code,
                    message=error.message,
                    provider=error.provider,
                    provider_status=error.status,
                ),
            )

    async def _speak(self, run: Run, progress: Progress) -> None:
        """Call the model, and again when its stream breaks in the middle, within the turn's time."""
        tools: tuple[ToolSpec, ...] = ()
        if progress.takes_tools(run.definition):
            offered = await self._tools.offer(run, progress.node)
            ways_out = frame.transition_specs(progress.transitions(run.definition))
            tools = (*offered.specs.values(), *ways_out)
        of_reply = frame.of_reply(
            run.definition,
            progress.node,
            run.work.turn,
            context=run.context,
            variables=progress.variables,
            messages=progress.messages,
            tools=tools,
        )
        purpose = "greeting" if run.work.turn.user_message is None else "reply"
        for tries_left in reversed(range(self._limits.stream_breaks_max + 1)):
            try:
                await self._models.make(run, of_reply, purpose=purpose, separator=progress.separator)
                break
            except ModelError as error:
                is_broken = error.code is ModelErrorCode.STREAM_BROKEN
                if not (is_broken and tries_left and run.has_time):
                    raise
            # What the broken call has said is in the ledger; readers drop it and hear the next one.
            await self._take_back(run, run.steps[-1].id)
        said = run.steps[-1].id
        if all(piece.step_id != said for piece in run.progress().pieces):
            await self._take_back(run, said)

    async def _take_back(self, run: Run, step_id: str) -> None:
        """Readers drop what a step has shown, if it has shown anything."""
        await self._deltas.flush()
        row = ids.from_wire(ids.Kind.STEP, step_id)
        assert row is not None
        await self._store.running.take_back(run.claim, row)

    async def _take_up(self, run: Run) -> None:
        """Go on from what earlier runs of the turn have left.

        Calls that were never ended are settled, for their process is gone. Readers drop what a call has
        shown that came to nothing, and get the rest of what one has said that had come to its end.
        """
        steps = run.work.steps
        open_steps = [step for step in steps if step.state == "started"]
        for step in open_steps:
            end = partial(end_lost, self._store.running, run.claim, step.id, kind=step.kind, model=step.model)
            await insist(end, step.id, seconds_max=self._limits.settle_seconds)
        if open_steps:
            # A run believed dead may have ended its call just before us: then we go on from its result.
            steps = await self._store.running.steps(run.claim)
        run.steps = [recorded(step) for step in steps]
        if not steps:
            return
        shown = dict(await self._store.running.shown(run.claim))
        pieces = {piece.step_id: piece.text for piece in run.progress().pieces}
        for row in shown:
            if ids.to_wire(ids.Kind.STEP, row) not in pieces:
                await self._store.running.take_back(run.claim, row)
        for step_id, text in pieces.items():
            said_by = ids.from_wire(ids.Kind.STEP, step_id)
            assert said_by is not None
            stored_count = len(shown.get(said_by, ""))
            if stored_count < len(text):
                self._deltas.add(run.claim, run.hold, said_by, offset=stored_count, text=text[stored_count:])


def _greeting(run: Run, template: str) -> Publishing:
    """The command that publishes a greeting that the definition spells out; no model is asked."""
    values = templates.scope(run.context, run.work.head.session.variables)
    text = templates.render(templates.read(template), values)

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        now = utc_now()
        reply = Reply(speaker=run.definition.speaker_name, text=text, created_at=now)
        return commands.complete(
            head,
            turn_id=turn_id_of(run.claim),
            replies=(reply,),
            steps=steps,
            usage=usage,
            now=now,
            actor=RUNNER,
        )

    return command


def _completing(run: Run, progress: Progress) -> Publishing:
    """The command that publishes the reply.

    Raises:
        TurnFailed: the answer is not what the node asks for.
        ModelError: the model said nothing: a reply without text is no reply.
    """
    if progress.misfit is not None:
        raise TurnFailed(TurnError(code="answer_misfit", message=progress.misfit))
    if not progress.text:
        is_withheld = progress.finish_reason is FinishReason.FILTER
        message = "The provider withheld the reply." if is_withheld else "The model said nothing."
        provider = run.definition.model.partition(":")[0]
        raise ModelError(ModelErrorCode.EMPTY_REPLY, message, provider=provider)
    node = progress.node

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        now = utc_now()
        reply = Reply(
            speaker=run.definition.speaker_name,
            text=progress.text,
            created_at=now,
            truncated=progress.finish_reason is FinishReason.LENGTH,
        )
        return commands.complete(
            head,
            turn_id=turn_id_of(run.claim),
            replies=(reply,),
            steps=steps,
            usage=usage,
            now=now,
            actor=RUNNER,
            node=node.name if progress.has_moved else None,
            variables=progress.variables if progress.has_moved else None,
            notices=run.notices(),
            ends_session=node.end,
            resolution=(node.resolution or node.name) if node.end else None,
        )

    return command


def _parking(run: Run, asked: tuple[Approval, ...]) -> Publishing:
    run.outcome = "awaiting_approval"
    text = run.progress().text

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        now = utc_now()
        said = Reply(speaker=run.definition.speaker_name, text=text, created_at=now)
        return commands.request_approvals(
            head,
            turn_id=turn_id_of(run.claim),
            approvals=asked,
            replies=(said,) if text else (),
            steps=steps,
            usage=usage,
            now=now,
            actor=RUNNER,
            notices=run.notices(),
        )

    return command


def _failing(run: Run, error: TurnError) -> Publishing:
    run.outcome, run.error_code = "failed", error.code

    def command(head: Head, steps: tuple[StepSummary, ...], usage: Usage | None) -> Change:
        return commands.fail(
            head,
            turn_id=turn_id_of(run.claim),
            error=error,
            steps=steps,
            usage=usage,
            now=utc_now(),
            actor=RUNNER,
            notices=run.notices(),
        )

    return command
