"""A session leaves one installation as a file and comes into another as it was."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest

from api.agents.definition import Definition
from api.session import ids
from api.session.document import TurnState, Usage
from api.store import Replay, StoredAnswer
from api.store.base import Caller, Idempotency
from api.store.doctor import whole_document
from api.store.errors import AgentDiffers, AlreadyHere, FileRefused, NotFound
from api.store.importing import Imported
from api.store.session_files import AgentChoice, SessionFile
from db.pool import Pool, open_pool
from tests.factories import World, make_world
from tests.ledger import paid_turn
from tests.runner.conversing import Line, Stage, asks
from tests.store.test_doctor import findings
from tests.store.test_erasure import AGENT, CANARY, holding, set_up, talked
from tests.store.test_races import intent, outcome


@pytest.fixture
async def elsewhere(
    server_dsn: str, admin: asyncpg.Connection, template_database: str, database_url: str
) -> AsyncIterator[Pool]:
    """Another installation's database."""
    name = urlsplit(database_url).path.removeprefix("/") + "_elsewhere"
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}" STRATEGY file_copy')
    async with await open_pool(
        urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}")), size_max=4
    ) as pool:
        yield pool
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def exported(world: World, session_id: str) -> bytes:
    pieces: list[bytes] = []
    await world.store.exporting.export(world.caller, session_id, pieces.append)
    return b"".join(pieces)


def read(raw: bytes, **changes: Any) -> SessionFile:
    return msgspec.structs.replace(msgspec.json.decode(raw, type=SessionFile), **changes)


async def imported(world: World, file: SessionFile, *, idempotency: Idempotency | None = None) -> Imported:
    answer = await world.store.importing.import_session(
        world.caller,
        file,
        idempotency=idempotency,
        render=lambda told: StoredAnswer(status=201, headers={}, body=msgspec.json.encode(told)),
    )
    assert isinstance(answer, StoredAnswer)
    return msgspec.json.decode(answer.body, type=Imported)


async def lived(pool: Pool) -> Stage:
    """A session in which everything has happened, and all of it has ended."""
    scene = await set_up(pool)
    async with scene.running():
        turn_id = await talked(scene)
        scene.model.goes_on.set()  # type: ignore[attr-defined]
        await scene.until(turn_id)
    return scene


def stripped(raw: bytes) -> Any:
    """What of a file must be the same wherever it is written."""
    value = msgspec.json.decode(raw)
    entries = value.pop("usage_entries") + value.pop("imported_usage_entries")
    for name in ("exported_at", "organization_id", "counts"):
        del value[name]
    return value, sorted(entries, key=lambda entry: entry["seq"])


async def test_a_session_comes_out_elsewhere_as_it_went_in(pool: Pool, elsewhere: Pool) -> None:
    scene = await lived(pool)
    world = await make_world(elsewhere, name="Elsewhere")
    raw = await exported(scene.world, scene.session_id)
    row = ids.from_wire(ids.Kind.SESSION, scene.session_id)
    assert row is not None

    told = await imported(world, read(raw))

    async with pool.acquire() as here, elsewhere.acquire() as there:
        before = await whole_document(here, scene.world.caller.organization_id, row)
        after = await whole_document(there, world.caller.organization_id, row)
    assert before == after
    assert (told.is_agent_new, told.cancelled_turn_count, told.turn_count) == (True, 0, 6)
    assert stripped(raw) == stripped(await exported(world, scene.session_id))
    assert (await findings(scene.world), await findings(world)) == ({}, {})


async def test_what_an_imported_session_had_cost_is_shown_and_never_billed(
    pool: Pool, elsewhere: Pool
) -> None:
    scene = await lived(pool)
    world = await make_world(elsewhere)
    raw = await exported(scene.world, scene.session_id)

    told = await imported(world, read(raw))

    shown = await world.store.reading.imported_usage(world.caller, scene.session_id)
    assert shown == await scene.world.store.reading.session_usage(scene.world.caller, scene.session_id)
    assert shown.output_tokens > 0
    assert told.usage_entry_count == len(read(raw).usage_entries) > 0
    assert await world.store.reading.session_usage(world.caller, scene.session_id) == Usage()
    assert (await world.store.reading.usage_totals(world.caller)).last_seq == 0
    entries, head = await world.store.reading.usage_entries(world.caller, after=0, session_id=None, limit=9)
    assert (entries, head) == ([], 0)


async def test_an_imported_session_goes_on_and_what_is_new_is_billed(pool: Pool, elsewhere: Pool) -> None:
    scene = await lived(pool)
    world = await make_world(elsewhere)
    await imported(world, read(await exported(scene.world, scene.session_id)))
    going_on = Stage(elsewhere, world, scene.session_id, scene.model, scene.tools)
    scene.model.lines = [Line(text="And on.")]

    async with going_on.running():
        turn = await going_on.ask("Where were we?")

    assert (turn.state, turn.replies[0].text) == (TurnState.COMPLETED, "And on.")
    assert "is speaking" in scene.model.requests[-1].messages[-2].text, "the model sees what was said before"
    assert (await world.store.reading.usage_totals(world.caller)).call_count == 1
    assert await findings(world) == {}


