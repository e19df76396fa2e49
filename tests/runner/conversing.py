"""Turns of agents with tools: a model that says what it is told to, and tools that the test watches."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec

from api.agents.definition import Definition, Tool
from api.models.base import (
    Finished,
    FinishReason,
    ModelRequest,
    ModelUsage,
    ReasoningDelta,
    StreamItem,
    TextDelta,
    ToolCall,
    ToolSpec,
)
from api.models.registry import Models, ModelsConfig
from api.runner.limits import TurnLimits
from api.runner.loop import Runner, RunnerLimits
from api.runner.tools.base import (
    ArgumentsRefused,
    Invocation,
    MissingTool,
    Offer,
    ToolOutcome,
    ToolResult,
)
from api.session import ids
from api.session.document import Approval, Decision, Turn, TurnState
from db.pool import Pool
from tests.factories import World, make_world, rendered

SECONDS_MAX = 10


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the model."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""


def asks(*calls: tuple[str, Any], text: str = "") -> Line:
    """An answer that asks for tools, each with its arguments."""
    return Line(
        text=text,
        calls=tuple(
            ToolCall(
                id=f"call_{number}",
                name=name,
                arguments=arguments
                if isinstance(arguments, str)
                else msgspec.json.encode(arguments).decode(),
            )
            for number, (name, arguments) in enumerate(calls)
        ),
    )


class Model:
    """A model that says the lines it is given, one for each call, and keeps what it was asked."""

    provider = "lines"

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = list(lines)
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        self.requests.append(request)
        line = self.lines.pop(0)
        if line.reasoning:
            yield ReasoningDelta(line.reasoning)
        for word in line.text.split(" ") if line.text else ():
            yield TextDelta(word if word == line.text.split(" ")[-1] else f"{word} ")
        yield Finished(
            usage=ModelUsage(input_tokens=100, output_tokens=10),
            finish_reason=FinishReason.TOOL_CALLS if line.calls else FinishReason.STOP,
            model=request.model,
            provider=self.provider,
            tool_calls=line.calls,
        )

    async def close(self) -> None:
        """There is nothing to release."""


class Tools:
    """Tools that the test answers for. By default a call answers with its arguments."""

    def __init__(self) -> None:
        self.made: list[Invocation] = []
        self.missing: dict[str, str] = {}
        self.answer: Callable[[Invocation], Awaitable[ToolResult]] = _echo

    async def offer(self, organization_id: UUID, tools: Sequence[Tool]) -> Offer:
        return Offer(
            specs=tuple(
                ToolSpec(name=tool.name, description=tool.description, parameters={"type": "object"})
                for tool in tools
                if tool.name not in self.missing
            ),
            missing=tuple(
                MissingTool(name=tool.name, reason=self.missing[tool.name])
                for tool in tools
                if tool.name in self.missing
            ),
        )

    def check(self, spec: ToolSpec, arguments: str) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except msgspec.DecodeError:
            raise ArgumentsRefused("The arguments are no JSON object.") from None
        return value

    async def call(self, invocation: Invocation) -> ToolResult:
        self.made.append(invocation)
        return await self.answer(invocation)

    async def close(self) -> None:
        """There is nothing to release."""


async def _echo(invocation: Invocation) -> ToolResult:
    content = msgspec.json.encode(invocation.arguments).decode()
    return ToolResult(outcome=ToolOutcome.COMPLETED, content=content)


class Stage:
    """An organization with such an agent, one session of it, and what was said and done."""

    def __init__(self, pool: Pool, world: World, session_id: str, model: Model, tools: Tools) -> None:
        self.pool = pool
        self.world = world
        self.session_id = session_id
        self.model = model
        self.tools = tools

    @asynccontextmanager
    async def running(self, *, grace_seconds: float = 10, **limits: Any) -> AsyncIterator[None]:
        """A runner beside the test; more than one may run."""
        models = Models(ModelsConfig(), environ={}, clients=[self.model])
        runner = Runner(
            self.world.store,
            models,
            self.world.hub,
            name="test",
            limits=RunnerLimits(turn=TurnLimits(**limits), shutdown_grace_seconds=grace_seconds),
            toolbox=self.tools,
        )
        async with runner:
            yield

    async def say(self, text: str = "Hello") -> Turn:
        """Append a message; answers its pending turn."""
        return (await self.world.append(self.session_id, None, text)).turns[-1]

    async def until(self, turn_id: str, *states: TurnState) -> Turn:
        """Wait until the turn is in one of the states (by default: final), woken by the hub."""
        row = ids.from_wire(ids.Kind.SESSION, self.session_id)
        assert row is not None
        async with asyncio.timeout(SECONDS_MAX):
            with self.world.hub.listening(row) as listener:
                while True:
                    turn = await self.world.store.reading.turn(self.world.caller, self.session_id, turn_id)
                    if turn.state in states if states else turn.state.is_final:
                        return turn
                    await listener.wait(seconds_max=0.2)

    async def cancel(self, turn_id: str) -> None:
        """Cancel a turn."""
        await self.world.store.sessions.cancel(
            self.world.caller,
            self.session_id,
            turn_id=turn_id,
            expected=None,
            idempotency=None,
            render=rendered,
        )

    async def decide(
        self, approval: Approval, decision: Decision, *, note: str | None = None, always: bool = False
    ) -> None:
        """Say what a person says of a call."""
        await self.world.store.approvals.decide(
            self.world.caller,
            approval.id,
            decision=decision,
            arguments_digest=approval.arguments_digest,
            note=note,
            is_standing=always,
            expected=None,
            idempotency=None,
            render=rendered,
        )

    async def rewind(self, turn_id: str) -> None:
        """Move the cursor behind a turn."""
        await self.world.store.sessions.rewind(
            self.world.caller,
            self.session_id,
            turn_id=turn_id,
            expected=None,
            idempotency=None,
            render=rendered,
        )

    async def ask(self, text: str = "Hello") -> Turn:
        """Append a message and wait until its turn is final; there must be a runner."""
        return await self.until((await self.say(text)).id)


async def stage(
    pool: Pool, definition: Definition, *lines: Line, context: dict[str, Any] | None = None
) -> Stage:
    """Set the stage for an agent whose model is `lines:one`."""
    world = await make_world(pool, definition=definition)
    session = (await world.session(context=context)).session
    return Stage(pool, world, session.id, Model(lines), Tools())
