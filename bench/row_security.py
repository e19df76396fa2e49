"""What the second wall costs: commits a second through the store, as the application role and without it.

Whoever works for many organizations tells a connection for whom, which is one round trip more whenever that
changes; whoever works for one, or has few sessions at once, hardly ever does.
"""

import asyncio
import time
from collections.abc import Sequence

from api.events import Hub
from api.store import Store
from api.store.base import act_for
from bench import turns
from bench.database import bench_database
from bench.report import Ratio, run, show, show_ratios
from bench.tenants import Opened, make_tenants, open_sessions
from db.pool import open_pool
from db.row_security import open_application_pool

SESSIONS = 16
ROUNDS = 5
_SECONDS = 3
_TURN_COUNT = 10


async def main() -> bool:
    """Measure and print."""
    names = {"50 organizations": 50, "one organization": 1}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    async with (
        bench_database() as database,
        await open_pool(database.dsn, size_max=SESSIONS) as pool,
        await open_application_pool(database.dsn, size_max=SESSIONS) as walled,
    ):
        open_store, walled_store = Store(pool, Hub()), Store(walled, Hub())
        tenants = await make_tenants(open_store)
        for number in range(ROUNDS + 1):
            for name, count in names.items():
                chosen = tenants[:count]
                rates = []
                for store in (open_store, walled_store):
                    opened = await open_sessions(pool, chosen, count=SESSIONS, turn_count=_TURN_COUNT)
                    rates.append(await _commits_per_second(store, opened))
                # The first round warms up.
                if number:
                    found[name].append((rates[0], rates[1]))
    show(
        f"Commits per second at {SESSIONS} sessions, by round",
        ["", *(str(number) for number in range(1, ROUNDS + 1))],
        [
            (f"{name}, {side}", *(rates[index] for rates in rounds))
            for name, rounds in found.items()
            for index, side in enumerate(("one wall", "two walls"))
        ],
    )
    return show_ratios(
        "Two walls over one",
        [
            Ratio(name=name, rounds=[walled / plain for plain, walled in rounds], at_least=None)
            for name, rounds in found.items()
        ],
    )


async def _commits_per_second(store: Store, opened: Sequence[Opened]) -> float:
    began = time.perf_counter()

    async def converse(session: Opened) -> int:
        act_for(session.tenant.caller)
        revision = 1 + 2 * _TURN_COUNT
        while time.perf_counter() < began + _SECONDS:
            appended = await turns.append(store, session, expected=revision)
            completed = await turns.complete(
                store, turns.right_to(session, appended), turns.known_of(appended)
            )
            revision = completed.session.revision
        return revision - (1 + 2 * _TURN_COUNT)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(converse(session)) for session in opened]
    return sum(task.result() for task in tasks) / (time.perf_counter() - began)


if __name__ == "__main__":
    run(main)
