"""The service behind a real PgBouncer in transaction mode, set up as docs/operations.md says.

Not among the ordinary tests, which need nothing but Python: `make pgbouncer` runs it.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from api.agents.definition import Definition
from db.pool import connect_options
from tests import pgbouncer
from tests.e2e.services import ROOT, serving
from tests.event_streams import following, names, text_of
from tests.factories import make_world

_SECONDS_MAX = 120
_SESSIONS = 12
_TURNS_EACH = 4


def modes() -> list[bool]:
    """With prepared statements where this PgBouncer passes them on, and always without."""
    with contextlib.suppress(pgbouncer.PgBouncerMissing):
        return [False, True] if pgbouncer.program()[1] >= pgbouncer.PREPARES_SINCE else [False]
    return [False]


@pytest.fixture(params=modes(), ids=lambda prepares: "prepared" if prepares else "unprepared")
def between(
    request: pytest.FixtureRequest, database_url: str, run_folder: Path
) -> Iterator[pgbouncer.Pooler]:
    """The pooler before the database of the test."""
    with pgbouncer.running(database_url, run_folder, prepares_statements=request.param) as pooler:
        yield pooler


@pytest.fixture
async def direct(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server itself; the role has what the pooler drops."""
    conn = await asyncpg.connect(database_url, **connect_options(database_url))
    await pgbouncer.set_role(conn, database_url)
    yield conn
    await conn.close()


async def test_conversations_are_had_behind_a_pooler_in_transaction_mode(
    between: pgbouncer.Pooler,
    direct: asyncpg.Connection,
    database_url: str,
    pool: asyncpg.Pool,
    tmp_path: Path,
) -> None:
    environ = {
        "TURNLEDGER_DATABASE_URL": between.in_front_of(database_url),
        "TURNLEDGER_NOTIFY_DATABASE_URL": database_url,
        "TURNLEDGER_PREPARED_STATEMENTS": "on" if between.prepares_statements else "off",
    }
    # Two processes find an empty database at the same moment, and bring it to the schema through the pooler.
    await direct.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with (
        serving(tmp_path / "serve", "--runners", "0", environ=environ) as service,
        serving(tmp_path / "worker", environ=environ, command="worker") as worker,
    ):
        assert (await asyncio.to_thread(service.wait_until_ready)).status_code == 200
        await asyncio.to_thread(worker.wait_until_it_works)
        world = await make_world(pool, definition=Definition(model="scripted:slow"))
        key = (await world.store.access.create_key(world.organization_id, name="test")).secret
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            asyncio.timeout(_SECONDS_MAX),
            httpx.AsyncClient(base_url=f"{service.address}/v1", headers=headers, timeout=30) as client,
        ):
            session = await created(client, world.agent.id)
            await is_streamed(client, session)
            await one_of_two_wins(client, session)
            await is_cancelled(client, session)
            await goes_back_and_forth(client, session)
            await asyncio.gather(*(has_turns(client, world.agent.id) for _ in range(_SESSIONS)))
            ledger = (await client.get("/usage/entries", params={"limit": 1})).json()
        open_count = await direct.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name IN ('turnledger serve', 'turnledger worker')"
        )
        async with await asyncpg.create_pool(
            environ["TURNLEDGER_DATABASE_URL"],
            min_size=1,
            statement_cache_size=0,
            **connect_options(database_url),
        ) as through:
            shown = {name: await through.fetchval(f"SHOW {name}") for name in pgbouncer.ROLE_SETTINGS}
    examined = await asyncio.to_thread(examine, database_url, tmp_path)

    assert "Traceback" not in service.output + worker.output
    assert " ERROR " not in service.output + worker.output
    assert 1 <= open_count <= pgbouncer.SERVER_CONNECTIONS, "they reached the server through the pooler"
    assert shown == pgbouncer.ROLE_SETTINGS
    assert ledger["head"] >= _SESSIONS * _TURNS_EACH
    assert examined.returncode == 0, examined.stdout + examined.stderr


