"""Whatever happens in a conversation, no word of it and no key gets into the log; whose line it is does."""

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app.observing import observe
from api.log import configure
from api.session.document import Decision, TurnState
from db.pool import Pool
from tests.routes.service import make_app, make_state
from tests.runner.conversing import Line, Stage, asks
from tests.store.test_erasure import CANARY, set_up, talked
from tests.test_log import stream  # noqa: F401  # a fixture

KEYS = ("tl_", "sk-")


class Broken(Exception):
    """What no model client should raise."""


@pytest.fixture(params=["json", "pretty"])
def log(request: pytest.FixtureRequest, stream: io.StringIO) -> Iterator[io.StringIO]:  # noqa: F811
    configure(format=request.param, level="debug", stream=stream)
    return stream


def calling(scene: Stage, secret: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(
            app=observe(make_app(make_state(scene.world))),  # type: ignore[arg-type]
            raise_app_exceptions=False,
        ),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {secret}", "Prefer": "wait=5"},
    )


async def refused_and_broken(pool: Pool, scene: Stage, client: httpx.AsyncClient) -> list[httpx.Response]:
    """Everything that can go wrong with a call, with the words in all its places."""
    path = f"/v1/sessions/{(await scene.world.session(greeting=CANARY)).session.id}"
    words = {"text": f"{CANARY} hello"}
    fine = {"If-Match": "*", "Prefer": "respond-async", "Content-Type": "application/json"}
    answers = [
        await client.get(f"/v1/sessions/{CANARY}"),
        await client.get(f"/nowhere/{CANARY}?q={CANARY}"),
        await client.post(f"{path}/messages", json={**words, "bogus": CANARY}),
        await client.post(f"{path}/messages", content=f'{{"text": "{CANARY}', headers=fine),
        await client.post(f"{path}/messages", json=words, headers={"If-Match": '"1"'}),
        await client.get(path, headers={"Authorization": f"Bearer tl_{CANARY}_{'x' * 30}"}),
    ]
    # A rule of a table that only this write breaks: Postgres quotes the row.
    await pool.execute("ALTER TABLE turns ADD CONSTRAINT odd CHECK (body::text NOT LIKE '%unlucky%')")
    answers.append(await client.post(f"{path}/messages", json={"text": f"{CANARY} unlucky"}, headers=fine))
    # And a table that is gone.
    await pool.execute("ALTER TABLE events RENAME TO lost_events")
    answers.append(await client.post(f"{path}/messages", json=words, headers=fine))
    await pool.execute("ALTER TABLE lost_events RENAME TO events")
    return answers


async def test_no_word_and_no_key_gets_into_the_log(pool: Pool, log: io.StringIO) -> None:
    scene = await set_up(pool)
    secret = (await scene.world.store.access.create_key(scene.world.organization_id, name="t")).secret

    async with scene.running(), calling(scene, secret) as client:
        turn_id = await talked(scene)
        scene.model.goes_on.set()  # type: ignore[attr-defined]
        await scene.until(turn_id)
        # A client of a provider that raises what it should not, with all that it was given.
        scene.model.lines = []
        failed = await scene.ask(f"{CANARY} and again")
        scene.model.lines = [asks(("pay", {"to": CANARY})), Line(text=CANARY)]
        scene.tools.answer = broken_tool
        waiting = await scene.until((await scene.say(f"{CANARY} pay")).id, TurnState.AWAITING_APPROVAL)
        await scene.decide(waiting.approvals[0], Decision.APPROVED, note=CANARY)
        await lines_with(log, "a toolbox raised what it should not")
        answers = await refused_and_broken(pool, scene, client)

    text = log.getvalue()
    assert failed.state is TurnState.FAILED
    assert [answer.status_code for answer in answers] == [404, 404, 422, 400, 412, 401, 500, 500]
    assert CANARY not in text
    assert secret not in text
    assert not [key for key in KEYS if f"{key}{secret[3:8]}" in text]
    assert "CheckViolationError" in text
    assert "UndefinedTableError" in text


async def broken_tool(_: Any) -> Any:
    raise Broken("without a word")


async def lines_with(log: io.StringIO, words: str) -> None:
    """Wait until the log says this."""
    async with asyncio.timeout(10):
        while words not in log.getvalue():
            await asyncio.sleep(0.02)


async def test_a_line_says_for_which_request_session_turn_and_run(
    pool: Pool,
    stream: io.StringIO,  # noqa: F811
) -> None:
    configure(format="json", level="debug", stream=stream)
    scene = await set_up(pool)
    secret = (await scene.world.store.access.create_key(scene.world.organization_id, name="t")).secret
    scene.model.lines = [Line(text="Hello."), Line(text="Unsaid.")]

    async with scene.running(), calling(scene, secret) as client:
        response = await client.post(
            f"/v1/sessions/{scene.session_id}/messages", json={"text": "Hi"}, headers={"If-Match": "*"}
        )
        turn_id = response.json()["turn_id"]
        await client.get(f"/v1/sessions/{scene.session_id}/turns/{turn_id}")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    ended = next(line for line in lines if line["message"] == "turn ended")
    answered = [line for line in lines if line["message"] == "request answered"]
    assert (ended["session_id"], ended["turn_id"], ended["attempt"]) == (scene.session_id, turn_id, 1)
    assert ended["run_id"].startswith("run_")
    assert answered[0]["request_id"] == response.headers["request-id"]
    assert [line["operation"] for line in answered] == ["appendMessage", "getTurn"]
    assert (answered[1]["session_id"], answered[1]["turn_id"]) == (scene.session_id, turn_id)
