"""A cancellation may be lost: then a connection that cannot be given back raises `TimeoutError` in its place.

What works until it is told to stop stops all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.app import process, sweeps
from api.models.registry import Models, ModelsConfig
from api.runner import leaks
from api.runner.loop import Runner, RunnerLimits
from api.settings import load
from api.stopping import stopped
from db.pool import Pool
from tests.factories import make_world

_SECONDS_MAX = 10


def losing_the_first(began: asyncio.Event) -> Callable[..., Awaitable[Any]]:
    """Work that never ends, and answers its first cancellation with another error."""

    async def work(*_: object, **__: object) -> None:
        is_first = not began.is_set()
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if is_first:
                raise TimeoutError from None
            raise

    return work


async def test_a_task_that_goes_on_is_cancelled_again() -> None:
    began = asyncio.Event()
    work = losing_the_first(began)

    async def forever() -> None:
        while True:
            try:
                await work()
            except TimeoutError:
                continue

    task = asyncio.create_task(forever())
    await began.wait()

    async with asyncio.timeout(_SECONDS_MAX):
        await stopped(task)

    assert task.cancelled()


async def test_what_a_task_ended_with_before_is_not_raised() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.wait({task})

    await stopped(task)

    assert isinstance(task.exception(), ValueError)


async def test_a_runner_stops_though_its_keeper_goes_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world(pool)
    began = asyncio.Event()
    monkeypatch.setattr(leaks, "settle_leaked", losing_the_first(began))
    models = Models(ModelsConfig(), environ={})

    async with asyncio.timeout(_SECONDS_MAX):
        async with Runner(
            world.store, models, world.hub, name="test", limits=RunnerLimits(leak_seconds=0.02)
        ):
            await began.wait()

    await models.close()


async def test_a_process_stops_though_its_sweep_goes_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()
    monkeypatch.setattr(sweeps, "sweep", losing_the_first(began))
    settings = load({"TURNLEDGER_DATABASE_URL": database_url, "TURNLEDGER_RUNNERS": "0"}, {})

    async with asyncio.timeout(_SECONDS_MAX):
        async with process.assembled(settings, {}, application_name="test"):
            await began.wait()
