"""The reader of docs/billing.md is killed and resumed under 24 writers: 0 rows missed, 0 twice.

With a key of the installation it copies the ledgers of all organizations, those that are made meanwhile too.
"""

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from db import usage
from db.pool import connect_options
from tests.e2e.services import ROOT
from tests.factories import World, make_world
from tests.ledger import PRICES, paid_turn
from tests.routes.service import listening, make_app, make_state
from tests.scale import scaled
from tests.test_cli_partitions import archive, lived_in

ROWS = scaled(short=20_000, long=100_000)
WRITERS = 24
KILLS_MIN = 10
FEW_ROWS = scaled(short=480, long=2_400)
FEW_KILLS_MIN = 3
HEADS_OF_A_PAGE = 200
SECONDS_MAX = 300

_STEPS = """
INSERT INTO steps (organization_id, id, session_id, turn_id, run_id, attempt, kind, purpose, speaker,
                   provider, model, started_at, request, state)
SELECT $1, gen_random_uuid(), md5('session' || n % 500)::uuid, gen_random_uuid(), gen_random_uuid(), 1,
       'model', 'reply', 'Ada', 'scripted', 'echo', now(), '{}', 'started'
  FROM generate_series(1, $2::int) n
"""

# Each settlement is a transaction of its own, by the store's statement; only the way to the server is spared.
_SETTLE_SHARE = """
DO $writer$
DECLARE
    step uuid;
    mine uuid[] := ARRAY(SELECT id FROM steps WHERE organization_id = '{organization}'
                                              AND mod(abs(hashtext(id::text)), {writers}) = {number});
BEGIN
    FOREACH step IN ARRAY mine LOOP
        EXECUTE format('EXECUTE settle (%L, %L, ''completed'', %L, NULL, %L, ''echo'', 7, 0, 0, 3, 0, %L,
                        ''prices'', 0.000013, ''USD'', ''provider'', true, ''completed'', 5)',
                       '{organization}', step, clock_timestamp(), gen_random_uuid(), '{prices}');
        COMMIT;
    END LOOP;
END $writer$
"""


async def write_share(dsn: str, organization: str, number: int) -> None:
    """Settle the calls of one writer, one after the other."""
    conn = await asyncpg.connect(dsn, **connect_options(dsn))
    try:
        await conn.execute(f"PREPARE settle AS {usage._SETTLE}")
        await conn.execute(
            _SETTLE_SHARE.format(
                organization=organization, writers=WRITERS, number=number, prices=PRICES.decode()
            ),
            timeout=SECONDS_MAX,
        )
    finally:
        await conn.close()


