"""One browser and one service for the tests of a worker; each has an organization and tabs of its own."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, expect

from api.app.first_start import SCRIPTED_PRICE, demo_agents
from api.settings import Settings
from db.pool import Pool, open_pool
from tests.e2e.services import ServiceProcess, serving
from tests.factories import World, make_world
from tests.panel.chromium import launched
from tests.panel.person import WAIT_MS, Person, person_in
from tests.providers.server import FakeProvider

expect.set_options(timeout=WAIT_MS)

NewDatabase = Callable[[str], AbstractAsyncContextManager[str]]
DESK: dict[str, Any] = {
    "viewport": {"width": 1360, "height": 860},
    "color_scheme": "light",
    # What moves is waited for before it is clicked.
    "reduced_motion": "reduce",
}
DEMO = demo_agents(Settings())["Demo on scripted:demo"]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium."""
    async with launched() as chromium:
        yield chromium


@pytest.fixture(scope="session")
async def provider() -> AsyncIterator[FakeProvider]:
    """A model provider that does what a test plans."""
    async with FakeProvider() as running:
        yield running


@pytest.fixture(scope="session")
def new_database(
    server_dsn: str, admin: asyncpg.Connection, template_database: str, worker_id: str
) -> NewDatabase:
    """Makes databases that live longer than one test."""

    @contextlib.asynccontextmanager
    async def make(purpose: str) -> AsyncIterator[str]:
        name = f"{template_database}_{purpose}_{worker_id}"
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY file_copy')
        yield urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    return make


@pytest.fixture(scope="session")
async def panel_database(new_database: NewDatabase) -> AsyncIterator[str]:
    """A database for the service of this worker."""
    async with new_database("panel") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def service_environ(panel_database: str, provider: FakeProvider) -> dict[str, str]:
    """What a service of these tests is told."""
    return {
        "TURNLEDGER_DATABASE_URL": panel_database,
        "TURNLEDGER_LOG_LEVEL": "warning",
        "TURNLEDGER_MODEL_RETRIES_MAX": "0",
        "TURNLEDGER_MODEL_CIRCUIT_FAILURES_MAX": "0",
        "OPENAI_API_KEY": "none-is-needed",
        "OPENAI_BASE_URL": f"{provider.base_url}/v1",
    }


@pytest.fixture(scope="session")
def service(run_folder: Path, worker_id: str, service_environ: dict[str, str]) -> Iterator[ServiceProcess]:
    """The service as a process of its own."""
    with serving(run_folder / f"panel-{worker_id}", environ=service_environ) as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="session")
async def panel_pool(panel_database: str) -> AsyncIterator[Pool]:
    """The service's database, for what a test prepares."""
    async with await open_pool(panel_database, size_max=4) as pool:
        yield pool


@pytest.fixture
async def world(panel_pool: Pool) -> World:
    """An organization of this test, with the scripted agent `Helper`."""
    made = await make_world(panel_pool, definition=DEMO)
    await made.store.access.add_prices(made.organization_id, [SCRIPTED_PRICE])
    return made


@pytest.fixture(scope="session")
async def desks(browser: Browser) -> AsyncIterator[tuple[BrowserContext, ...]]:
    """Two browsers with a tab each that people use one after the other, unless they need one of their own."""
    made = (await browser.new_context(**DESK), await browser.new_context(**DESK))
    yield made
    for desk in made:
        await desk.close()


@pytest.fixture
async def new_person(
    browser: Browser, desks: tuple[BrowserContext, ...], service: ServiceProcess, world: World
) -> AsyncIterator[Callable[..., Awaitable[Person]]]:
    """Opens tabs of the panel; afterwards none of them has had a fault."""
    key = (await world.store.access.create_key(world.organization_id, name="panel")).secret
    async with contextlib.AsyncExitStack() as stack:
        people: list[Person] = []

        async def make(*, address: str | None = None, **options: Any) -> Person:
            if options or address or len(people) == len(desks):
                own = await browser.new_context(**{**DESK, **options})
                stack.push_async_callback(own.close)
                people.append(await person_in(own, address or service.address, key, world))
            else:
                people.append(await person_in(desks[len(people)], service.address, key, world))
                stack.push_async_callback(people[-1].leave)
            return people[-1]

        yield make
        faults = {number: person.unforgiven for number, person in enumerate(people) if person.unforgiven}
        assert faults == {}


@pytest.fixture
async def person(new_person: Callable[..., Awaitable[Person]]) -> Person:
    """A person with one tab."""
    return await new_person()
