"""How the tests of this folder call a model."""

from contextlib import aclosing
from typing import Any

import msgspec

from api.models.base import (
    Finished,
    Message,
    ModelClient,
    ModelError,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
)


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call."""

    text: str
    delta_count: int
    finished: Finished | None
    error: ModelError | None
    reasoning: str

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Names and arguments of what the model asked for."""
        return [(call.name, call.arguments) for call in self.asked]

    @property
    def asked(self) -> tuple[ToolCall, ...]:
        """What the model asked for."""
        assert self.finished is not None, self.error
        return self.finished.tool_calls


def made_request(**fields: Any) -> ModelRequest:
    """A request; the user says hello unless told otherwise."""
    return ModelRequest(**{"model": "m-1", "messages": (Message(role="user", text="Hello"),), **fields})


async def call(client: ModelClient, **fields: Any) -> Heard:
    """Run one call to its end, whatever that is."""
    request = made_request(**fields)
    deltas: list[str] = []
    thoughts: list[str] = []
    finished: Finished | None = None
    error: ModelError | None = None
    try:
        async with aclosing(client.stream(request)) as stream:
            async for item in stream:
                assert finished is None, "nothing comes after Finished"
                if isinstance(item, TextDelta):
                    deltas.append(item.text)
                elif isinstance(item, ReasoningDelta):
                    thoughts.append(item.text)
                else:
                    finished = item
    except ModelError as caught:
        error = caught
    return Heard(
        text="".join(deltas),
        delta_count=len(deltas),
        finished=finished,
        error=error,
        reasoning="".join(thoughts),
    )
