"""A failover: on a standby reading goes on and writing is put off, and the one that is promoted is found."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.app.asgi import build_state
from api.settings import Settings
from db.migrate import migrate, migrations_folder
from db.pool import Pool, open_pool
from tests.chaos.postgres import Postgres
from tests.factories import World, make_world
from tests.routes.service import Api, make_app, make_state

READY = {"database": True, "writable": True, "migrations": True}


@dataclass(frozen=True)
class Pair:
    """A primary, and a standby that has what the primary had: a session of two turns."""

    primary: Postgres
    standby: Postgres
    world: World
    session_id: str
    secret: str

    @property
    def dsn(self) -> str:
        """Of whichever of the two takes writes."""
        both = f":{self.primary.port},127.0.0.1:{self.standby.port}/"
        return f"{self.primary.dsn.replace(f':{self.primary.port}/', both)}?target_session_attrs=read-write"

    @asynccontextmanager
    async def service(self, dsn: str) -> AsyncIterator[tuple[Api, Pool]]:
        """The API on a database of theirs."""
        async with await open_pool(dsn, size_max=4) as pool:
            there = self.world.on(pool)
            api = Api(there, make_app(make_state(there)), self.secret)
            yield api, pool
            await api.close()


@pytest.fixture
async def pair(run_folder: Path) -> AsyncIterator[Pair]:
    """Both run; the standby was copied from the primary while that was stopped."""
    folder = run_folder / f"pair-{os.urandom(4).hex()}"
    primary, standby = Postgres(folder / "primary"), Postgres(folder / "standby")
    try:
        await primary.start()
        await migrate(primary.dsn, migrations_folder())
        async with await open_pool(primary.dsn, size_max=4) as pool:
            world = await make_world(pool)
            session_id = (await world.conversation(2)).session.id
            key = await world.store.access.create_key(world.organization_id, name="test")
        await asyncio.to_thread(primary.stop)
        copying = await asyncio.create_subprocess_exec("cp", "-a", folder / "primary", folder / "standby")
        assert await copying.wait() == 0
        stay_in_recovery(folder / "standby" / "cluster")
        await primary.start()
        await standby.start()
        yield Pair(primary, standby, world, session_id, key.secret)
    finally:
        for server in (primary, standby):
            await asyncio.to_thread(server.stop)
        shutil.rmtree(folder)


def stay_in_recovery(cluster: Path) -> None:
    """Make a stopped server a standby, until it is promoted."""
    mark = cluster / "standby.signal"
    mark.touch()
    owner = cluster.stat()
    os.chown(mark, owner.st_uid, owner.st_gid)


async def checks(pair: Pair, pool: Pool) -> dict[str, bool]:
    there = pair.world.on(pool)
    return await build_state(Settings(), pool=pool, store=there.store, hub=there.hub).check()


def is_put_off(response: httpx.Response) -> bool:
    """Whether the call was not done and may be sent again."""
    told = (response.status_code, response.json()["code"], response.headers.get("retry-after"))
    return told == (503, "unavailable", "1")


async def test_a_standby_is_read_and_what_writes_is_told_to_come_again(pair: Pair) -> None:
    path = f"/v1/sessions/{pair.session_id}"
    async with pair.service(pair.standby.dsn) as (api, pool):
        found = await checks(pair, pool)
        session = await api.get(path)
        created = await api.call("POST", "/v1/sessions", {"agent_id": pair.world.agent.id})
        ended = await api.call("POST", f"{path}/end", {"expected_revision": session["revision"]})

    assert found == READY | {"writable": False}
    assert session["turn_count"] == 2
    assert is_put_off(created)
    assert is_put_off(ended)


async def test_the_standby_that_is_promoted_is_written_without_a_restart(pair: Pair) -> None:
    path = f"/v1/sessions/{pair.session_id}"
    async with (
        pair.service(pair.dsn) as (api, pool),
        await open_pool(pair.standby.dsn, size_max=1) as promoting,
    ):
        before = await checks(pair, pool)
        on_primary = await api.session()
        await asyncio.to_thread(pair.primary.stop)
        meanwhile = await checks(pair, pool)
        refused = await api.call("POST", f"{path}/end", {"expected_revision": 5})
        await promoting.execute("SELECT pg_promote()")
        afterwards = await checks(pair, pool)
        await api.append(await api.get(path))
        turn_count = (await api.get(path))["turn_count"]

    assert (before, meanwhile, afterwards) == (READY, {"database": False}, READY)
    assert on_primary["revision"] == 1
    assert is_put_off(refused)
    assert turn_count == 3
