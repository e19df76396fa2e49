"""Health, and what is answered when the database is away."""

from db.pool import Pool
from tests.factories import make_world
from tests.routes.service import client_of, make_app, make_state, serving


async def test_probes_need_no_key(pool: Pool) -> None:
    async with serving(pool) as api:
        live = await api.call("GET", "/health/live", headers={"Authorization": ""})
        ready = await api.call("GET", "/health/ready", headers={"Authorization": ""})

    assert live.json() == {"ok": True, "checks": {}}
    assert ready.json() == {"ok": True, "checks": {"database": True, "migrations": True}}


async def test_a_failed_check_is_503_and_named(pool: Pool) -> None:
    async def half() -> dict[str, bool]:
        return {"database": True, "migrations": False}

    world = await make_world(pool)
    state = make_state(world)
    state.check = half
    async with client_of(world, make_app(state)) as api:
        response = await api.call("GET", "/health/ready")

    assert (response.status_code, response.json()["detail"]) == (503, "Not ready: migrations.")
    assert response.headers["retry-after"] == "1"


async def test_a_check_that_cannot_be_made_is_503(pool: Pool) -> None:
    async def away() -> dict[str, bool]:
        raise ConnectionRefusedError

    world = await make_world(pool)
    state = make_state(world)
    state.check = away
    async with client_of(world, make_app(state)) as api:
        response = await api.call("GET", "/health/ready")

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


async def test_a_database_that_is_away_is_503_for_every_call(pool: Pool) -> None:
    async with serving(pool) as api:
        session = await api.session()
        await pool.close()

        read = await api.call("GET", f"/v1/sessions/{session['id']}")
        write = await api.call("POST", f"/v1/sessions/{session['id']}/end", {"expected_revision": 1})
        live = await api.call("GET", "/health/live")

    assert (read.status_code, write.status_code, live.status_code) == (503, 503, 200)
    assert read.headers["retry-after"] == "1"


async def test_the_published_schema_and_its_viewer_are_served(pool: Pool) -> None:
    async with serving(pool) as api:
        document = await api.get("/schema/openapi.json")
        viewer = await api.call("GET", "/schema", headers={"Accept": "text/html"})

    assert "/v1/sessions/{session_id}/messages" in document["paths"]
    assert (
        "script-src" in viewer.headers["content-security-policy"]
        or "default-src 'self'" in (viewer.headers["content-security-policy"])
    )
