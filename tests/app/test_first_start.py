"""What an embedded service makes for the person who starts it, and that it is made once."""

import asyncio
import stat
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from api.app.first_start import ORGANIZATION_NAME, SCRIPTED_PRICE, demo_agents, prepare
from api.app.local_access import LocalAccess, local_file, read_local
from api.events import Hub
from api.session import ids
from api.session.document import Actor
from api.settings import Settings, load
from api.store import Caller, Store
from db import prices

ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture
def store(pool: asyncpg.Pool) -> Store:
    """A store on the test's database."""
    return Store(pool, Hub())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder of this test."""
    return load({}, {"data_dir": str(tmp_path)})


async def agent_names(store: Store, access: LocalAccess) -> list[str]:
    row = ids.from_wire(ids.Kind.ORGANIZATION, access.organization_id)
    assert row is not None
    caller = Caller(organization_id=row, actor=Actor(process="system"))
    return [agent.name for _, agent in await store.agents.agents(caller, before=None, limit=10)]


async def prepared(pool: asyncpg.Pool, store: Store, settings: Settings) -> LocalAccess:
    access = await prepare(pool, store, settings, address=ADDRESS)
    assert access is not None
    return access


async def test_the_first_start_makes_all_that_a_conversation_needs(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    access = await prepared(pool, store, settings)

    (organization,) = await store.access.organizations()
    assert (organization.id, organization.name) == (access.organization_id, ORGANIZATION_NAME)
    caller = await store.access.caller_of(access.key)
    assert caller is not None
    assert await agent_names(store, access) == ["Demo on scripted:demo"]
    async with pool.acquire() as conn:
        (price,) = await prices.of_provider(conn, caller.organization_id, "scripted")
    assert price.input_per_million == SCRIPTED_PRICE.input_per_million == Decimal(3)


async def test_the_key_is_kept_where_only_its_owner_can_read_it(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    access = await prepared(pool, store, settings)

    file = local_file(settings.data_dir)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_local(settings.data_dir) == access


async def test_later_starts_make_nothing_and_give_the_same_key(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    first = await prepared(pool, store, settings)

    second = await prepared(pool, store, settings)

    assert second == first
    assert len(await store.access.organizations()) == 1
    assert len(await store.access.keys(first.organization_id)) == 1
    assert len(await agent_names(store, first)) == 1


async def test_two_first_starts_at_once_make_one_of_everything(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    first, second = await asyncio.gather(prepared(pool, store, settings), prepared(pool, store, settings))

    assert first == second
    assert len(await store.access.organizations()) == 1
    assert len(await agent_names(store, first)) == 1


async def test_a_key_that_was_lost_or_revoked_is_replaced(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    lost = await prepared(pool, store, settings)
    local_file(settings.data_dir).unlink()
    revoked = await prepared(pool, store, settings)
    for key in await store.access.keys(lost.organization_id):
        await store.access.revoke_key(lost.organization_id, key.id)

    last = await prepared(pool, store, settings)

    assert len({lost.key, revoked.key, last.key}) == 3
    assert await store.access.caller_of(last.key) is not None
    assert len(await store.access.organizations()) == 1


async def test_an_operator_who_keeps_organizations_of_their_own_gets_nothing_made(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    await store.access.create_organization("Analytical Engines")

    assert await prepare(pool, store, settings, address=ADDRESS) is None

    assert not local_file(settings.data_dir).exists()
    assert len(await store.access.organizations()) == 1


async def test_a_key_for_a_provider_that_comes_later_brings_an_agent_on_its_model(
    pool: asyncpg.Pool, store: Store, settings: Settings
) -> None:
    await prepared(pool, store, settings)
    environ = {
        "OPENAI_API_KEY": "sk-none",
        "ANTHROPIC_API_KEY": "sk-none",
        "TURNLEDGER_DEMO_OPENAI_MODEL": "gpt-x",
    }
    later = load(environ, {"data_dir": str(settings.data_dir)})

    access = await prepared(pool, store, later)

    assert await agent_names(store, access) == [
        "Demo on openai:gpt-x",
        "Demo on anthropic:claude-haiku-4-5",
        "Demo on scripted:demo",
    ]
    assert demo_agents(later)["Demo on openai:gpt-x"].greeting is not None
