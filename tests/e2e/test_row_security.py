"""A real service behind two walls: everything works, and its calls run as the application role."""

from pathlib import Path

import asyncpg
import httpx

from db.pool import Pool, connect_options
from tests.e2e.services import serving
from tests.factories import make_world


async def test_a_service_with_row_level_security_serves_as_any_other(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    worlds = [await make_world(pool, name=name) for name in ("One", "Two")]
    secrets = [
        (await world.store.access.create_key(world.organization_id, name="x")).secret for world in worlds
    ]
    operator = (await worlds[0].store.access.create_installation_key(name="operator")).secret
    environ = {"TURNLEDGER_DATABASE_URL": database_url, "TURNLEDGER_ROW_LEVEL_SECURITY": "on"}
    with serving(tmp_path / "one", environ=environ) as service:
        assert service.wait_until_ready().status_code == 200
        sessions = []
        for world, secret in zip(worlds, secrets, strict=True):
            with client_of(service.address, secret) as client:
                made = client.post("/v1/sessions", json={"agent_id": world.agent.id})
                assert made.status_code == 201, made.text
                path = f"/v1/sessions/{made.json()['id']}"
                said = client.post(f"{path}/messages", json={"text": "Hello", "expected_revision": 1})
                assert said.json()["turns"][0]["state"] == "completed", said.text
                with client.stream(
                    "GET", f"{path}/events?after=0", headers={"Accept": "text/event-stream"}
                ) as stream:
                    seen = ""
                    for text in stream.iter_text():
                        seen += text
                        if "turn.completed" in seen:
                            break
                assert client.get("/v1/usage/entries").json()["head"] == 1
                sessions.append(path)
        with client_of(service.address, secrets[0]) as client:
            assert [client.get(path).status_code for path in sessions] == [200, 404]
        with client_of(service.address, operator) as client:
            heads = client.get("/v1/usage/heads").json()["items"]
        conn = await asyncpg.connect(database_url, **connect_options(database_url))
        try:
            names = await conn.fetch(
                "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
            )
        finally:
            await conn.close()

    assert sorted(head["head"] for head in heads) == [1, 1]
    assert {"turnledger application", "turnledger serve"} <= {name for (name,) in names}


def client_of(address: str, secret: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