@asynccontextmanager
async def reading(
    address: str, key: str, copy: Path, *archives: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "docs" / "examples" / "billing_reader.py"),
        address,
        str(copy),
        *(str(archive) for archive in archives),
        env={**os.environ, "TURNLEDGER_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_and_resumed_reader_has_every_row_exactly_once(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    world = await make_world(pool)
    organization = str(world.caller.organization_id)
    await pool.execute(_STEPS, world.caller.organization_id, ROWS)
    key = (await world.store.access.create_key(world.organization_id, name="billing")).secret
    copy, chance, kills = tmp_path / "billing.sqlite", random.Random(7), 0

    async with (
        asyncio.timeout(SECONDS_MAX),
        listening(make_app(make_state(world))) as address,
        asyncio.TaskGroup() as group,
    ):
        writing = [
            group.create_task(write_share(database_url, organization, number)) for number in range(WRITERS)
        ]
        while kills < KILLS_MIN or not all(task.done() for task in writing):
            async with reading(address, key, copy) as process:
                ended = asyncio.create_task(process.wait())
                await asyncio.wait({ended}, timeout=chance.uniform(0.1, 1.0))
                kills += not ended.done()
                assert not ended.done() or ended.result() == 0
                ended.cancel()
        async with reading(address, key, copy) as process:
            said, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()

    await require_equal(world, copy, count=ROWS)
    assert kills >= KILLS_MIN, "without kills nothing was tested"
    assert said


async def test_a_reader_of_the_installation_has_the_rows_of_every_organization(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    worlds = [await make_world(pool, name=f"Writes {number}") for number in range(3)]
    for world in worlds:
        await pool.execute(_STEPS, world.caller.organization_id, FEW_ROWS)
    access = worlds[0].store.access
    for number in range(HEADS_OF_A_PAGE):
        await access.create_organization(f"Silent {number}")
    key = (await access.create_installation_key(name="billing")).secret
    copy, chance, kills = tmp_path / "billing.sqlite", random.Random(7), 0

    async with (
        asyncio.timeout(SECONDS_MAX),
        listening(make_app(make_state(worlds[0]))) as address,
        asyncio.TaskGroup() as group,
    ):
        writing = [
            group.create_task(write_share(database_url, str(world.caller.organization_id), number))
            for world in worlds
            for number in range(WRITERS)
        ]
        while kills < FEW_KILLS_MIN or not all(task.done() for task in writing):
            async with reading(address, key, copy) as process:
                ended = asyncio.create_task(process.wait())
                await asyncio.wait({ended}, timeout=chance.uniform(0.1, 0.6))
                kills += not ended.done()
                ended.cancel()
            worlds.append(await make_world(pool, name="Made meanwhile"))
        late = worlds[-1]
        await paid_turn(late, (await late.session()).session.id)
        async with reading(address, key, copy) as process:
            _, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()

    for world in worlds[:3]:
        await require_equal(world, copy, count=FEW_ROWS)
    await require_equal(late, copy, count=1)
    with sqlite3.connect(copy) as opened:
        (count,) = opened.execute("SELECT count(*) FROM entries").fetchone()
    opened.close()
    assert count == 3 * FEW_ROWS + 1


async def require_equal(world: World, copy: Path, *, count: int) -> None:
    """The copy and the ledger hold the same rows, each once."""
    with sqlite3.connect(copy) as opened:
        query = "SELECT seq, id, entry FROM entries WHERE organization_id = ? ORDER BY seq"
        rows = opened.execute(query, (world.organization_id,)).fetchall()
    opened.close()
    assert [row[0] for row in rows] == list(range(1, count + 1))
    assert len({row[1] for row in rows}) == count
    assert len({json.loads(row[2])["step_id"] for row in rows}) == count
    totals = await world.store.reading.usage_totals(world.caller)
    assert (totals.last_seq, totals.call_count) == (count, count)


@asynccontextmanager
async def answering(*pages: dict[str, Any]) -> AsyncIterator[str]:
    """A service that answers one call after the other with these; yields its address."""
    left = list(pages)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(left.pop(0)).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        yield f"http://{host}:{port}"


def heads_page(head: int) -> dict[str, Any]:
    return {"items": [{"organization_id": "org_1", "head": head}], "next_page_token": None}


def entries_page(*seqs: int) -> dict[str, Any]:
    items = [{"seq": seq, "id": f"use_{seq}"} for seq in seqs]
    return {"items": items, "next": seqs[-1], "head": seqs[-1], "archived_through": 0}


@pytest.mark.parametrize("seqs", [[2], [1, 3]])
async def test_the_reader_stops_at_a_row_that_is_missing(tmp_path: Path, seqs: list[int]) -> None:
    async with (
        answering(heads_page(seqs[-1]), entries_page(*seqs)) as address,
        reading(address, "tl_x", tmp_path / "copy.sqlite") as process,
    ):
        _, errors = await process.communicate()

    assert process.returncode == 1
    assert b"is missing" in errors


async def test_the_reader_stops_at_a_ledger_that_is_shorter_than_its_copy(tmp_path: Path) -> None:
    codes = []
    async with answering(heads_page(2), entries_page(1, 2), heads_page(1)) as address:
        for _ in range(2):
            async with reading(address, "tl_x", tmp_path / "copy.sqlite") as process:
                _, errors = await process.communicate()
                codes.append(process.returncode)

    assert codes == [0, 1]
    assert b"an older backup?" in errors


async def test_a_reader_goes_on_where_old_entries_have_left_for_an_archive(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    world = await lived_in(pool)
    key = (await world.store.access.create_key(world.organization_id, name="billing")).secret
    early, late, whole = (tmp_path / f"{name}.sqlite" for name in ("early", "late", "whole"))
    said = []
    async with asyncio.timeout(SECONDS_MAX), listening(make_app(make_state(world))) as address:

        async def read(copy: Path, *archives: Path) -> None:
            async with reading(address, key, copy, *archives) as process:
                output, errors = await process.communicate()
                said.append((process.returncode, (output + errors).decode().strip()))

        await read(early)
        archive({"TURNLEDGER_DATABASE_URL": database_url}, tmp_path)
        left = tmp_path / "usage_entries_first.jsonl"
        await paid_turn(world, (await world.session()).session.id)
        await read(early)
        await read(late)
        await read(whole, left)
        await read(whole)

    await require_equal(world, early, count=6)
    await require_equal(world, whole, count=6)
    assert said == [
        (0, "5 new rows"),
        (0, "1 new rows"),
        (1, f"row 1 of {world.organization_id} has left for an archive: name the files of all"),
        (0, "3 new rows"),
        (0, "0 new rows"),
    ]


async def test_a_reader_of_a_ledger_that_has_left_whole_comes_to_its_end(tmp_path: Path) -> None:
    gone = {"items": [], "next": 2, "head": 2, "archived_through": 2}
    left = tmp_path / "left.jsonl"
    left.write_text("".join(f'{{"organization_id": "org_1", "seq": {n}, "id": "use_{n}"}}\n' for n in (1, 2)))
    async with answering(heads_page(2), gone, heads_page(2)) as address:
        outcomes = []
        for archives in ([], [left]):
            async with reading(address, "tl_x", tmp_path / "copy.sqlite", *archives) as process:
                await process.communicate()
                outcomes.append(process.returncode)

    assert outcomes == [1, 0]
