"""A runner that stops leaves no turn behind that waits for a lease to run out."""

import asyncio
from typing import Any

import pytest

from api.agents.definition import Definition
from api.models.registry import Models, ModelsConfig
from api.runner import loop
from api.runner.loop import Runner, RunnerLimits
from api.store.running import Claim
from db.pool import Pool
from tests.factories import make_world

_SECONDS_MAX = 10


async def test_a_turn_whose_claim_was_under_way_is_handed_back(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    session = (await world.session()).session
    await world.append(session.id, 1, "Hello there")
    claim_now = world.store.running.claim
    is_claimed, may_answer = asyncio.Event(), asyncio.Event()

    async def claim_slowly(**options: Any) -> Claim | None:
        claim = await claim_now(**options)
        is_claimed.set()
        await may_answer.wait()
        return claim

    monkeypatch.setattr(world.store.running, "claim", claim_slowly)
    models = Models(ModelsConfig(), environ={})
    async with asyncio.timeout(_SECONDS_MAX):
        async with Runner(world.store, models, world.hub, name="first", limits=RunnerLimits()):
            await is_claimed.wait()
            asyncio.get_running_loop().call_later(0.05, may_answer.set)

    assert await claim_now(runner="second", lease_seconds=15) is not None
    await models.close()


async def test_a_database_that_does_not_answer_holds_up_no_stop(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(pool)
    is_asked = asyncio.Event()

    async def ask_in_vain(**_: Any) -> Claim | None:
        is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.store.running, "claim", ask_in_vain)
    monkeypatch.setattr(loop, "LET_GO_SECONDS_MAX", 0.05)
    models = Models(ModelsConfig(), environ={})

    async with asyncio.timeout(_SECONDS_MAX):
        async with Runner(world.store, models, world.hub, name="first", limits=RunnerLimits()):
            await is_asked.wait()

    await models.close()