async def created(client: httpx.AsyncClient, agent_id: str) -> Any:
    made = await client.post("/sessions", json={"agent_id": agent_id})
    assert made.status_code == 201, made.text
    return made.json()


async def document(client: httpx.AsyncClient, session: Any) -> Any:
    return (await client.get(f"/sessions/{session['id']}")).json()


async def changed(client: httpx.AsyncClient, session: Any, command: str, **body: Any) -> Any:
    """Carry a command out at the newest revision, and wait until nothing is unfinished."""
    revision = (await document(client, session))["revision"]
    answer = await client.post(
        f"/sessions/{session['id']}/{command}", json={"expected_revision": revision, **body}
    )
    assert answer.status_code == 200, answer.text
    return await document(client, session)


async def is_streamed(client: httpx.AsyncClient, session: Any) -> None:
    """What is heard is what is kept."""
    async with following(
        client,
        f"/sessions/{session['id']}/messages",
        method="POST",
        body={"text": "My name is Ada.", "expected_revision": 1},
    ) as stream:
        received = await stream.rest()
    [turn] = (await document(client, session))["turns"]
    assert names(received) == ["turn.created", "turn.delta", "turn.completed", "end"]
    assert turn["replies"][0]["text"] == text_of(received)


async def one_of_two_wins(client: httpx.AsyncClient, session: Any) -> None:
    """Of two writes at one revision one is refused, and says so."""
    revision = (await document(client, session))["revision"]
    answers = await asyncio.gather(
        *(
            client.patch(f"/sessions/{session['id']}", json={"name": name, "expected_revision": revision})
            for name in ("One", "Two")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert (await document(client, session))["revision"] == revision + 1


async def is_cancelled(client: httpx.AsyncClient, session: Any) -> None:
    """A running turn is stopped, and keeps what was heard."""
    revision = (await document(client, session))["revision"]
    async with following(
        client,
        f"/sessions/{session['id']}/messages",
        method="POST",
        body={"text": "Tell me a lot, and then some more.", "expected_revision": revision},
    ) as stream:
        received = await stream.until("turn.delta")
        turn_id = received[-1].data["turn_id"]
        cancelled = await client.post(f"/sessions/{session['id']}/turns/{turn_id}/cancel", json={})
        received += await stream.rest()
    assert cancelled.status_code == 200, cancelled.text
    assert names(received)[-2:] == ["turn.cancelled", "end"]
    assert (await document(client, session))["turns"][-1]["replies"][0]["text"] == text_of(received)


async def goes_back_and_forth(client: httpx.AsyncClient, session: Any) -> None:
    """Rewound, gone on elsewhere, and restored."""
    before = await document(client, session)
    rewound = await changed(client, session, "rewind", to="start")
    elsewhere = await changed(client, session, "messages", text="Something else.")
    restored = await changed(client, session, "restore", ordinal=1)

    assert (rewound["cursor"], elsewhere["turn_count"]) == (0, 1)
    assert restored["turns"] == before["turns"]
    assert [future["ordinal"] for future in restored["discarded_futures"]] == [2]


async def has_turns(client: httpx.AsyncClient, agent_id: str) -> None:
    """One of many conversations at once."""
    session = await created(client, agent_id)
    for number in range(_TURNS_EACH):
        found = await changed(client, session, "messages", text=f"Word {number}.")
    assert [turn["state"] for turn in found["turns"]] == ["completed"] * _TURNS_EACH
    heard = await client.get(f"/sessions/{session['id']}/events", params={"after": 0})
    assert [event["revision"] for event in heard.json()["items"]] == list(range(1, found["revision"] + 1))


def examine(database_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`turnledger doctor`, at the server itself."""
    return subprocess.run(
        [sys.executable, "-m", "api", "doctor", "--sessions", "100", "--data-dir", str(folder / "doctor")],
        cwd=ROOT,
        env={"PATH": "", "TURNLEDGER_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
