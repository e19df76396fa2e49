"""The law of the document holds for what is stored, whatever commands were carried out on Postgres."""

import random
from uuid import UUID

import asyncpg
import msgspec
import pytest

from api.session import ids, invariants
from api.session.commands import IfActive
from api.session.document import Decision, Document, TurnState
from api.session.errors import AlreadyCancelled, CommandRefused, TurnAwaitsApproval, TurnNotActive
from api.store.doctor import whole_document
from db.pool import Pool
from tests.factories import World, asking, make_world, rendered

_COMMANDS = 250


async def stored_document(pool: Pool, world: World, session_id: str) -> Document:
    """Everything that the database holds of a session, as the law wants to see it."""
    row = ids.from_wire(ids.Kind.SESSION, session_id)
    assert row is not None
    async with pool.acquire() as conn:
        document = await whole_document(conn, world.caller.organization_id, row)
    assert document is not None
    return document


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_law_holds_after_every_command(pool: Pool, seed: int) -> None:
    chance = random.Random(seed)
    world = await make_world(pool)
    session_id = (await world.session(greeting="Welcome.")).session.id
    carried_out: set[str] = set()

    for _ in range(_COMMANDS):
        before = await stored_document(pool, world, session_id)
        name = chance.choice((*_NAMES, *("ask", "decide") * 3))
        try:
            await _command(world, before, name, chance)
        except (CommandRefused, AlreadyCancelled):
            assert await stored_document(pool, world, session_id) == before, (
                f"a refused {name} changed something"
            )
            continue
        carried_out.add(name)
        after = await stored_document(pool, world, session_id)
        invariants.check(after)
        assert after.session.revision == before.session.revision + 1
        await _check_columns(pool, after)

    assert carried_out == set(_NAMES)
    assert await pool.fetchval("SELECT count(*) FROM events") == after.session.revision


async def test_the_view_shows_the_same_document(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.conversation(3)).session.id
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=None, expected=7, idempotency=None, render=rendered
    )
    await world.append(session_id, 8, "From the start")

    shown = await pool.fetchval("SELECT document FROM session_documents")

    document = await stored_document(pool, world, session_id)
    decoded = msgspec.json.decode(shown)
    assert decoded["revision"] == document.session.revision
    assert msgspec.convert(decoded["turns"], type=list[type(document.turns[0])]) == list(document.turns)
    assert [f["turn_count"] for f in decoded["discarded_futures"]] == [3]
    assert decoded["cursor"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_entries SET cost = 0",
        "DELETE FROM usage_entries",
        "TRUNCATE usage_entries",
        "TRUNCATE usage_entries_first",
        "UPDATE prices SET per_call = 1",
        "DELETE FROM prices",
        "UPDATE agent_versions SET definition = '{}'",
        "DELETE FROM agent_versions",
        "UPDATE turns SET body = '{}' WHERE state = 'completed'",
    ],
)
async def test_the_database_refuses_to_change_what_never_changes(pool: Pool, statement: str) -> None:
    world = await make_world(pool)
    await world.conversation(1)
    await _insert_entry(pool, world)
    await pool.execute(
        """INSERT INTO prices (organization_id, provider, model_pattern, valid_from, input_per_million,
                               output_per_million)
           SELECT id, 'scripted', '*', now(), 1, 2 FROM organizations"""
    )

    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET cursor = turn_count + 1",
        "UPDATE sessions SET revision = 0",
        "UPDATE sessions SET unfinished_count = 1",
        "UPDATE sessions SET state = 'running'",
        "INSERT INTO branches SELECT organization_id, session_id, 1, NULL, 5 FROM branches",
        "INSERT INTO events SELECT * FROM events",
    ],
)
async def test_the_tables_mirror_the_law(pool: Pool, statement: str) -> None:
    world = await make_world(pool)
    await world.conversation(1)

    with pytest.raises((asyncpg.CheckViolationError, asyncpg.UniqueViolationError)):
        await pool.execute(statement)


async def test_two_runs_of_one_turn_cannot_exist(pool: Pool) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await world.append(session_id, 1)
    assert await world.store.running.claim(runner="one", lease_seconds=15) is not None

    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute(
            """
            INSERT INTO runs SELECT organization_id, gen_random_uuid(), session_id, turn_id, 2, 9, 'two',
                                    now(), 'running', now() FROM runs
            """
        )


