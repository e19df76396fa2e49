"""What an embedded service makes for the person who starts it: an organization, a key, agents to talk to.

Every start looks at what is there and adds what is missing, so a start that was interrupted is made up for by
the next one. With an external database nothing of this happens.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from loguru import logger as log

from api.agents.definition import Definition
from api.app.local_access import LocalAccess, read_local, write_local
from api.session import ids
from api.session.document import Actor
from api.settings import Settings
from api.store import Caller, Store, StoredAnswer
from api.store.agents import AgentVersion
from api.store.prices import Price
from db import prices
from db.pool import Pool

ORGANIZATION_NAME = "local"
KEY_NAME = "local"

SCRIPTED_PRICE = Price(
    provider="scripted",
    model_pattern="*",
    valid_from=datetime(2025, 1, 1, tzinfo=UTC),
    input_per_million=Decimal("3.00"),
    output_per_million=Decimal("15.00"),
)
"""Made up, so that the first conversation shows what a ledger looks like; nobody is charged."""

_LOCK_SECONDS_MAX = 30
_LOCK_POLL_SECONDS = 0.05
_AGENTS_MAX = 200


async def prepare(pool: Pool, store: Store, settings: Settings, *, address: str) -> LocalAccess | None:
    """Make what is missing and say how the service is reached.

    None when the operator keeps organizations of their own here and none that is called `local`: then
    nothing is made.
    """
    async with _lock(settings.data_dir / "first-start.lock"):
        known = read_local(settings.data_dir)
        organization_id = await _organization(store, known)
        if organization_id is None:
            return None
        key = await _key(store, organization_id, known)
        access = LocalAccess(organization_id=organization_id, key=key, address=address)
        if access != known:
            write_local(settings.data_dir, access)
        row = ids.from_wire(ids.Kind.ORGANIZATION, organization_id)
        assert row is not None, "it came from the store"
        await _prices(pool, store, organization_id, row)
        await _agents(store, row, settings)
    return access


async def _organization(store: Store, known: LocalAccess | None) -> str | None:
    organizations = await store.access.organizations()
    if not organizations:
        made = await store.access.create_organization(ORGANIZATION_NAME)
        log.info("organization created", organization_id=made.id, name=made.name)
        return made.id
    for organization in organizations:
        if organization.name == ORGANIZATION_NAME or (known and organization.id == known.organization_id):
            return organization.id
    return None


async def _key(store: Store, organization_id: str, known: LocalAccess | None) -> str:
    """Give the key that is kept, or a new one: who may read the data folder may read the database as well."""
    if known is not None and known.organization_id == organization_id:
        caller = await store.access.caller_of(known.key)
        if caller is not None:
            return known.key
    made = await store.access.create_key(organization_id, name=KEY_NAME)
    log.info("key created", key_id=made.id, name=KEY_NAME)
    return made.secret


async def _prices(pool: Pool, store: Store, organization_id: str, row: UUID) -> None:
    async with pool.acquire() as conn:
        known = await prices.of_provider(conn, row, SCRIPTED_PRICE.provider)
    if not known:
        await store.access.add_prices(organization_id, [SCRIPTED_PRICE])


async def _agents(store: Store, organization: UUID, settings: Settings) -> None:
    caller = Caller(organization_id=organization, actor=Actor(process="system"))
    known = {agent.name for _, agent in await store.agents.agents(caller, before=None, limit=_AGENTS_MAX)}
    for name, definition in demo_agents(settings).items():
        if name not in known:
            await store.agents.create_agent(
                caller, name=name, definition=definition, idempotency=None, render=_render_nothing
            )
            log.info("agent created", name=name, model=definition.model)


def demo_agents(settings: Settings) -> dict[str, Definition]:
    """Define an agent on the scripted model, and one on each provider that there is a key for, by name."""
    models = ["scripted:demo"]
    if settings.anthropic_api_key:
        models.append(f"anthropic:{settings.demo_anthropic_model}")
    if settings.openai_api_key:
        models.append(f"openai:{settings.demo_openai_model}")
    return {f"Demo on {model}": _demo_agent(model) for model in models}


def _demo_agent(model: str) -> Definition:
    return Definition(
        model=model,
        instructions="You are a friendly assistant in a first conversation. Answer in one or two sentences.",
        greeting='Hello! Tell me something about you, like "My name is Ada", and ask me about it later.',
        speaker="Demo",
    )


def _render_nothing(_: AgentVersion) -> StoredAnswer:
    """Make the answer for a caller who is not there."""
    return StoredAnswer(status=201, headers={}, body=b"")


@contextlib.asynccontextmanager
async def _lock(file: Path) -> AsyncIterator[None]:
    """Let one process of this machine at a time make what is missing."""
    with _opened(file) as descriptor:
        async with asyncio.timeout(_LOCK_SECONDS_MAX):
            while not _try_lock(descriptor):  # noqa: ASYNC110  # flock tells nobody when it is free
                await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
