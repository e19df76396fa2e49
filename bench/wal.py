"""How many bytes of WAL a turn costs, over the bytes that it hands to Postgres.

    python -m bench.wal

The payload of a commit is the new header document and the bodies of the turns that it writes. Everything
else in the WAL (row headers, index entries, the event, copies of columns) is overhead.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from api.events import Hub
from api.session import codec
from api.session.document import Session, Turn
from api.store import Store
from bench import turns
from bench.database import Database, bench_database
from bench.report import ROUNDS, Ratio, run, show, show_ratios
from bench.tenants import Opened, Tenant, make_tenants, open_sessions, settle_down
from db.pool import Pool, open_pool
from db.postgres_binaries import find_binaries

LENGTHS = (10, 100, 1_000, 10_000)
_SESSIONS = {10: 100, 100: 20, 1_000: 5, 10_000: 3}
"""Sessions of each length in one round. The short ones are new in every round, so that they stay short."""
_TURNS = 1_000
"""Appended and completed turns of each length in one round, after one checkpoint."""
_FULL_TURNS = 200
"""Full turns of each length in one round."""
_AT_MOST = 2.0
_FLAT_AT_MOST = 1.15


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What some turns wrote."""

    turn_count: int
    payload_bytes: int
    wal_bytes: int
    image_bytes: int | None
    """Of the WAL: whole pages, logged at their first change after a checkpoint. None when not known."""

    @property
    def ratio(self) -> float:
        """WAL over payload."""
        return self.wal_bytes / self.payload_bytes

    @property
    def record_ratio(self) -> float | None:
        """WAL without page images over payload."""
        return None if self.image_bytes is None else (self.wal_bytes - self.image_bytes) / self.payload_bytes


async def main() -> bool:
    """Measure and print; answers whether the bars hold."""
    short: dict[int, list[Written]] = {length: [] for length in LENGTHS}
    full: dict[int, list[Written]] = {length: [] for length in LENGTHS}
    async with bench_database() as database, await open_pool(database.dsn, size_max=2) as pool:
        store = Store(pool, Hub())
        tenants = await make_tenants(store)
        # A session that was claimed is completed by its runner alone, so each kind of turn has its own.
        long = {
            (length, is_full): await _opened(pool, tenants, length)
            for length in LENGTHS
            if length > 100
            for is_full in (False, True)
        }
        for _ in range(ROUNDS):
            for length in LENGTHS:
                for found, is_full in ((short, False), (full, True)):
                    opened = long.get((length, is_full)) or await _opened(pool, tenants, length)
                    found[length].append(await _measure(database, pool, store, opened, is_full=is_full))
    return _report(short, full)


async def _opened(pool: Pool, tenants: Sequence[Tenant], length: int) -> list[Opened]:
    return await open_sessions(pool, tenants, count=_SESSIONS[length], turn_count=length)


async def _measure(
    database: Database, pool: Pool, store: Store, opened: Sequence[Opened], *, is_full: bool
) -> Written:
    await settle_down(pool)
    before = await _position(pool)
    payload_bytes, turn_count = 0, _FULL_TURNS if is_full else _TURNS
    for number in range(turn_count):
        payload_bytes += await _turn(store, opened[number % len(opened)], is_full=is_full)
    after = await _position(pool)
    return Written(
        turn_count=turn_count,
        payload_bytes=payload_bytes,
        wal_bytes=_bytes(after) - _bytes(before),
        image_bytes=_image_bytes(database.wal_folder, before, after),
    )


async def _turn(store: Store, session: Opened, *, is_full: bool) -> int:
    """Take a session one turn further; answers the payload of its two commits."""
    revision = await store.reading.revision(session.tenant.caller, session.wire_id)
    appended = await turns.append(store, session, expected=revision)
    if is_full:
        claim = await turns.claim(store, session)
        await turns.call_model(store, claim)
    else:
        claim = turns.right_to(session, appended)
    completed = await turns.complete(store, claim, None if is_full else turns.known_of(appended))
    return _payload(appended.session, appended.turns) + _payload(completed.session, completed.changed)


def _payload(header: Session, written: Sequence[Turn]) -> int:
    return len(codec.encode_session(header)) + sum(len(codec.encode_turn(turn)) for turn in written)


async def _position(pool: Pool) -> str:
    async with pool.acquire() as conn:
        # What is committed is flushed, and so within reach of the program that reads it.
        position: str = await conn.fetchval("SELECT pg_current_wal_flush_lsn()::text")
    return position


def _bytes(position: str) -> int:
    high, low = position.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _image_bytes(folder: Path | None, before: str, after: str) -> int | None:
    """Ask pg_waldump, where it is at hand and the WAL within reach."""
    program = find_binaries(major_version=None).folder / "pg_waldump"
    if folder is None or not program.exists():
        return None
    told = subprocess.run(
        [program, f"--path={folder}", f"--start={before}", f"--end={after}", "--stats"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # Total  <count>  <record bytes> [..%]  <image bytes> [..%]  <all bytes> [100%]
    total = re.search(r"^Total\s+\d+\s+(\d+)\s+\[[^]]*\]\s+(\d+)", told, re.MULTILINE)
    assert total is not None, told
    return int(total[2])


def _report(short: dict[int, list[Written]], full: dict[int, list[Written]]) -> bool:
    for title, found in (("append + complete", short), ("the full turn", full)):
        show(
            f"One turn, {title}: bytes, medians",
            ["turns", "payload", "WAL", "of it page images"],
            [(f"{length:,}", *_per_turn(found[length])) for length in LENGTHS],
        )
    ratios = []
    for name, found, at_most in (("append + complete", short, _AT_MOST), ("full turn", full, None)):
        for length in LENGTHS:
            ratios.append(
                Ratio(
                    name=f"{name}, {length:,} turns",
                    rounds=[written.ratio for written in found[length]],
                    at_most=at_most,
                )
            )
            without = [w.record_ratio for w in found[length] if w.record_ratio is not None]
            if without:
                ratios.append(Ratio(name="    without page images", rounds=without))
        flat = [
            long.ratio / least.ratio
            for long, least in zip(found[LENGTHS[-1]], found[LENGTHS[0]], strict=True)
        ]
        name = f"{name}, {LENGTHS[-1]:,} turns over {LENGTHS[0]}"
        ratios.append(Ratio(name=name, rounds=flat, at_most=_FLAT_AT_MOST))
    return show_ratios("WAL over payload", ratios)


def _per_turn(found: Sequence[Written]) -> tuple[str, str, str]:
    middle = sorted(found, key=lambda written: written.ratio)[len(found) // 2]
    images = "?" if middle.image_bytes is None else f"{middle.image_bytes / middle.turn_count:,.0f}"
    payload, wal = middle.payload_bytes / middle.turn_count, middle.wal_bytes / middle.turn_count
    return f"{payload:,.0f}", f"{wal:,.0f}", images


if __name__ == "__main__":
    run(main)