async def test_a_future_that_was_brought_along_can_be_restored(pool: Pool, elsewhere: Pool) -> None:
    scene = await lived(pool)
    world = await make_world(elsewhere)
    file = read(await exported(scene.world, scene.session_id))
    await imported(world, file)
    ordinals = [future["ordinal"] for future in file.discarded_futures]

    await world.store.sessions.restore(
        world.caller,
        scene.session_id,
        ordinal=ordinals[-1],
        expected=None,
        idempotency=None,
        render=lambda _: StoredAnswer(status=200, headers={}, body=b""),
    )

    assert await findings(world) == {}


async def test_turns_that_were_not_finished_are_cancelled_before_a_runner_sees_them(
    pool: Pool, elsewhere: Pool
) -> None:
    scene = await set_up(pool)
    scene.model.lines = [asks(("pay", {"to": "Bea"})), Line(text="Unsaid.")]
    async with scene.running():
        await scene.until((await scene.say("Pay")).id, TurnState.AWAITING_APPROVAL)
    world = await make_world(elsewhere)
    file = read(await exported(scene.world, scene.session_id))

    told = await imported(world, file)

    document = await world.store.reading.document(world.caller, scene.session_id)
    assert told.cancelled_turn_count == 1
    assert document.session.revision == told.revision == file.session["revision"] + 1
    assert document.turns[-1].state is TurnState.CANCELLED
    assert await world.store.running.claim(runner="test", lease_seconds=15) is None
    assert await elsewhere.fetchval("SELECT count(*) FROM approvals WHERE closed_at IS NOT NULL") == 1
    assert await findings(world) == {}


async def test_a_call_under_way_is_settled_where_it_was_made(pool: Pool, elsewhere: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, None)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(step_id))
    raw = await exported(world, session_id)
    other = await make_world(elsewhere)

    await imported(other, read(raw))

    assert await world.store.running.settle(claim, step_id, outcome())
    assert not await other.store.running.settle(claim, step_id, outcome())
    assert (await other.store.reading.usage_totals(other.caller)).last_seq == 0
    assert await findings(other) == {}


async def test_what_is_here_already_is_not_imported(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.conversation(1)).session.id
    raw = await exported(world, session_id)

    with pytest.raises(AlreadyHere) as here:
        await imported(world, read(raw))
    await world.store.sessions.erase(world.caller, session_id, expected=None)
    with pytest.raises(AlreadyHere) as deleted:
        await imported(world, read(raw))

    assert (here.value.what, here.value.wire_id) == ("session", session_id)
    assert deleted.value.what == "session"
    assert await findings(world) == {}


async def test_a_step_that_is_here_already_is_not_imported(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id)
    raw = await exported(world, session_id)
    for number, wire_id in enumerate({session_id, *re.findall("trn_[0-9a-f]{32}", raw.decode())}):
        raw = raw.replace(wire_id.encode(), f"{wire_id[:-4]}{number:04x}".encode())

    with pytest.raises(AlreadyHere) as here:
        await imported(world, read(raw))

    assert here.value.what == "step"


async def test_a_session_goes_on_with_its_own_agent_version_or_the_one_chosen(
    pool: Pool, elsewhere: Pool
) -> None:
    world = await make_world(pool, definition=AGENT)
    file = read(await exported(world, (await world.conversation(1)).session.id))
    other = await make_world(elsewhere)
    same = read(await exported(world, (await world.conversation(1)).session.id))
    third = read(await exported(world, (await world.conversation(1)).session.id))
    chosen = AgentChoice(id=other.agent.id, version=1)
    nowhere = msgspec.structs.replace(third, as_agent=AgentChoice(id=other.agent.id, version=2))
    changed = msgspec.structs.replace(file.agent, definition={"model": "scripted:echo"})

    brought = await imported(other, file)
    found = await imported(other, same)
    with pytest.raises(AgentDiffers):
        await imported(other, msgspec.structs.replace(third, agent=changed))
    with pytest.raises(NotFound):
        await imported(other, nowhere)
    mapped = await imported(other, msgspec.structs.replace(third, as_agent=chosen))

    assert (brought.is_agent_new, brought.agent) == (True, world.agent)
    assert (found.is_agent_new, found.agent) == (False, world.agent)
    assert (mapped.is_agent_new, mapped.agent) == (False, other.agent)
    version = await other.store.agents.agent_version(other.caller.organization_id, world.agent.id, 1)
    assert isinstance(version.definition, Definition)
    assert version.definition.tools == AGENT.tools
    assert await findings(other) == {}


