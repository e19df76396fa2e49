"""What one commit costs in a long session over what it costs in a short one.

    python -m bench.commit_cost

Sessions of 10, 100, 1,000 and 10,000 turns take turns, so that whatever else the machine does falls on all
of them alike.
"""

import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

from uuid_utils.compat import uuid7

from api.events import Hub
from api.session import commands, ids
from api.session.document import Change
from api.store import Done, Store, rows
from api.store.base import utc_now
from bench import turns
from bench.database import bench_database
from bench.report import ROUNDS, Ratio, run, show, show_ratios
from bench.tenants import USER_TEXT, Opened, Tenant, make_tenants, open_sessions, settle_down
from db import commits, sessions
from db.pool import Pool, open_pool

LENGTHS = (10, 100, 1_000, 10_000)
_SESSIONS = {10: 25, 100: 10, 1_000: 5, 10_000: 5}
"""Sessions of each length in one round. The short ones are new in every round, so that they stay short."""
_TURNS = 100
"""Turns of each length in one round."""
_BRANCHINGS = 10
"""Branches that each length opens in one round."""
_AT_MOST = 1.15

Latencies = dict[tuple[str, int], list[float]]


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    rounds: list[Latencies] = []
    async with bench_database() as database, await open_pool(database.dsn, size_max=2) as pool:
        store = Store(pool, Hub())
        tenants = await make_tenants(store)
        long = {length: await _opened(pool, tenants, length) for length in LENGTHS if length > 100}
        await _measure(pool, store, long | await _short(pool, tenants), defaultdict(list))
        for _ in range(ROUNDS):
            by_length = long | await _short(pool, tenants)
            await settle_down(pool)
            found: Latencies = defaultdict(list)
            await _measure(pool, store, by_length, found)
            rounds.append(found)
    return _report(rounds)


async def _opened(pool: Pool, tenants: Sequence[Tenant], length: int) -> list[Opened]:
    return await open_sessions(pool, tenants, count=_SESSIONS[length], turn_count=length)


async def _short(pool: Pool, tenants: Sequence[Tenant]) -> dict[int, list[Opened]]:
    return {length: await _opened(pool, tenants, length) for length in LENGTHS if length <= 100}


async def _measure(pool: Pool, store: Store, by_length: dict[int, list[Opened]], found: Latencies) -> None:
    # The first touch of a page after a checkpoint logs it whole: that is paid here, for every session.
    for opened in by_length.values():
        for session in opened:
            await _through_store(store, session, defaultdict(list), len(session.turn_ids))
    for number in range(_TURNS):
        for length in random.sample(LENGTHS, len(LENGTHS)):
            session = by_length[length][number % len(by_length[length])]
            await _through_store(store, session, found, length)
            if number % 2 == 0:
                await _swap_alone(pool, session, found, length)
    for number in range(_BRANCHINGS):
        for length in random.sample(LENGTHS, len(LENGTHS)):
            await _branching(store, by_length[length][number % len(by_length[length])], found, length)


async def _through_store(store: Store, session: Opened, found: Latencies, length: int) -> None:
    revision = await store.reading.revision(session.tenant.caller, session.wire_id)
    began = time.perf_counter()
    delta = await turns.append(store, session, expected=revision)
    appended = time.perf_counter()
    claimed = await turns.claim(store, session)
    was_claimed = time.perf_counter()
    await turns.complete(store, claimed, turns.known_of(delta))
    completed = time.perf_counter()
    found["append", length].append(appended - began)
    found["claim", length].append(was_claimed - appended)
    found["complete", length].append(completed - was_claimed)
    found["append + complete", length].append(appended - began + completed - was_claimed)
    found["append + claim + complete", length].append(completed - began)


async def _swap_alone(pool: Pool, session: Opened, found: Latencies, length: int) -> None:
    """The two statements of a turn and nothing else: what they are given is worked out before."""
    caller, turn_id = session.tenant.caller, uuid7()

    async def swap(change_of: Callable[[sessions.HeaderRow], Change]) -> float:
        loaded = await sessions.load(conn, caller.organization_id, session.id)
        assert loaded is not None
        arguments = rows.swap_arguments(change_of(loaded))
        began = time.perf_counter()
        assert await commits.swap(
            conn,
            caller.organization_id,
            session.id,
            expected_epoch=None,
            key=None,
            **arguments,
        )
        return time.perf_counter() - began

    def appending(loaded: sessions.HeaderRow) -> Change:
        return commands.append(
            rows.head(loaded),
            turn_id=ids.to_wire(ids.Kind.TURN, turn_id),
            text=USER_TEXT,
            speaker=None,
            now=utc_now(),
            actor=caller.actor,
        )

    def completing(loaded: sessions.HeaderRow) -> Change:
        return turns.completion(rows.head(loaded), turn_id=turn_id, steps=(), usage=None, now=utc_now())

    async with pool.acquire() as conn:
        found["two swaps alone", length].append(await swap(appending) + await swap(completing))


async def _branching(store: Store, session: Opened, found: Latencies, length: int) -> None:
    """Rewind to the middle of the line, append there, and restore what that discarded."""
    caller = session.tenant.caller

    async def timed(name: str, command: Awaitable[object]) -> Done:
        began = time.perf_counter()
        done = await command
        found[name, length].append(time.perf_counter() - began)
        assert isinstance(done, Done)
        return done

    middle = ids.to_wire(ids.Kind.TURN, session.turn_ids[len(session.turn_ids) // 2 - 1])
    rewound = await timed(
        "rewind to the middle",
        store.sessions.rewind(
            caller, session.wire_id, turn_id=middle, expected=None, idempotency=None, render=turns.no_answer
        ),
    )
    began = time.perf_counter()
    await turns.append(store, session, expected=rewound.delta.session.revision)
    found["append there (opens a branch)", length].append(time.perf_counter() - began)
    changed = await turns.complete(store, await turns.claim(store, session), None)
    await timed(
        "restore the discarded half",
        store.sessions.restore(
            caller,
            session.wire_id,
            ordinal=changed.session.discarded_count,
            expected=changed.session.revision,
            idempotency=None,
            render=turns.no_answer,
        ),
    )


def _report(rounds: Sequence[Latencies]) -> bool:
    names = list(dict.fromkeys(name for name, _ in rounds[0]))
    medians = {
        key: [median(found[key]) * 1000 for found in rounds]
        for key in ((name, length) for name in names for length in LENGTHS)
    }
    show(
        "Median latency in ms by number of turns",
        ["commit", *(f"{length:,}" for length in LENGTHS)],
        [(name, *(f"{median(medians[name, length]):.2f}" for length in LENGTHS)) for name in names],
    )
    held = {"append + complete", "two swaps alone"}
    return show_ratios(
        f"At {LENGTHS[-1]:,} turns over {LENGTHS[0]} turns",
        [
            Ratio(
                name=name,
                rounds=[
                    long / short
                    for long, short in zip(medians[name, LENGTHS[-1]], medians[name, LENGTHS[0]], strict=True)
                ],
                at_most=_AT_MOST if name in held else None,
            )
            for name in names
        ],
    )


if __name__ == "__main__":
    run(main)
