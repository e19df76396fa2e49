"""The Postgres of the chaos programme dies as by a power cut, and stops as a whole."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.chaos.postgres import Postgres


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[Postgres]:
    server = Postgres(tmp_path / "data")
    await server.start()
    yield server
    await asyncio.to_thread(server.stop)


async def test_a_killed_server_keeps_what_was_on_the_disk_and_nothing_else(postgres: Postgres) -> None:
    conn = await asyncpg.connect(postgres.dsn, ssl=False)
    await conn.execute("CREATE TABLE notes (text text)")
    await conn.execute("INSERT INTO notes VALUES ('on the disk')")
    await conn.execute("SET synchronous_commit = off")
    await conn.execute("INSERT INTO notes VALUES ('in memory')")

    postgres.kill()
    await postgres.start()

    conn.terminate()
    conn = await asyncpg.connect(postgres.dsn, ssl=False)
    kept = [row["text"] for row in await conn.fetch("SELECT text FROM notes")]
    await conn.close()
    assert kept == ["on the disk"]


async def test_a_paused_server_answers_nobody_until_it_goes_on(postgres: Postgres) -> None:
    conn = await asyncpg.connect(postgres.dsn, ssl=False)

    postgres.pause()
    asking = asyncio.create_task(conn.fetchval("SELECT 1"))
    done, _ = await asyncio.wait({asking}, timeout=0.5)
    postgres.go_on()

    assert not done
    assert await asyncio.wait_for(asking, 10) == 1
    await conn.close()
