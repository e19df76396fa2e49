"""How the tests of this folder call a model."""

from contextlib import aclosing
from typing import Any

import msgspec

from api.models.base import Finished, Message, ModelClient, ModelError, ModelRequest, TextDelta


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call."""

    text: str
    delta_count: int
    finished: Finished | None
    error: ModelError | None


async def call(client: ModelClient, **fields: Any) -> Heard:
    """Run one call to its end, whatever that is."""
    request = ModelRequest(
        **{"model": "m-1", "messages": (Message(role="user", text="Hello"),), **fields},
    )
    deltas: list[str] = []
    finished: Finished | None = None
    error: ModelError | None = None
    try:
        async with aclosing(client.stream(request)) as stream:
            async for item in stream:
                assert finished is None, "nothing comes after Finished"
                if isinstance(item, TextDelta):
                    deltas.append(item.text)
                else:
                    finished = item
    except ModelError as caught:
        error = caught
    return Heard(text="".join(deltas), delta_count=len(deltas), finished=finished, error=error)