UNLAWFUL: list[tuple[str, Any, str]] = [
    ("session", lambda f: f.session | {"cursor": 9}, "/session"),
    ("session", lambda f: f.session | {"format": 99}, "/session"),
    ("session", lambda f: f.session | {"branch": 7, "branch_count": 8}, "/session"),
    ("session", lambda f: f.session | {"id": "ses_1"}, "/session/id"),
    ("context", lambda f: {"a": "\x00"}, "/context"),
    ("branches", lambda f: (*f.branches, f.branches[0]), "/branches"),
    ("branches", lambda f: ({**f.branches[0], "branch_point": 1},), "/session"),
    ("branches", lambda f: ({"number": "x"},), "/branches/0"),
    ("turns", lambda f: f.turns[:-1], "/turns"),
    ("turns", lambda f: (*f.turns[:-1], {"turn": {"id": 1}, "steps": []}), "/turns/1/turn"),
    ("turns", lambda f: (f.turns[0], f.turns[0]), "/session"),
    ("events", lambda f: f.events[:-1], "/events"),
    ("events", lambda f: (*f.events[1:], f.events[0]), "/events"),
    ("usage_entries", lambda f: ({"seq": 0},), "/usage_entries/0"),
    ("discarded_futures", lambda f: ({"ordinal": 1},), "/discarded_futures/0"),
    ("agent", lambda f: msgspec.structs.replace(f.agent, version=9), "/agent"),
    ("agent", lambda f: msgspec.structs.replace(f.agent, definition={"model": 1}), "/agent/definition"),
]


@pytest.mark.parametrize(("field", "change", "pointer"), UNLAWFUL)
async def test_a_file_that_is_no_session_is_refused_whole(
    pool: Pool, elsewhere: Pool, field: str, change: Any, pointer: str
) -> None:
    world = await make_world(pool)
    file = read(await exported(world, (await world.conversation(2)).session.id))
    other = await make_world(elsewhere)

    with pytest.raises(FileRefused) as refused:
        await imported(other, msgspec.structs.replace(file, **{field: change(file)}))

    assert pointer in [fault.pointer for fault in refused.value.faults]
    for table in ("sessions", "turns", "events", "branches", "session_imports"):
        assert await elsewhere.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_import_that_is_repeated_is_done_once_and_forgotten_with_the_session(
    pool: Pool, elsewhere: Pool
) -> None:
    scene = await lived(pool)
    world = await make_world(elsewhere)
    file = read(await exported(scene.world, scene.session_id))
    key = Idempotency(key="one", fingerprint=b"\1" * 32)

    await imported(world, file, idempotency=key)
    again = await world.store.importing.import_session(
        world.caller, file, idempotency=key, render=lambda _: StoredAnswer(status=201, headers={}, body=b"")
    )
    assert (await holding(elsewhere, CANARY)).keys() >= {"sessions", "turns", "steps", "approvals"}
    await world.store.sessions.erase(world.caller, scene.session_id, expected=None)

    assert isinstance(again, Replay)
    assert await holding(elsewhere, CANARY) == {}
    assert await elsewhere.fetchval("SELECT count(*) FROM session_imports") == 0
    assert await elsewhere.fetchval("SELECT count(*) FROM imported_usage_entries") == 0
    with pytest.raises(NotFound):
        await imported(world, file, idempotency=key)


async def test_an_export_holds_no_more_than_a_page_at_a_time(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    for number in range(230):
        await world.append(session_id, None, f"Question {number}")
        await world.answer(f"Answer {number}")
    pieces: list[bytes] = []

    await world.store.exporting.export(world.caller, session_id, pieces.append)

    assert max(len(re.findall(rb'"user_message":', piece)) for piece in pieces) == 100
    assert len(msgspec.json.decode(b"".join(pieces))["turns"]) == 230


async def test_a_session_whose_first_events_are_kept_no_longer_is_taken_along(
    pool: Pool, elsewhere: Pool
) -> None:
    world, there = await make_world(pool), await make_world(elsewhere)
    session_id = (await world.conversation(2)).session.id
    await pool.execute("DELETE FROM events WHERE revision < 4")
    file = read(await exported(world, session_id))

    await imported(there, file)

    assert await findings(there) == {}
    with pytest.raises(FileRefused):
        await imported(there, msgspec.structs.replace(file, events=file.events[:-1]))


async def test_nobody_exports_what_is_not_theirs(pool: Pool) -> None:
    world = await make_world(pool)
    other = await make_world(pool, name="Other")
    session_id = (await world.session()).session.id
    stranger = Caller(organization_id=other.caller.organization_id, actor=other.caller.actor)
    pieces: list[bytes] = []

    with pytest.raises(NotFound):
        await world.store.exporting.export(stranger, session_id, pieces.append)

    assert pieces == []
