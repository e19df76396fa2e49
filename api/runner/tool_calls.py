"""The calls that a model asks for: refused, asked about, made, or found to be of an unknown end.

    no such tool, unfit arguments      refused: the model is told why
    a rule or a person says no         denied: the model is told so
    a rule or the tool asks a person   the turn is parked until somebody has decided
    begun by a run that is gone        `once`: a person decides about it; else it is made again

Calls of one round are made in the model's order, transitions last. What a call has brought lies with its
step, so a call that has ended is never made again.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from loguru import logger

from api.agents.bounds import NAME_CHARACTERS_MAX
from api.agents.definition import ApprovalMode, Node, Tool, ToolEffect
from api.agents.fitting import SchemaRefused, Schemas
from api.agents.policy import Rule, RuleAction, decide_by_rules
from api.models.base import ToolSpec
from api.prompt.progress import (
    UNKNOWN_CONTENT,
    OpenCall,
    Progress,
    Recorded,
    ToolAnswer,
    ToolEnd,
    ToolRequest,
    idempotency_key,
)
from api.runner.endings import break_off, insist, to_its_end
from api.runner.limits import TurnLimits
from api.runner.run import OUT_OF_TIME, TOOL_MISSING, Run, TurnFailed, TurnLost
from api.runner.tools.base import ArgumentsRefused, Invocation, Toolbox, ToolOutcome, ToolResult
from api.session import ids
from api.session.document import Approval, ApprovalReason, Decision, Notice
from api.store import Store
from api.store.base import utc_now
from api.store.running import Intent
from api.telemetry import tracing
from api.telemetry.tracing import Span

CALLS_MAX = 16
"""Calls of one round that are made; more are refused."""

_SCHEMAS = Schemas()

_ENDS = {
    ToolOutcome.COMPLETED: ToolEnd.COMPLETED,
    ToolOutcome.FAILED: ToolEnd.FAILED,
    ToolOutcome.UNKNOWN: ToolEnd.UNKNOWN,
}


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """The tools that the model may call in this round."""

    tools: dict[str, Tool]
    specs: dict[str, ToolSpec]
    """Of those that can be reached now."""


class ToolCalls:
    """Carries out the tool calls of all turns of a process."""

    def __init__(self, store: Store, toolbox: Toolbox, limits: TurnLimits) -> None:
        self._store = store
        self._toolbox = toolbox
        self._limits = limits

    async def offer(self, run: Run, node: Node) -> Offered:
        """Find out what can be called in a node; what cannot is noted."""
        tools = run.definition.tools_of(node)
        if not tools:
            return Offered(tools={}, specs={})
        offer = await self._toolbox.offer(run.claim.organization_id, tools)
        for missing in offer.missing:
            message = f"The tool `{missing.name}` is missing: {missing.reason}"
            run.missing[missing.name] = Notice(code=TOOL_MISSING, message=message)
        return Offered(
            tools={tool.name: tool for tool in tools}, specs={spec.name: spec for spec in offer.specs}
        )

    async def carry_out(self, run: Run, progress: Progress) -> tuple[Approval, ...]:
        """Answer the open calls of the round that are no transitions; those that a person is asked about are
        returned, and stay open.

        Raises:
            TurnLost: the turn was taken from the run.
            TurnFailed: the turn's time is over.
        """
        offered = await self.offer(run, progress.asked_in)
        rules = await self._store.approvals.rules(run.claim.organization_id)
        asked: list[Approval] = []
        for call in progress.open_tools:
            if call.index >= CALLS_MAX:
                await self.refuse(run, progress, call, f"At most {CALLS_MAX} calls are made at a time.")
                continue
            if call.step is not None:
                approval = await self._take_up(run, progress, offered, call)
            elif call.approval is not None:
                approval = await self._go_on(run, progress, offered, call, call.approval)
            else:
                approval = await self._begin(run, progress, offered, call, rules)
            if approval is not None:
                asked.append(approval)
        return tuple(asked)

    async def refuse(self, run: Run, progress: Progress, call: OpenCall, reason: str) -> None:
        """Answer a call that is not made."""
        request = _request(progress, call, effect=ToolEffect.READ)
        await self._record(run, request, ToolAnswer(end=ToolEnd.REFUSED, content=reason))

    async def record_transition(
        self, run: Run, progress: Progress, call: OpenCall, answer: ToolAnswer
    ) -> UUID:
        """Write that a transition was taken; answers its step."""
        return await self._record(run, _request(progress, call, effect=ToolEffect.READ), answer)

    async def _begin(
        self, run: Run, progress: Progress, offered: Offered, call: OpenCall, rules: Sequence[Rule]
    ) -> Approval | None:
        """Answer a call that nobody has looked at yet."""
        tool, spec = offered.tools.get(call.call.name), offered.specs.get(call.call.name)
        if tool is None or spec is None:
            await self.refuse(run, progress, call, _unavailable(call.call.name, tool))
            return None
        try:
            arguments = self._toolbox.check(spec, call.call.arguments)
        except ArgumentsRefused as refusal:
            await self.refuse(run, progress, call, str(refusal))
            return None
        action = decide_by_rules(tool.name, tool.approval, arguments, tool.cost, rules, satisfies=_satisfies)
        request = _request(progress, call, effect=tool.effect, arguments=arguments)
        if action is RuleAction.DENY:
            content = "The rules of the organization do not allow this call, so it was not made."
            await self._record(run, request, ToolAnswer(end=ToolEnd.DENIED, content=content))
            return None
        if action is RuleAction.ASK:
            is_required = tool.approval is ApprovalMode.ALWAYS
            reason = ApprovalReason.REQUIRED if is_required else ApprovalReason.POLICY
            return self._question(run, request, reason)
        await self._make(run, tool, request, self._store.running.new_step_id())
        return None

    async def _go_on(
        self, run: Run, progress: Progress, offered: Offered, call: OpenCall, approval: Approval
    ) -> Approval | None:
        """Make a call that was approved: with the arguments that a person has seen."""
        assert approval.decision is Decision.APPROVED, "a turn waits while a question is open"
        tool = offered.tools.get(approval.tool)
        if tool is None or approval.tool not in offered.specs:
            await self.refuse(run, progress, call, _not_again(call, _unavailable(approval.tool, tool)))
            return None
        request = _request(progress, call, effect=tool.effect, arguments=approval.arguments)
        step_id = ids.from_wire(ids.Kind.STEP, approval.step_id)
        assert step_id is not None
        await self._make(run, tool, request, step_id)
        return None

    async def _take_up(
        self, run: Run, progress: Progress, offered: Offered, call: OpenCall
    ) -> Approval | None:
        """Go on with a call that was begun, and of whose end nobody knows."""
        assert call.step is not None
        assert call.step.request is not None
        if call.approval is not None:
            return await self._go_on(run, progress, offered, call, call.approval)
        request = call.step.request
        if request.effect == ToolEffect.ONCE:
            return self._question(run, request, ApprovalReason.OUTCOME_UNKNOWN)
        tool = offered.tools.get(request.tool)
        if tool is None or request.tool not in offered.specs:
            await self.refuse(run, progress, call, _not_again(call, _unavailable(request.tool, tool)))
            return None
        await self._make(run, tool, request, self._store.running.new_step_id())
        return None

    async def _make(self, run: Run, tool: Tool, request: ToolRequest, step_id: UUID) -> None:
        """Make the call, within the turn's time.

        Raises:
            TurnLost: the turn was taken from the run.
            TurnFailed: the turn's time is over.
        """
        run.check_time()
        await self._start(run, request, step_id)
        if not run.hold.is_firm:
            # Stopped between the intent and the call: somebody else may have the turn by now.
            never_made = ToolAnswer(end=ToolEnd.FAILED, content="This call was not made.")
            await self._write_end(run, step_id, "failed", never_made)
            raise TurnLost
        invocation = Invocation(
            organization_id=run.claim.organization_id,
            tool=tool,
            arguments=request.arguments,
            idempotency_key=idempotency_key(run.work.turn.id, request),
            context=run.context,
            variables=run.progress().variables,
        )
        with tracing.span(
            f"execute_tool {tool.name}",
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool.name,
                "gen_ai.tool.call.id": ids.to_wire(ids.Kind.STEP, step_id),
                "gen_ai.conversation.id": run.work.head.session.id,
            },
        ) as span:
            await self._call(run, tool, invocation, step_id, span)

    async def _call(self, run: Run, tool: Tool, invocation: Invocation, step_id: UUID, span: Span) -> None:
        started = time.monotonic()
        making = asyncio.create_task(self._toolbox.call(invocation))
        lost = asyncio.create_task(run.hold.lost.wait())
        try:
            await asyncio.wait({making, lost}, timeout=run.seconds_left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also when this process stops: what is known of the call is written.
            lost.cancel()
            is_over = making.done()
            await to_its_end(self._finish(run, tool, step_id, making, span))
        logger.info("tool called", tool=tool.name, latency_ms=round((time.monotonic() - started) * 1000))
        if run.hold.lost.is_set() and not is_over:
            raise TurnLost
        if not is_over:
            raise TurnFailed(OUT_OF_TIME)

    async def _finish(
        self, run: Run, tool: Tool, step_id: UUID, making: "asyncio.Task[ToolResult]", span: Span
    ) -> None:
        """Break the call off if it still goes on, and write how it has ended."""
        if not making.done():
            if not await break_off(making):
                logger.warning("a tool call does not let go", tool=tool.name)
            answer = ToolAnswer(end=ToolEnd.UNKNOWN, content=UNKNOWN_CONTENT)
            await self._write_end(run, step_id, "cancelled", answer)
        else:
            result = _result(making)
            if result.outcome is not ToolOutcome.COMPLETED:
                span.fail(result.outcome.value)
            await self._end(run, step_id, _answer(tool, result))

    async def _record(self, run: Run, request: ToolRequest, answer: ToolAnswer) -> UUID:
        """Write a step that nothing is waited for in."""
        step_id = self._store.running.new_step_id()
        await self._start(run, request, step_id)
        await self._end(run, step_id, answer)
        return step_id

    async def _start(self, run: Run, request: ToolRequest, step_id: UUID) -> None:
        intent = Intent(
            id=step_id,
            kind="tool",
            purpose="tool",
            speaker=run.definition.speaker_name,
            provider=None,
            model=None,
            started_at=run.next_instant(),
            request=msgspec.to_builtins(request),
        )
        if not await self._store.running.start_step(run.claim, intent):
            raise TurnLost
        run.is_known_whole = False
        step = Recorded(
            id=ids.to_wire(ids.Kind.STEP, step_id), purpose="tool", state="started", request=request
        )
        run.steps.append(step)

    async def _end(self, run: Run, step_id: UUID, answer: ToolAnswer) -> None:
        state = "completed" if answer.end is ToolEnd.COMPLETED else "failed"
        if not await self._write_end(run, step_id, state, answer):
            raise TurnLost  # a successor has taken the call for lost
        run.answered(ids.to_wire(ids.Kind.STEP, step_id), answer, state=state)

    async def _write_end(self, run: Run, step_id: UUID, state: str, answer: ToolAnswer) -> bool:
        result = msgspec.to_builtins(answer)
        end = partial(self._store.running.end_tool_step, run.claim, step_id, state, result)
        return await insist(end, step_id, seconds_max=self._limits.settle_seconds)

    def _question(self, run: Run, request: ToolRequest, reason: ApprovalReason) -> Approval:
        now = utc_now()
        return Approval(
            id=ids.to_wire(ids.Kind.APPROVAL, self._store.running.new_step_id()),
            asked_by=request.asked_by,
            call_index=request.call_index,
            step_id=ids.to_wire(ids.Kind.STEP, self._store.running.new_step_id()),
            tool=request.tool,
            arguments=request.arguments,
            arguments_digest=request.arguments_digest,
            reason=reason,
            effect=request.effect,
            requested_at=now,
            expires_at=now + timedelta(seconds=run.definition.limits.approval_seconds),
        )


def digest_of(tool: str, arguments: dict[str, Any]) -> str:
    """SHA-256 in hex of a call: what a decision about it is bound to."""
    canonical = msgspec.json.encode({"tool": tool, "arguments": arguments}, order="sorted")
    return hashlib.sha256(canonical).hexdigest()


def _satisfies(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool | None:
    try:
        return not _SCHEMAS.faults(schema, arguments)
    except SchemaRefused:
        return None


def _request(
    progress: Progress, call: OpenCall, *, effect: ToolEffect, arguments: dict[str, Any] | None = None
) -> ToolRequest:
    made_with = arguments or {}
    return ToolRequest(
        tool=_short(call.call.name),
        effect=effect.value,
        asked_by=call.asked_by,
        call_index=call.index,
        arguments=made_with,
        arguments_digest=digest_of(call.call.name, made_with),
        node=progress.asked_in.name,
    )


def _result(making: "asyncio.Task[ToolResult]") -> ToolResult:
    """What a call has brought. One that raised may have had its effect before it did."""
    if not making.cancelled() and making.exception() is None:
        return making.result()
    error = asyncio.CancelledError() if making.cancelled() else making.exception()
    logger.opt(exception=error).error("a toolbox raised what it should not")
    return ToolResult(outcome=ToolOutcome.UNKNOWN, content=UNKNOWN_CONTENT)


def _answer(tool: Tool, result: ToolResult) -> ToolAnswer:
    if result.outcome is ToolOutcome.UNKNOWN and tool.effect is not ToolEffect.ONCE:
        # It may be made again at no risk, and whether it should be is the model's to say.
        return ToolAnswer(end=ToolEnd.FAILED, content=result.content)
    return ToolAnswer(end=_ENDS[result.outcome], content=result.content)


def _not_again(call: OpenCall, reason: str) -> str:
    """Why an open call is not made; one that was begun before may have had its effect."""
    return reason if call.step is None else f"{UNKNOWN_CONTENT} It was not made again: {reason}"


def _short(name: str) -> str:
    """A name as it is kept; those of tools that are there are not as long as that."""
    return name[:NAME_CHARACTERS_MAX]


def _unavailable(name: str, tool: Tool | None) -> str:
    if tool is None:
        return f"There is no tool called `{_short(name)}` here."
    return f"The tool `{name}` cannot be reached now."
