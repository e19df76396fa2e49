"""An upgrade as docs/operations.md says: both releases work on the next schema, and nobody notices.

The release behind this one is this one with further migrations, which do to every table what a migration may
do: a new column on each, and a new table and an index beside.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from api.agents.definition import Definition
from db.migrate import migrations_folder, read_migrations
from db.pool import Pool
from tests import image
from tests.e2e.services import ServiceProcess, serving
from tests.event_streams import following, names, text_of
from tests.factories import make_world
from tests.store.test_doctor import findings

_SECONDS_MAX = 120
_TALKERS = 4
_TURNS_MIN = 3
_TABLES = """
SELECT relname FROM pg_class
 WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
   AND relname <> 'schema_migrations'
 ORDER BY relname
"""
_BESIDE = """
CREATE TABLE next_things (organization_id uuid NOT NULL, id uuid NOT NULL, PRIMARY KEY (organization_id, id));
CREATE INDEX next_turns ON turns (organization_id, created_at);
"""


class Talker:
    """Talks in a session of its own, now at one process and now at the other, until it is told to stop."""

    def __init__(self, clients: list[httpx.AsyncClient], agent_id: str) -> None:
        self.clients = clients
        self.is_done = asyncio.Event()
        self.turn_count = 0
        self.session: Any = None
        self._agent_id = agent_id

    async def talk(self) -> None:
        """Every command at its revision; whatever is answered must be a success."""
        self.session = await self._call("POST", "/sessions", {"agent_id": self._agent_id})
        path = f"/sessions/{self.session['id']}"
        while not self.is_done.is_set() or self.turn_count < _TURNS_MIN:
            await self._say(f"Word {self.turn_count}.")
            if self.turn_count % 3 == 0:
                await self._call("POST", f"{path}/rewind", {"to": "start", **await self._seen()})
                await self._say("Something else.")
                futures = (await self._call("GET", path))["discarded_futures"]
                ordinal = {"ordinal": futures[-1]["ordinal"]}
                await self._call("POST", f"{path}/restore", {**ordinal, **await self._seen()})

    async def _say(self, text: str) -> None:
        body = {"text": text, **await self._seen()}
        answer = await self._call("POST", f"/sessions/{self.session['id']}/messages", body)
        [turn] = [turn for turn in answer["turns"] if turn["id"] == answer["turn_id"]]
        assert turn["state"] == "completed", turn
        self.turn_count += 1

    async def _seen(self) -> dict[str, int]:
        document = await self._call("GET", f"/sessions/{self.session['id']}")
        return {"expected_revision": document["revision"]}

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        # Each call at the next process: what one has written, the other goes on from.
        self.clients.append(self.clients.pop(0))
        answer = await self.clients[0].request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


async def next_release(folder: Path, conn: asyncpg.Connection) -> Path:
    """The tree of the release behind this one."""
    await asyncio.to_thread(image.lay, folder)
    number = read_migrations(migrations_folder())[-1].number
    # A file for each table: in one transaction they would wait for each other's readers.
    files = [
        (f"extend_{row[0]}", f"ALTER TABLE {row[0]} ADD COLUMN next_release text NOT NULL DEFAULT 'x';")
        for row in await conn.fetch(_TABLES)
    ]
    for name, sql in [*files, ("create_next_things", _BESIDE)]:
        number += 1
        (folder / "migrations" / f"{number:04}_{name}.sql").write_text(sql)
    return folder


def client_of(service: ServiceProcess, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=f"{service.address}/v1", headers=headers, timeout=30)


async def test_two_releases_serve_the_same_sessions_on_the_next_schema(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    world = await make_world(pool, definition=Definition(model="scripted:echo"))
    slow = await make_world(pool, definition=Definition(model="scripted:slow"))
    key, slow_key = [
        (await one.store.access.create_key(one.organization_id, name="x")).secret for one in (world, slow)
    ]
    tree = await next_release(tmp_path / "tree", pool)
    environ = {"TURNLEDGER_DATABASE_URL": database_url}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(_SECONDS_MAX))
        old = stack.enter_context(serving(tmp_path / "old", "--runners", "0", environ=environ))
        worker = stack.enter_context(serving(tmp_path / "worker", environ=environ, command="worker"))
        await asyncio.to_thread(old.wait_until_ready)
        await asyncio.to_thread(worker.wait_until_it_works)
        clients = [await stack.enter_async_context(client_of(old, key))]
        talkers = [Talker(clients, world.agent.id) for _ in range(_TALKERS)]
        talking = [asyncio.create_task(talker.talk()) for talker in talkers]
        listener = await stack.enter_async_context(client_of(old, slow_key))
        session = (await listener.post("/sessions", json={"agent_id": slow.agent.id})).json()
        stream = await stack.enter_async_context(
            following(
                listener,
                f"/sessions/{session['id']}/messages",
                method="POST",
                body={"text": "My name is Ada. Tell me all that you know.", "expected_revision": 1},
            )
        )
        heard = await stream.until("turn.delta")

        new = stack.enter_context(serving(tmp_path / "new", "--runners", "2", environ=environ, root=tree))
        # While the one migrates, a process of the old release is started again.
        back = stack.enter_context(serving(tmp_path / "back", "--runners", "0", environ=environ))
        for service in (new, back):
            assert (await asyncio.to_thread(service.wait_until_ready)).status_code == 200
        heard += await stream.rest()
        still = await listener.get(f"{old.address}/health/ready")
        clients.append(await stack.enter_async_context(client_of(new, key)))
        before = [talker.turn_count for talker in talkers]
        while any(
            talker.turn_count < count + _TURNS_MIN for talker, count in zip(talkers, before, strict=True)
        ):
            assert not [task for task in talking if task.done() and task.exception()]
            await asyncio.sleep(0.05)
        for talker in talkers:
            talker.is_done.set()
        await asyncio.gather(*talking)

    kept = (await slow.store.reading.document(slow.caller, session["id"])).turns[0]
    _, head = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=1)
    assert still.status_code == 200
    assert names(heard) == ["turn.created", "turn.delta", "turn.completed", "end"]
    assert text_of(heard) == kept.replies[0].text
    assert head == sum(talker.turn_count for talker in talkers)
    assert await pool.fetchval("SELECT count(DISTINCT next_release) FROM turns") == 1, "it was migrated"
    for process in (old, worker, new, back):
        assert "Traceback" not in process.output
    assert await findings(world) == {}
