"""A deleted session leaves no word of it anywhere in the database; what it cost stays.

The tables are read from the schema, so that one which is added later is looked at as well.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import msgspec

from api.agents.definition import ApprovalMode, Definition, Node, Tool, ToolEffect, Transition, Variable
from api.models.base import ModelRequest, StreamItem, TextDelta
from api.session.document import Decision, TurnState
from db.pool import Pool
from tests.event_streams import following
from tests.factories import rendered
from tests.routes.service import listening, make_app, make_state
from tests.runner.conversing import SECONDS_MAX, Line, Model, Stage, asks, stage
from tests.store.test_doctor import findings

CANARY = "canary-7f3a9"
"""Stands in everything that anybody says, and in nothing else."""

PERSON = "person-5c1e8"
"""Whom the caller acts for."""

AGENT = Definition(
    model="lines:one",
    tools=(
        Tool(name="look", function="look", effect=ToolEffect.READ),
        Tool(name="pay", function="pay", effect=ToolEffect.ONCE, approval=ApprovalMode.ALWAYS),
    ),
    nodes=(
        Node(
            name="start",
            tools=("look", "pay"),
            transitions=(Transition(to="shop", label="shop", condition="They want something."),),
            extraction=(Variable(name="word"),),
        ),
        Node(name="shop", tools=("look", "pay")),
    ),
)

WITHOUT_TEXT = {"archived_usage", "branches", "runs", "session_totals"}
"""Tables of sessions that hold no word of anybody."""

STAYS = {"usage_entries"}
"""Tables that deleting a session leaves alone: amounts and names of models."""

OF_IMPORTS = {"session_imports", "imported_usage_entries"}
"""Tables that only a session from a file fills; see test_session_files."""

_TABLES = """
SELECT c.table_name, bool_or(c.column_name = 'session_id'),
       array_agg(c.column_name::text) FILTER (WHERE c.data_type = 'bytea')
  FROM information_schema.columns c
  JOIN information_schema.tables t USING (table_schema, table_name)
 WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
   -- Partitions are read with their table.
   AND NOT EXISTS (SELECT FROM pg_class p WHERE p.relname = c.table_name AND p.relispartition)
 GROUP BY c.table_name
"""


async def holding(pool: Pool, word: str) -> dict[str, int]:
    """Look into every column of every table; answers how many rows of which hold the word."""
    found = {}
    for table, _, binary in await pool.fetch(_TABLES):
        looks = ["strpos(t::text, $1::text) > 0"]
        looks += [f"strpos(encode(t.{column}, 'escape'), $1) > 0" for column in binary or ()]
        count = await pool.fetchval(f'SELECT count(*) FROM "{table}" t WHERE {" OR ".join(looks)}', word)
        if count:
            found[table] = count
    return found


async def tables_of_sessions(pool: Pool) -> set[str]:
    return {table for table, is_of_session, _ in await pool.fetch(_TABLES) if is_of_session} | {
        "sessions",
        "captured_interactions",
    }


class Stalling(Model):
    """Says its lines, and hangs in the middle of the last until it is told to go on."""

    def __init__(self, lines: list[Line]) -> None:
        super().__init__(lines)
        self.goes_on = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamItem, None]:
        is_last = len(self.lines) == 1
        async with contextlib.aclosing(super().stream(request)) as items:
            async for item in items:
                yield item
                if is_last and isinstance(item, TextDelta):
                    await self.goes_on.wait()


@contextlib.asynccontextmanager
async def served(scene: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The session's owner over HTTP."""
    state = make_state(scene.world, stream_poll_seconds=0.2)
    key = await scene.world.store.access.create_key(scene.world.organization_id, name="test")
    async with (
        listening(make_app(state)) as address,
        httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key.secret}"}) as client,
    ):
        yield client
        async with asyncio.timeout(SECONDS_MAX):
            while state.stream_count:
                await asyncio.sleep(0.01)


async def talked(scene: Stage) -> str:
    """Live through everything that leaves text; answers a turn that still speaks."""
    tool = {"at": f"{CANARY} arguments"}
    scene.model.lines += [
        asks(("look", tool), text=f"{CANARY} thinks"),
        asks(("shop", {}), text=f"{CANARY} before"),
        Line(text=f'{{"word": "{CANARY}"}}'),
        Line(text=f"{CANARY} reply", reasoning=f"{CANARY} reasons"),
        asks(("pay", {"to": CANARY}), text=f"{CANARY} asks"),
        Line(text=f"{CANARY} paid"),
        Line(text=f"{CANARY} instead"),
        asks(("pay", {"to": CANARY})),
        Line(text=f"{CANARY} is speaking {CANARY}"),
    ]
    first = await scene.ask(f"{CANARY} one")
    second = await scene.until((await scene.say(f"{CANARY} two")).id, TurnState.AWAITING_APPROVAL)
    await scene.decide(second.approvals[0], Decision.APPROVED, note=f"{CANARY} note")
    await scene.until(second.id)
    await scene.rewind(first.id)
    await scene.ask(f"{CANARY} three")
    fourth = await scene.until((await scene.say(f"{CANARY} four")).id, TurnState.AWAITING_APPROVAL)
    await scene.cancel(fourth.id)
    return (await scene.say(f"{CANARY} five")).id


async def until_the_turn_speaks(pool: Pool, scene: Stage) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not await pool.fetchval(
            "SELECT count(*) FROM deltas d JOIN steps s ON s.id = d.step_id WHERE s.state = 'started'"
        ):
            await asyncio.sleep(0.02)
    assert len(scene.model.lines) == 0


