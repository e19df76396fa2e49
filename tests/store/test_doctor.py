"""The doctor finds nothing in a healthy database, and each check finds the fault that it is there for."""

import pytest

from api.store import Store
from api.store.doctor import LAW
from db import doctor
from db.pool import Pool
from tests.factories import World, make_world, rendered
from tests.store.test_races import intent, outcome


async def findings(world: World) -> dict[str, list[str]]:
    """What each check found, for checks that found something."""
    return await findings_of(world.store)


async def findings_of(store: Store) -> dict[str, list[str]]:
    """The same on a store."""
    diagnoses = [diagnosis async for diagnosis in store.doctor.examine(sessions_max=100)]
    assert [diagnosis.check for diagnosis in diagnoses] == [*doctor.CHECKS, LAW]
    return {d.check: [f"{f.subject}: {f.detail}" for f in d.findings] for d in diagnoses if d.findings}


async def lived_in(pool: Pool) -> World:
    """An organization with turns of every kind, a discarded future, a priced call and a deleted session."""
    world = await make_world(pool)
    session_id = (await world.conversation(3)).session.id
    await world.store.sessions.rewind(
        world.caller, session_id, turn_id=None, expected=7, idempotency=None, render=rendered
    )
    await world.append(session_id, 8)
    claim = await world.store.running.claim(runner="test", lease_seconds=15)
    assert claim is not None
    step_id = world.store.running.new_step_id()
    assert await world.store.running.start_step(claim, intent(step_id))
    assert await world.store.running.settle(claim, step_id, outcome())
    doomed = (await world.conversation(1)).session
    await world.store.sessions.erase(world.caller, doomed.id, expected=None)
    return world


async def test_a_healthy_database_has_no_findings(pool: Pool) -> None:
    world = await lived_in(pool)

    assert await findings(world) == {}


FAULTS = {
    "ledger density": "UPDATE organization_ledgers SET last_seq = last_seq + 1",
    "organization totals": "UPDATE organization_ledgers SET output_tokens = output_tokens + 1",
    "session totals": "UPDATE session_totals SET cost = cost + 0.01",
    "double bill": """
        DROP INDEX usage_entries_original;
        DROP INDEX usage_entries_by_id;
        INSERT INTO usage_entries SELECT * FROM usage_entries;
    """,
    "corrections": """
        CREATE TABLE made AS SELECT * FROM usage_entries;
        UPDATE made SET corrects_id = id, id = gen_random_uuid(), seq = seq + 1, correction_number = 2,
                        corrected_by = '{}', correction_reason = 'because';
        ALTER TABLE usage_entries DISABLE TRIGGER usage_entries_corrections_add_up;
        INSERT INTO usage_entries SELECT * FROM made;
    """,
    "budgets": """
        INSERT INTO budgets (organization_id, period, time_zone, hard_limit, set_at, set_by, counted_from,
                             counted_seq, counted_cost)
        SELECT id, 'total', 'UTC', 1, now(), '{}', 'epoch', 1, 5 FROM organizations;
    """,
    "unbilled call": "UPDATE steps SET id = gen_random_uuid()",
    "leaked intent": """
        UPDATE steps SET state = 'started', ended_at = NULL;
        UPDATE runs SET state = 'revoked', ended_at = now() - interval '1 hour';
        UPDATE turns SET state = 'cancelled' WHERE state = 'pending';
    """,
    "stuck turn": "UPDATE runs SET lease_expires_at = now() - interval '1 hour' WHERE state = 'running'",
    "run of a final turn": "UPDATE turns SET state = 'completed' WHERE state = 'pending'",
    "event density": "DELETE FROM events WHERE revision = 3",
    "header copies": "UPDATE sessions SET revision = revision + 1",
    "active turn": "UPDATE turns SET state = 'failed' WHERE state = 'pending'",
    "text of deleted sessions": "UPDATE sessions SET deleted_at = now()",
    "open approvals": "UPDATE turns SET state = 'awaiting_approval' WHERE state = 'pending'",
    "unaudited call": "DELETE FROM interactions",
    LAW: "DELETE FROM discarded_futures",
}
"""By check, what it must find."""


def test_there_is_a_fault_for_every_check() -> None:
    assert list(FAULTS) == [*doctor.CHECKS, LAW]


@pytest.mark.parametrize("check", FAULTS)
async def test_each_check_finds_its_fault(pool: Pool, check: str) -> None:
    world = await lived_in(pool)
    # The tables forbid most faults; a fault is what slipped past them.
    await pool.execute("ALTER TABLE usage_entries DROP CONSTRAINT usage_entries_pkey")
    await pool.execute(FAULTS[check])

    assert check in await findings(world)
