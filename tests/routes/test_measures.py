"""`/metrics`: each figure moves with what it counts, and only those may read it who should."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar
from prometheus_client.parser import text_string_to_metric_families

from api.app.asgi import build_app, build_state, refresh_of
from api.models.base import ModelError, ModelErrorCode, ModelRequest, StreamItem
from api.session.document import TurnState
from api.settings import Settings
from api.telemetry import measures
from db.pool import Pool
from tests.event_streams import following
from tests.factories import World, make_world
from tests.routes.service import listening, serving
from tests.runner.conversing import Line
from tests.store.conversing import Conversation
from tests.store.test_erasure import set_up

SECONDS_MAX = 10
PAUSE_SECONDS = 0.1


def figure(name: str, **labels: str) -> float:
    """What a figure says now; 0 for one that nothing has moved."""
    return measures.REGISTRY.get_sample_value(f"turnledger_{name}", labels) or 0


def application(pool: Pool, world: World, **settings: object) -> Litestar:
    set_to = Settings(**settings)  # type: ignore[arg-type]
    return build_app(build_state(set_to, pool=pool, store=world.store, hub=world.hub), pool=pool)


@asynccontextmanager
async def reading(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_a_turn_moves_its_figures(pool: Pool) -> None:
    scene = await set_up(pool)
    scene.model.goes_on.set()  # type: ignore[attr-defined]
    scene.model.lines = [Line(text="Hello."), Line(text="Unsaid.")]
    names = [
        ("queue_wait_seconds_count", {}),
        ("run_seconds_count", {"outcome": "completed"}),
        ("first_token_seconds_count", {}),
        ("ledger_lag_seconds_count", {}),
        ("model_calls_total", {"outcome": "completed"}),
    ]
    before = [figure(name, **labels) for name, labels in names]

    async with scene.running():
        await scene.ask()

    after = [figure(name, **labels) for name, labels in names]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1] * len(names)


async def test_times_are_taken_from_where_they_say_to_where_they_say(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await set_up(pool)
    scene.model.goes_on.set()  # type: ignore[attr-defined]
    scene.model.lines = [Line(text="Hello."), Line(text="Unsaid.")]
    speak, prices_of = scene.model.stream, scene.world.store.running.prices_of

    async def hesitate(request: ModelRequest) -> AsyncIterator[StreamItem]:
        await asyncio.sleep(PAUSE_SECONDS)
        async for item in speak(request):
            yield item

    async def look_up_slowly(*asked: Any) -> Any:
        await asyncio.sleep(2 * PAUSE_SECONDS)
        return await prices_of(*asked)

    monkeypatch.setattr(scene.model, "stream", hesitate)
    monkeypatch.setattr(scene.world.store.running, "prices_of", look_up_slowly)
    names = [
        ("queue_wait_seconds_sum", {}),
        ("first_token_seconds_sum", {}),
        ("ledger_lag_seconds_sum", {}),
        ("run_seconds_sum", {"outcome": "completed"}),
    ]
    before = [figure(name, **labels) for name, labels in names]
    turn = await scene.say()
    await asyncio.sleep(3 * PAUSE_SECONDS)
    async with scene.running():
        await scene.until(turn.id)

    after = [figure(name, **labels) for name, labels in names]
    queue, first, lag, run = (late - early for early, late in zip(before, after, strict=True))
    assert queue >= 3 * PAUSE_SECONDS
    assert first >= PAUSE_SECONDS
    assert lag >= 2 * PAUSE_SECONDS
    assert run >= first + lag


async def test_a_failure_is_counted_by_its_code(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await set_up(pool)

    async def refuse(_: object) -> AsyncIterator[object]:
        raise ModelError(ModelErrorCode.QUOTA_EXHAUSTED, "No.", provider="lines")
        yield

    monkeypatch.setattr(scene.model, "stream", refuse)
    code = ModelErrorCode.QUOTA_EXHAUSTED.value
    before = [figure("errors_total", where=where, code=code) for where in ("turn", "model")]

    async with scene.running():
        turn = await scene.ask()

    after = [figure("errors_total", where=where, code=code) for where in ("turn", "model")]
    assert turn.state is TurnState.FAILED
    assert after == [count + 1 for count in before]


async def test_a_cancel_that_wins_leaves_a_lost_race_settled(pool: Pool) -> None:
    scene = await set_up(pool)
    scene.model.lines = [Line(text="Long and winding")]
    before = (figure("lost_races_settled_total"), figure("run_seconds_count", outcome="lost"))

    async with scene.running():
        turn = await scene.say()
        async with asyncio.timeout(SECONDS_MAX):
            while not await pool.fetchval("SELECT count(*) FROM deltas"):
                await asyncio.sleep(0.02)
        await scene.cancel(turn.id)
        async with asyncio.timeout(SECONDS_MAX):
            while figure("run_seconds_count", outcome="lost") == before[1]:
                await asyncio.sleep(0.02)

    assert figure("lost_races_settled_total") == before[0] + 1


async def test_a_turn_that_is_taken_over_is_counted_once(pool: Pool) -> None:
    scene = await set_up(pool)
    scene.model.goes_on.set()  # type: ignore[attr-defined]
    scene.model.lines = [Line(text="At last."), Line(text="Unsaid.")]
    conversation = Conversation(scene.world, pool, scene.session_id)
    before = (figure("take_overs_total"), figure("queue_wait_seconds_count"))
    turn_id = await conversation.append()
    await conversation.take_up()
    await conversation.lose()

    async with scene.running():
        await scene.until(turn_id)

    assert (figure("take_overs_total"), figure("queue_wait_seconds_count")) == (before[0] + 1, before[1])


async def test_conflicts_and_problems_are_counted(pool: Pool) -> None:
    before = (figure("conflicts_total"), figure("errors_total", where="http", code="not-found"))
    async with serving(pool) as api:
        session = await api.session()
        await api.call("POST", f"/v1/sessions/{session['id']}/end", {}, headers={"If-Match": '"9"'})
        await api.call("GET", f"/v1/sessions/ses_{'0' * 32}")

    after = (figure("conflicts_total"), figure("errors_total", where="http", code="not-found"))
    assert after == (before[0] + 1, before[1] + 1)


async def test_readers_of_streams_come_and_go(pool: Pool) -> None:
    world = await make_world(pool)
    key = await world.store.access.create_key(world.organization_id, name="test")
    session_id = (await world.session()).session.id
    headers = {"Authorization": f"Bearer {key.secret}"}
    before = figure("stream_readers")

    async with (
        listening(application(pool, world, stream_poll_seconds=0.2)) as address,
        httpx.AsyncClient(base_url=address, headers=headers) as client,
    ):
        async with following(client, f"/v1/sessions/{session_id}/events?after=0") as stream:
            await stream.until("session.created")
            during = figure("stream_readers")
        async with asyncio.timeout(SECONDS_MAX):
            while figure("stream_readers") != before:
                await asyncio.sleep(0.02)

    assert during == before + 1


async def test_the_pool_is_looked_at_when_the_figures_are_read(pool: Pool) -> None:
    refresh = refresh_of(pool)

    async with pool.acquire(), pool.acquire():
        refresh()
        busy = figure("pool_connections", state="used")
    refresh()

    assert (busy, figure("pool_connections", state="used")) == (2, 0)
    assert figure("pool_connections", state="max") == pool.get_max_size()


async def test_prometheus_can_read_it_and_finds_no_customer_in_it(pool: Pool) -> None:
    world = await make_world(pool)
    async with reading(application(pool, world)) as client:
        response = await client.get("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert response.headers["content-type"].startswith("text/plain")
    assert {"turnledger_queue_wait_seconds", "turnledger_errors", "turnledger_pool_connections"} <= set(
        families
    )
    assert all(family.documentation for family in families.values())
    labels = {name for family in families.values() for sample in family.samples for name in sample.labels}
    assert labels <= {"le", "outcome", "where", "code", "state"}
    assert not re.search(r"(org|ses|trn|key)_[0-9a-f]{32}", response.text)


@pytest.mark.parametrize(
    ("settings", "authorization", "status"),
    [
        ({}, None, 200),
        ({"host": "0.0.0.0"}, None, 403),
        ({"host": "0.0.0.0", "metrics_token": "let-me-see"}, "Bearer let-me-see", 200),
        ({"metrics_token": "let-me-see"}, None, 401),
        ({"metrics_token": "let-me-see"}, "Bearer let-me-sea", 401),
        ({"metrics_token": "let-me-see"}, "Basic let-me-see", 401),
    ],
)
async def test_only_those_read_it_who_should(
    pool: Pool, settings: dict[str, str], authorization: str | None, status: int
) -> None:
    world = await make_world(pool)
    headers = {} if authorization is None else {"Authorization": authorization}
    async with reading(application(pool, world, **settings)) as client:
        response = await client.get("/metrics", headers=headers)

    assert response.status_code == status
