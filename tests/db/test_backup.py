"""Backup and restore, rehearsed as docs/operations.md says: nothing acknowledged before is missing after."""

import asyncio
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from api.session import ids
from api.session.document import TurnState
from api.store.doctor import whole_document
from db import embedded
from db.migrate import migrate, migrations_folder
from db.pool import Pool, open_pool
from db.postgres_binaries import find_binaries
from tests.factories import World, make_world
from tests.store.test_doctor import findings, lived_in


def program(name: str) -> str:
    """One of the programs that come with Postgres, of the newest version that there is here."""
    return str(find_binaries(major_version=None).folder / name)


async def run(*words: str) -> None:
    """Run a program as an operator would."""
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def document(pool: Pool, world: World, session_id: str) -> object:
    row = ids.from_wire(ids.Kind.SESSION, session_id)
    assert row is not None
    async with pool.acquire() as conn:
        return await whole_document(conn, world.caller.organization_id, row)


async def test_a_dump_of_a_running_service_is_restored_whole(
    pool: Pool, database_url: str, server_dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    world = await lived_in(pool)
    before = (await world.conversation(3)).session.id
    as_it_was = await document(pool, world, before)
    file = str(tmp_path / "turnledger.dump")
    is_done = asyncio.Event()

    async def go_on() -> int:
        count = 0
        while not is_done.is_set():
            await world.conversation(1)
            count += 1
        return count

    going = asyncio.create_task(go_on())
    await run(program("pg_dump"), "--format=custom", f"--file={file}", database_url)
    is_done.set()
    assert await going > 0, "the service went on meanwhile"
    name = urlsplit(database_url).path.removeprefix("/") + "_restored"
    restored_dsn = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    await admin.execute(f'CREATE DATABASE "{name}"')
    try:
        await run(program("pg_restore"), "--no-owner", f"--dbname={restored_dsn}", file)
        assert await migrate(restored_dsn, migrations_folder()) == [], "the schema came along"
        async with await open_pool(restored_dsn, size_max=4) as restored:
            there = world.on(restored)
            assert await findings(there) == {}
            assert await document(restored, there, before) == as_it_was
            await there.append(before, None, "And on")
            while (await there.answer("On.")).session_id != ids.from_wire(ids.Kind.SESSION, before):
                pass
            turns = (await there.store.reading.document(there.caller, before)).turns
            assert turns[-1].state is TurnState.COMPLETED
            assert await findings(there) == {}
    finally:
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_a_copy_of_the_data_folder_of_a_stopped_service_starts_elsewhere(
    run_folder: Path, request: pytest.FixtureRequest
) -> None:
    folder = run_folder / f"backup-{request.node.name[-20:]}"
    copied = folder.with_name(f"{folder.name}-copied")
    async with embedded.running(folder) as dsn:
        await migrate(dsn, migrations_folder())
        async with await open_pool(dsn, size_max=4) as pool:
            world = await make_world(pool)
            session_id = (await world.conversation(2)).session.id
            as_it_was = await document(pool, world, session_id)

    await run("cp", "-a", str(folder), str(copied))

    async with embedded.running(copied) as dsn, await open_pool(dsn, size_max=4) as pool:
        there = world.on(pool)
        assert await document(pool, there, session_id) == as_it_was
        assert await findings(there) == {}
    await run("rm", "--recursive", str(folder), str(copied))
