"""What a model says is stored the moment it begins to speak, and then in batches."""

import asyncio
from collections.abc import AsyncGenerator

from api.agents.definition import Definition
from api.models.base import Finished, FinishReason, ModelRequest, StreamItem, TextDelta
from api.models.registry import Models, ModelsConfig
from api.runner.loop import Runner, RunnerLimits
from db.pool import Pool
from tests.factories import make_world
from tests.runner.test_loop import until_final

_SECONDS_MAX = 20
_NEVER_SECONDS = 600


class Speaking:
    """A model that says its words one by one when it is told to go on."""

    provider = "speaking"

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        yield TextDelta("First, ")
        await self.may_go_on.wait()
        yield TextDelta("second, ")
        yield TextDelta("third.")
        yield Finished(
            usage=None, finish_reason=FinishReason.STOP, model=request.model, provider=self.provider
        )

    async def close(self) -> None:
        """There is nothing to release."""


async def until_stored(pool: Pool, *, turn_count: int) -> None:
    async with asyncio.timeout(_SECONDS_MAX):
        while await pool.fetchval("SELECT count(DISTINCT turn_id) FROM deltas") < turn_count:
            await asyncio.sleep(0.01)


async def test_the_first_piece_of_each_reply_is_stored_at_once_and_the_rest_together(pool: Pool) -> None:
    world, model = await make_world(pool, definition=Definition(model="speaking:on")), Speaking()
    models = Models(ModelsConfig(), environ={}, clients=[model])
    limits = RunnerLimits(flush_seconds=_NEVER_SECONDS)
    turns = []
    async with Runner(world.store, models, world.hub, name="test", limits=limits):
        for count in (1, 2):
            # The second reply begins right after a batch was stored, and is not kept waiting for the next.
            session_id = (await world.session()).session.id
            turns.append((session_id, (await world.append(session_id, 1)).turns[0].id))
            await until_stored(pool, turn_count=count)
        model.may_go_on.set()
        for session_id, turn_id in turns:
            await until_final(world, session_id, turn_id)

    rows = await pool.fetch("SELECT turn_id, text FROM deltas ORDER BY turn_id, number")
    assert [row["text"] for row in rows] == ["First, ", "second, third."] * 2
