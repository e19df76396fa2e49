"""The second wall: one organization's rows at a time, whatever a statement asks for, and no stale setting."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from api.store import NotFound
from api.store.base import act_for
from api.store.store import Store
from db.pool import Pool, open_pool
from db.row_security import (
    APPLICATION_ROLE,
    BoundConnection,
    RowSecurityError,
    acting_for,
    bind_taken,
    open_application_pool,
    prepare_role,
)
from tests.factories import World, make_world

OPEN = {"schema_migrations"}
"""Tables that belong to nobody; the application role has no rights on them."""


@pytest.fixture
async def walled(database_url: str, pool: Pool) -> AsyncIterator[Pool]:
    async with await open_application_pool(database_url, size_max=3) as opened:
        yield opened


async def furnished(pool: Pool, name: str) -> World:
    """An organization with rows in most tables."""
    world = await make_world(pool, name=name)
    await world.conversation(2)
    await world.store.access.create_key(world.organization_id, name="x")
    return world


async def tables_of(pool: Pool) -> dict[str, str]:
    """Every table, with the column that names its organization (empty for none)."""
    async with pool.acquire() as conn:
        rows = await conn.fetch(
            """SELECT c.relname, COALESCE(max(a.attname) FILTER (WHERE a.attname = 'organization_id'), '')
                 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                GROUP BY c.relname"""
        )
    return {name: "id" if name == "organizations" else column for name, column in rows}


async def test_every_table_has_its_wall(pool: Pool) -> None:
    async with pool.acquire() as conn:
        rows = await conn.fetch(
            """SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                  AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))"""
        )

    assert {name for (name,) in rows} == OPEN


async def test_a_statement_that_forgets_its_organization_sees_ones_own_rows(pool: Pool, walled: Pool) -> None:
    one, two = await furnished(pool, "One"), await furnished(pool, "Two")
    seen = {}
    for world in (one, two):
        act_for(world.caller)
        async with walled.acquire() as conn:
            for table, column in (await tables_of(pool)).items():
                if column:
                    rows = await conn.fetch(f'SELECT DISTINCT "{column}" FROM "{table}"')
                    seen[world.organization_id, table] = {row[0] for row in rows}

    for world in (one, two):
        own = {
            table: found
            for (organization_id, table), found in seen.items()
            if organization_id == world.organization_id
        }
        assert all(found <= {world.caller.organization_id} for found in own.values()), own
        assert {table for table, found in own.items() if found} >= {
            *("organizations", "api_keys", "agents", "agent_versions"),
            *("sessions", "branches", "turns", "events", "runs"),
        }


async def test_nobody_is_shown_nothing(pool: Pool, walled: Pool) -> None:
    await furnished(pool, "One")
    acting_for.set(None)

    async with walled.acquire() as conn:
        counts = {
            table: await conn.fetchval(f'SELECT count(*) FROM "{table}"')
            for table, column in (await tables_of(pool)).items()
            if column
        }
        view = await conn.fetch("SELECT * FROM session_documents")

    assert set(counts.values()) == {0}
    assert view == []


async def test_rows_of_others_are_neither_changed_nor_made(pool: Pool, walled: Pool) -> None:
    one, two = await furnished(pool, "One"), await furnished(pool, "Two")
    act_for(one.caller)
    foreign = two.caller.organization_id

    async with walled.acquire() as conn:
        changed = await conn.execute("UPDATE sessions SET name = 'Mine' WHERE organization_id = $1", foreign)
        deleted = await conn.execute("DELETE FROM events WHERE organization_id = $1", foreign)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(
                "INSERT INTO branches (organization_id, session_id, number, branch_point) "
                "VALUES ($1, $2, 0, 0)",
                foreign,
                uuid4(),
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute("UPDATE api_keys SET organization_id = $1", foreign)
        for table in (*OPEN, "installation_keys"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(f'SELECT * FROM "{table}"')
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute("TRUNCATE deltas")

    assert (changed, deleted) == ("UPDATE 0", "DELETE 0")


async def test_the_store_finds_nothing_of_others_even_if_it_asks_for_it(pool: Pool, walled: Pool) -> None:
    one, two = await furnished(pool, "One"), await furnished(pool, "Two")
    session = (await two.session()).session.id
    store = Store(walled, two.hub)

    act_for(one.caller)
    with pytest.raises(NotFound):
        await store.reading.revision(two.caller, session)
    act_for(two.caller)
    assert await store.reading.revision(two.caller, session) == 1


async def told(conn: asyncpg.Connection) -> str:
    return str(await conn.fetchval("SELECT current_setting('turnledger.organization_id')"))


async def strays(walled: Pool) -> list[tuple[str, str]]:
    """Have many tasks share few connections, cut off anywhere, failing, leaving transactions behind.

    Answers what a connection was told, and what it should have been, wherever these differ.
    """
    organizations = [UUID(int=number) for number in range(1, 6)]
    chance = random.Random(20_261_121)  # no secret
    wrong: list[tuple[str, str]] = []
    taken = 0

    async def use(wanted: str, way: int) -> None:
        nonlocal taken
        async with walled.acquire() as conn:
            taken += 1
            if (found := await told(conn)) != wanted:
                wrong.append((found, wanted))
            if way == 1:
                await conn.execute("SELECT 1 / 0")
            elif way == 2:
                async with conn.transaction():
                    await conn.execute("SELECT 1 / 0")
            elif way == 3:
                await conn.execute("BEGIN")

    async def work() -> None:
        for _ in range(40):
            organization = chance.choice([*organizations, None])
            acting_for.set(organization)
            way = chance.randrange(5)
            with contextlib.suppress(TimeoutError, asyncpg.DivisionByZeroError):
                async with asyncio.timeout(chance.uniform(0, 0.004) if way == 0 else 10):
                    await use("" if organization is None else str(organization), way)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
    assert taken > 200
    return wrong


async def test_no_setting_is_ever_stale(walled: Pool) -> None:
    assert await strays(walled) == []


async def test_a_stale_setting_would_be_found(database_url: str, walled: Pool) -> None:
    async def bind_once(conn: Any) -> None:
        if conn.bound_to is None:
            await bind_taken(conn)

    careless = await open_pool(
        database_url,
        size_max=3,
        role=APPLICATION_ROLE,
        connection_class=BoundConnection,
        setup=bind_once,
    )
    async with careless:
        assert await strays(careless) != []


async def test_the_role_passes_no_policy_by_and_cannot_log_in(database_url: str, pool: Pool) -> None:
    await prepare_role(database_url)
    async with pool.acquire() as conn:
        role = await conn.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles "
            "WHERE rolname = 'turnledger_application'"
        )

    assert tuple(role) == (False, False, False)


async def test_a_role_that_owns_tables_is_refused(database_url: str, pool: Pool) -> None:
    await prepare_role(database_url)
    async with pool.acquire() as conn:
        await conn.execute("ALTER TABLE deltas OWNER TO turnledger_application")

    with pytest.raises(RowSecurityError):
        await prepare_role(database_url)


async def test_starts_at_the_same_moment_make_one_role(database_url: str, pool: Pool) -> None:
    await asyncio.gather(*(prepare_role(database_url) for _ in range(4)))


async def test_who_is_not_the_application_sees_everything_as_before(pool: Pool) -> None:
    one, two = await furnished(pool, "One"), await furnished(pool, "Two")
    act_for(one.caller)

    async with pool.acquire() as conn:
        found = {row[0] for row in await conn.fetch("SELECT organization_id FROM sessions")}

    assert found == {one.caller.organization_id, two.caller.organization_id}