async def set_up(pool: Pool) -> Stage:
    scene = await stage(pool, AGENT)
    scene.model = Stalling([])
    actor = msgspec.structs.replace(scene.world.caller.actor, on_behalf_of=PERSON)
    scene.world.caller = msgspec.structs.replace(scene.world.caller, actor=actor)
    named = {"name": f"{CANARY} name", "context": {"a": CANARY}, "metadata": {"project": CANARY}}
    scene.session_id = (await scene.world.session(greeting=f"{CANARY} greets", **named)).session.id
    return scene


async def answered(client: httpx.AsyncClient, path: str, revision: int) -> httpx.Response:
    """A write whose answer, with all the text, is kept for repetitions."""
    headers = {"Idempotency-Key": "one", "Prefer": "return=representation"}
    return await client.post(
        f"{path}/rewind", json={"to": "start", "expected_revision": revision}, headers=headers
    )


async def test_no_word_of_a_deleted_session_is_left_anywhere(pool: Pool) -> None:
    scene = await set_up(pool)
    path = f"/v1/sessions/{scene.session_id}"

    async with scene.running(), served(scene) as client:
        assert (await answered(client, path, 2)).status_code == 200
        turn_id = await talked(scene)
        captured = {"prompt": CANARY, "model": "m", "session_id": scene.session_id}
        assert (await client.post("/v1/interactions", json=captured)).status_code == 201
        async with following(client, f"{path}/events?after=0") as stream:
            await until_the_turn_speaks(pool, scene)
            before = await holding(pool, CANARY) | await holding(pool, PERSON)
            unpaid = await pool.fetchval("SELECT count(*) FROM steps WHERE state = 'started'")
            deleted = await client.delete(path, headers={"If-Match": "*"})
            told = (await stream.rest())[-1]
        after = await holding(pool, CANARY)
        scene.model.goes_on.set()
        async with asyncio.timeout(SECONDS_MAX):
            while await pool.fetchval("SELECT count(*) FROM steps WHERE state = 'started'"):
                await asyncio.sleep(0.02)
        repeated = await answered(client, path, 2)
        calls = [
            await client.get(path),
            await client.get(f"{path}/turns/{turn_id}"),
            await client.get(f"{path}/events"),
            await client.delete(path, headers={"If-Match": "*"}),
            await client.post(f"{path}/turns/{turn_id}/cancel", json={}),
        ]
        listed = (await client.get("/v1/approvals")).json()["items"]

    # Every table of sessions held some of the text, so that each is shown to be emptied.
    assert set(before) == await tables_of_sessions(pool) - WITHOUT_TEXT - STAYS - OF_IMPORTS
    assert (deleted.status_code, unpaid, told.data) == (204, 1, {"reason": "session_deleted"})
    assert after == {}
    assert await holding(pool, CANARY) == {}, "nothing was written late"
    assert await holding(pool, PERSON) == {"approvals": 1}, "who has decided is told to auditors"
    assert [answer.status_code for answer in (repeated, *calls)] == [404] * 6
    assert listed == []
    steps = await pool.fetchval("SELECT count(*) FROM steps WHERE kind = 'model'")
    assert await pool.fetchval("SELECT count(*) FROM usage_entries") == steps, "every call is paid"
    assert await pool.fetchval("SELECT call_count FROM session_totals") == steps
    assert await pool.fetchval("SELECT count(*) FROM sessions WHERE deleted_at IS NOT NULL") == 1
    assert await findings(scene.world) == {}


async def test_an_approval_that_is_open_is_closed_and_can_be_decided_no_more(pool: Pool) -> None:
    scene = await set_up(pool)
    scene.model.lines = [asks(("pay", {"to": CANARY})), Line(text="Unsaid.")]

    async with scene.running(), served(scene) as client:
        turn = await scene.until((await scene.say(f"{CANARY} pay")).id, TurnState.AWAITING_APPROVAL)
        (approval,) = turn.approvals
        await client.delete(f"/v1/sessions/{scene.session_id}", headers={"If-Match": "*"})
        decided = await client.post(
            f"/v1/approvals/{approval.id}/decision",
            json={"decision": "approved", "arguments_digest": approval.arguments_digest},
        )

    assert decided.status_code == 404
    assert await holding(pool, CANARY) == {}
    assert scene.tools.made == []
    assert await findings(scene.world) == {}


async def test_a_fork_keeps_its_own_words(pool: Pool) -> None:
    scene = await set_up(pool)
    scene.model.lines = [Line(text=f"{CANARY} reply"), Line(text="Unsaid.")]
    async with scene.running():
        turn = await scene.ask(f"{CANARY} hello")
    await scene.world.store.sessions.fork(
        scene.world.caller,
        scene.session_id,
        turn_id=turn.id,
        expected=None,
        idempotency=None,
        render=rendered,
    )

    await scene.world.store.sessions.erase(scene.world.caller, scene.session_id, expected=None)

    held = await holding(pool, CANARY)
    assert held.keys() >= {"sessions", "turns"}
    assert await findings(scene.world) == {}


async def test_a_deletion_states_the_revision_that_its_author_has_seen(pool: Pool) -> None:
    scene = await set_up(pool)
    path = f"/v1/sessions/{scene.session_id}"
    async with served(scene) as client:
        unsaid = await client.delete(path)
        stale = await client.delete(path, headers={"If-Match": '"1"'})
        held = await holding(pool, CANARY)

    assert (unsaid.status_code, stale.status_code) == (428, 412)
    assert held.keys() >= {"sessions", "turns"}
