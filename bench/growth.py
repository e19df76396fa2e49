"""What a million sessions change: reading and writing beside them, over the same beside a thousand.

    python -m bench.growth [--sessions 1000000]

Two databases on one server, one with a thousand sessions and one with a million, are asked in turns.
"""

import argparse
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from statistics import median

import msgspec
from loguru import logger

from api.events import Hub
from api.store import Store
from bench import turns
from bench.database import bench_database
from bench.grown import grow
from bench.report import ROUNDS, Ratio, run, show, show_ratios
from bench.tenants import Opened, Tenant, make_tenants, open_sessions
from db.pool import Pool, open_pool

FEW = 1_000
MANY = 1_000_000
_AT_MOST = 1.5
_CALLS = 100
"""Of each kind, in one round."""
_ORGANIZATIONS = 4
"""So few that each has a full page to list beside a thousand sessions, too."""
_TURN_COUNT = 10
_SESSIONS = 40
"""Sessions of ten turns that are read and written in one round."""

Latencies = dict[str, list[float]]


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two."""

    pool: Pool
    store: Store
    tenants: Sequence[Tenant]
    session_count: int


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--sessions", type=int, default=MANY, help=f"of the large one ({MANY} unless given)")
    many = parser.parse_args().sessions
    rounds: list[tuple[Latencies, Latencies]] = []
    async with _installation(FEW, "few") as small, _installation(many, "many") as large:
        for number in range(ROUNDS + 1):
            found: tuple[Latencies, Latencies] = (defaultdict(list), defaultdict(list))
            opened = [await _opened(one) for one in (small, large)]
            for call in range(_CALLS):
                for one, sessions, latencies in random.sample(
                    list(zip((small, large), opened, found, strict=True)), 2
                ):
                    await _measure(one, sessions[call % len(sessions)], latencies)
            # The first round warms up.
            if number:
                rounds.append(found)
    kinds = list(rounds[0][0])
    show(
        f"Milliseconds, medians of {ROUNDS} rounds",
        ["", f"{FEW:,} sessions", f"{many:,} sessions"],
        [
            (kind, *(median(median(pair[side][kind]) for pair in rounds) * 1000 for side in (0, 1)))
            for kind in kinds
        ],
    )
    return show_ratios(
        f"{many:,} sessions over {FEW:,}",
        [
            Ratio(
                name=kind,
                rounds=[median(large[kind]) / median(small[kind]) for small, large in rounds],
                at_most=_AT_MOST,
            )
            for kind in kinds
        ],
    )


@contextlib.asynccontextmanager
async def _installation(session_count: int, name: str) -> AsyncIterator[Installation]:
    async with (
        bench_database(f"turnledger_bench_{name}") as database,
        await open_pool(database.dsn, size_max=2) as pool,
    ):
        store = Store(pool, Hub())
        tenants = await make_tenants(store, _ORGANIZATIONS)
        began = time.perf_counter()
        logger.disable("api")
        await grow(pool, tenants, session_count=session_count)
        print(f"{session_count:,} sessions were written in {time.perf_counter() - began:.0f} s", flush=True)
        yield Installation(pool=pool, store=store, tenants=tenants, session_count=session_count)


async def _opened(one: Installation) -> list[Opened]:
    """New sessions, half of them of the organization that has half of all."""
    half = _SESSIONS // 2
    return [
        *await open_sessions(one.pool, one.tenants[:1], count=half, turn_count=_TURN_COUNT),
        *await open_sessions(one.pool, one.tenants[1:], count=half, turn_count=_TURN_COUNT),
    ]


async def _measure(one: Installation, session: Opened, latencies: Latencies) -> None:
    reading, caller = one.store.reading, session.tenant.caller
    head = (await reading.usage_entries(caller, after=0, session_id=None, limit=1))[1]

    async def timed(kind: str, call: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await call()
        latencies[kind].append(time.perf_counter() - began)

    def listing(**filters: object) -> Callable[[], Awaitable[object]]:
        given = {"before": None, "state": None, "agent_id": None, "active_since": None, "query": None}
        return lambda: reading.list_sessions(caller, **{**given, **filters}, limit=50)  # type: ignore[arg-type]

    async def run_turn() -> None:
        claimed = await turns.claim(one.store, session)
        await turns.call_model(one.store, claimed)
        await turns.complete(one.store, claimed, None)

    await timed("list", listing())
    await timed("list, ended", listing(state="ended"))
    await timed("list, by agent", listing(agent_id=session.tenant.agent.id))
    await timed(
        "list, by name", listing(query=f"Talk {random.randrange(one.session_count // 2, one.session_count)}")
    )
    await timed("get", lambda: reading.document(caller, session.wire_id))
    await timed("append", lambda: turns.append(one.store, session, expected=None))
    await timed("run of a turn", run_turn)
    after = random.randrange(max(1, head - 100))
    await timed("feed", lambda: reading.usage_entries(caller, after=after, session_id=None, limit=100))


if __name__ == "__main__":
    run(main)
