"""Commits per second through the store over pgbench running the same SQL on the same server.

    python -m bench.commits_vs_pgbench

Sixteen tasks of one process, each with a session of its own, append and complete turn after turn; then
sixteen clients of pgbench run the statements that the store was seen to issue for that. Two runs, two
commits a turn.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from functools import partial

from api.events import Hub
from api.store import Store
from bench import pgbench, turns
from bench.database import Database, bench_database
from bench.report import ROUNDS, Ratio, run, show, show_ratios
from bench.tenants import Opened, Tenant, make_tenants, open_sessions, settle_down
from db.pool import Pool, open_pool

SESSIONS = 16
_TURN_COUNT = 10
_SECONDS = 5
_AT_LEAST = 0.6
_COMMITS_PER_TURN = 2


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    try:
        pgbench.find_pgbench()
    except pgbench.PgbenchMissing as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)
    names = {"50 organizations": 50, "one organization": 1}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    async with bench_database() as database, await open_pool(database.dsn, size_max=SESSIONS) as pool:
        tenants = await make_tenants(Store(pool, Hub()))
        await pgbench.create_tables(pool)
        # The other organizations of the database are not empty.
        await open_sessions(pool, tenants, count=500, turn_count=_TURN_COUNT)
        script = await _script(pool, tenants)
        await _round(database, pool, tenants, script, seconds=1)
        for _ in range(ROUNDS):
            for name, count in names.items():
                found[name].append(await _round(database, pool, tenants[:count], script, seconds=_SECONDS))
    return _report(found)


async def _script(pool: Pool, tenants: Sequence[Tenant]) -> pgbench.Script:
    """Record two turns on a session like those that are measured."""
    warming_up, session = await open_sessions(pool, tenants[:1], count=2, turn_count=_TURN_COUNT)
    revision = 1 + 2 * _TURN_COUNT

    async def turn(store: Store, *, on: Opened, expected: int) -> None:
        appended = await turns.append(store, on, expected=expected)
        await turns.complete(store, turns.right_to(on, appended), turns.known_of(appended))

    # The first turn also asks for the types of this connection, and for the budgets of its organization.
    _, first, second = await pgbench.recorded(
        pool,
        [
            partial(turn, on=warming_up, expected=revision),
            partial(turn, on=session, expected=revision),
            partial(turn, on=session, expected=revision + 2),
        ],
    )
    return pgbench.script_of(
        first,
        second,
        known={session.id: ":session_id", session.tenant.caller.organization_id: ":organization_id"},
    )


async def _round(
    database: Database, pool: Pool, tenants: Sequence[Tenant], script: pgbench.Script, *, seconds: int
) -> tuple[float, float]:
    ours = await open_sessions(pool, tenants, count=SESSIONS, turn_count=_TURN_COUNT)
    theirs = await open_sessions(pool, tenants, count=SESSIONS, turn_count=_TURN_COUNT)
    # Each side begins at a checkpoint: the second would find its page images written by the first.
    await settle_down(pool)
    through_store = await _commits_per_second(Store(pool, Hub()), ours, seconds=seconds)
    clients = [
        pgbench.Client(organization_id=session.tenant.caller.organization_id, session_id=session.id)
        for session in theirs
    ]
    await settle_down(pool)
    replayed = await pgbench.run_script(pool, database.dsn, script, clients, seconds=seconds)
    await _require_commits(pool, theirs, count=replayed.count * _COMMITS_PER_TURN)
    return through_store, replayed.per_second * _COMMITS_PER_TURN


async def _commits_per_second(store: Store, opened: Sequence[Opened], *, seconds: int) -> float:
    began = time.perf_counter()

    async def converse(session: Opened) -> int:
        revision = 1 + 2 * _TURN_COUNT
        while time.perf_counter() < began + seconds:
            appended = await turns.append(store, session, expected=revision)
            completed = await turns.complete(
                store, turns.right_to(session, appended), turns.known_of(appended)
            )
            revision = completed.session.revision
        return revision - (1 + 2 * _TURN_COUNT)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(converse(session)) for session in opened]
    return sum(task.result() for task in tasks) / (time.perf_counter() - began)


async def _require_commits(pool: Pool, opened: Sequence[Opened], *, count: int) -> None:
    """Insist that pgbench's swaps took effect: one that finds another revision is fast and does nothing."""
    store = Store(pool, Hub())
    revisions = [await store.reading.revision(one.tenant.caller, one.wire_id) for one in opened]
    commits = sum(revisions) - len(opened) * (1 + 2 * _TURN_COUNT)
    if commits != count:
        raise RuntimeError(f"pgbench says {count} commits, the sessions say {commits}")


def _report(found: dict[str, list[tuple[float, float]]]) -> bool:
    show(
        f"Commits per second at {SESSIONS} sessions, by round",
        ["", *(str(number) for number in range(1, ROUNDS + 1))],
        [
            (f"{name}, {side}", *(rates[index] for rates in rounds))
            for name, rounds in found.items()
            for index, side in enumerate(("store", "pgbench"))
        ],
    )
    return show_ratios(
        "Store over pgbench",
        [
            Ratio(
                name=name,
                rounds=[store / peer for store, peer in rounds],
                at_least=_AT_LEAST if name.startswith("50") else None,
            )
            for name, rounds in found.items()
        ],
    )


if __name__ == "__main__":
    run(main)