_NAMES = (
    "append",
    "interrupt",
    "enqueue",
    "answer",
    "ask",
    "decide",
    "rewind",
    "regenerate",
    "restore",
    "retry",
    "cancel",
    "update",
)


async def _command(world: World, before: Document, name: str, chance: random.Random) -> None:
    session_id, revision = before.session.id, before.session.revision
    sessions, caller = world.store.sessions, world.caller
    turn = chance.choice(before.turns)
    checked = {"expected": revision, "idempotency": None}
    kept = {**checked, "render": rendered}
    if name in ("append", "interrupt", "enqueue"):
        policy = IfActive.REJECT if name == "append" else IfActive(name)
        await world.append(session_id, revision, f"{name} {revision}", if_active=policy)
    elif name in ("answer", "ask", "decide"):
        await _run(world, before, name, chance)
    elif name == "rewind":
        to = chance.choice([None, turn.id])
        await sessions.rewind(caller, session_id, turn_id=to, **kept)
    elif name == "regenerate":
        text = chance.choice([None, "Said differently"])
        await sessions.regenerate(caller, session_id, turn_id=turn.id, text=text, **checked)
    elif name == "restore":
        ordinal = chance.randint(1, before.session.discarded_count + 1)
        await sessions.restore(caller, session_id, ordinal=ordinal, **kept)
    elif name == "retry":
        last = [turn for turn in before.turns if turn.state is TurnState.CANCELLED] or [turn]
        await sessions.retry(caller, session_id, turn_id=last[-1].id, **checked)
    elif name == "cancel":
        unfinished = [turn for turn in before.turns if not turn.state.is_final] or [turn]
        await sessions.cancel(caller, session_id, turn_id=chance.choice(unfinished).id, **kept)
    else:
        await sessions.update(
            caller,
            session_id,
            name=f"name {revision}",
            metadata={"revision": revision},
            metadata_bytes_max=1_000,
            expected=revision,
        )


async def _run(world: World, before: Document, name: str, chance: random.Random) -> None:
    """What a runner does with the active turn, and people with what it asks; else one is made or goes on."""
    active = next((turn for turn in before.turns if not turn.state.is_final), None)
    if active is None:
        raise TurnNotActive("none", active_turn_id=None)
    asked = [approval for approval in active.approvals if approval.decision is None]
    if active.state is TurnState.AWAITING_APPROVAL:
        if name != "decide":
            raise TurnAwaitsApproval(active.id)
        await world.decide(chance.choice(asked), chance.choice(list(Decision)))
    elif name == "decide":
        raise TurnNotActive(active.id, active_turn_id=None)
    elif name == "ask":
        claim = await world.store.running.claim(runner="test", lease_seconds=15)
        assert claim is not None
        approvals = [world.approval(number) for number in range(chance.randint(1, 3))]
        assert await world.store.running.publish(claim, asking(claim, *approvals))
    else:
        await world.answer()


_COPIED = (
    "revision",
    "state",
    "name",
    "branch",
    "turn_count",
    "cursor",
    "unfinished_count",
    "updated_at",
)


async def _check_columns(pool: Pool, document: Document) -> None:
    """The columns of the header's row are copies of the document's fields."""
    session = document.session
    row = await pool.fetchrow(
        """
        SELECT revision, state, name, branch, turn_count, cursor, unfinished_count, active_turn_id, updated_at
          FROM sessions
        """
    )
    assert row is not None
    active: UUID | None = row["active_turn_id"]
    assert (None if active is None else ids.to_wire(ids.Kind.TURN, active)) == session.active_turn_id
    for field in (
        "revision",
        "state",
        "name",
        "branch",
        "turn_count",
        "cursor",
        "unfinished_count",
        "updated_at",
    ):
        assert row[field] == getattr(session, field), field


async def _insert_entry(pool: Pool, world: World) -> None:
    await pool.execute(
        """
        INSERT INTO usage_entries (organization_id, seq, id, session_id, turn_id, run_id, step_id, attempt,
               speaker, purpose, provider, model, input_tokens, cached_tokens, cache_write_tokens,
               output_tokens, reasoning_tokens, currency, source, outcome, billable,
               billable_reason, created_at)
        SELECT $1, 1, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
               gen_random_uuid(), 1, 'Ada', 'reply', 'p', 'm', 1, 0, 0, 1, 0, 'USD', 'provider', 'completed',
               true, 'completed', now()
        """,
        world.caller.organization_id,
    )
