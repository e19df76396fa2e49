"""The application over a real database, and clients that call it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from litestar import Litestar

from api.agents.definition import Definition
from api.app.server import Protocol
from api.models.registry import Models, ModelsConfig
from api.routes.mounting import app_parts
from api.routes.state import RoutesState
from api.runner.loop import Runner, RunnerLimits
from api.settings import Settings
from api.store.scopes import ALL_SCOPES, Scope
from db.pool import Pool
from tests.factories import DEFINITION, World, make_world
from tests.routes.published import require_published

POLL_INTERVAL_MS = 10_000
"""So long that a test which passes was woken by the hub, not by the clock."""


async def healthy() -> dict[str, bool]:
    """A check that finds everything in order."""
    return {"database": True, "migrations": True}


def make_state(world: World, **settings: Any) -> RoutesState:
    """What the routes work on, for one world."""
    return RoutesState(
        store=world.store,
        hub=world.hub,
        settings=Settings(**({"poll_interval_ms": POLL_INTERVAL_MS} | settings)),
        check=healthy,
    )


def make_app(state: RoutesState) -> Litestar:
    """The application as the composition root makes it."""
    parts = app_parts(state)
    return Litestar(
        list(parts.handlers),
        exception_handlers=parts.exception_handlers,
        openapi_config=None,
        logging_config=None,
    )


@asynccontextmanager
async def listening(app: Litestar) -> AsyncIterator[str]:
    """Serve on a port of its own, for what only a real connection shows; yields the address."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none", http=Protocol)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await serving


class Api:
    """A client with a key of one organization."""

    def __init__(self, world: World, app: Litestar, secret: str) -> None:
        self.world = world
        self.app = app
        self.secret = secret
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),  # type: ignore[arg-type]
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {secret}"},
        )

    async def close(self) -> None:
        """Let go of the client."""
        await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[Any, Any] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Send one request; whatever is answered is what the schema promises."""
        if body is not None:
            more["json"] = body
        response = await self._client.request(method, path, headers=headers, **more)
        require_published(response)
        return response

    async def get(self, path: str, **more: Any) -> Any:
        """Read something that is there."""
        response = await self.call("GET", path, **more)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(
        self, path: str, body: Any, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Any:
        """Do something that succeeds."""
        response = await self.call("POST", path, body, headers=headers)
        assert response.status_code == status, response.text
        return response.json()

    async def session(self, **fields: Any) -> Any:
        """Open a session."""
        return await self.post("/v1/sessions", {"agent_id": self.world.agent.id, **fields}, status=201)

    async def conversation(self, turn_count: int) -> Any:
        """A session with completed turns."""
        session_id = (await self.world.conversation(turn_count)).session.id
        return await self.get(f"/v1/sessions/{session_id}")

    async def append(self, session: Any, text: str = "Hello", **fields: Any) -> Any:
        """Append a message without waiting for its turn."""
        return await self.post(
            f"/v1/sessions/{session['id']}/messages",
            {"text": text, "expected_revision": session["revision"], **fields},
            status=202,
            headers={"Prefer": "respond-async"},
        )


@asynccontextmanager
async def serving(pool: Pool, *, definition: Definition = DEFINITION, **settings: Any) -> AsyncIterator[Api]:
    """The application for one new organization."""
    world = await make_world(pool, definition=definition)
    async with client_of(world, make_app(make_state(world, **settings))) as api:
        yield api


@asynccontextmanager
async def client_of(
    world: World, app: Litestar, *, scopes: frozenset[Scope] = ALL_SCOPES
) -> AsyncIterator[Api]:
    """A client with a new key of `world`."""
    key = await world.store.access.create_key(world.organization_id, name="test", scopes=scopes)
    api = Api(world, app, key.secret)
    try:
        yield api
    finally:
        await api.close()


@asynccontextmanager
async def turns_running(world: World) -> AsyncIterator[None]:
    """A runner beside the test."""
    models = Models(ModelsConfig(), environ={})
    async with Runner(world.store, models, world.hub, name="test", limits=RunnerLimits()):
        yield
    await models.close()
