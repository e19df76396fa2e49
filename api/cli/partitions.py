"""`turnledger partitions`: the stretches of time that growing tables lie in; old ones of the ledger leave."""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from api.cli.context import add_data_dir, opened_store, print_table, settings_of
from api.cli.failures import CommandFailed
from api.settings import Settings

if TYPE_CHECKING:
    from api.store import Store
    from db.partitions import PartitionRow

STATEMENT_TIMEOUT_MS = 600_000
"""Sums over millions of entries take longer than any statement of a request may."""

AGE_DAYS_MIN = 62
"""Younger entries are still read: by budgets of a month, and by whoever bills the last one."""

_COLUMNS = {
    "table": "left",
    "partition": "left",
    "from": "left",
    "to": "left",
    "size": "right",
    "kept": "left",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_data_dir(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    archive = actions.add_parser(
        "archive", help="write old stretches of the ledger to a folder, and drop them from the database"
    )
    archive.add_argument(
        "--before",
        required=True,
        type=_day,
        metavar="DAY",
        help=f"what ends at or before this day (YYYY-MM-DD, UTC), at least {AGE_DAYS_MIN} days ago",
    )
    archive.add_argument(
        "--output", required=True, type=Path, metavar="FOLDER", help="where the files are made"
    )
    add_data_dir(archive)
    archive.set_defaults(carry_out=_archive)


def run(arguments: argparse.Namespace) -> int:
    """Show the partitions, or carry out the action."""
    settings = msgspec.structs.replace(settings_of(arguments), statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    action: Callable[[Settings, argparse.Namespace], Coroutine[None, None, None]] = (
        _show if arguments.action is None else arguments.carry_out
    )
    asyncio.run(action(settings, arguments))
    return 0


async def _show(settings: Settings, _: argparse.Namespace) -> None:
    from api.app.partitions import plans

    planned = plans(settings)
    async with opened_store(settings) as store:
        found = await store.archiving.partitions()
    print_table("Partitions", _COLUMNS, [_row(part, planned[part.parent].kept_days) for part in found])


def _row(part: "PartitionRow", kept_days: float | None) -> list[str]:
    until = (
        "for good"
        if kept_days is None
        else f"until {part.ends_at + timedelta(days=kept_days):%Y-%m-%d %H:%M}"
    )
    return [
        part.parent,
        part.name,
        "the beginning" if part.begins_at is None else f"{part.begins_at:%Y-%m-%d %H:%M}",
        f"{part.ends_at:%Y-%m-%d %H:%M}",
        f"{part.size_bytes / 1e6:,.1f} MB",
        until,
    ]


async def _archive(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.store.base import utc_now

    if arguments.before > utc_now() - timedelta(days=AGE_DAYS_MIN):
        raise CommandFailed(f"Only entries that are older than {AGE_DAYS_MIN} days are archived.")
    async with opened_store(settings) as store:
        due = await store.archiving.due(before=arguments.before)
        for part in due:
            await _let_go(store, part, arguments.output / f"{part.name}.jsonl")
    if not due:
        print("No stretch of the ledger ends by then: see `turnledger partitions`.")


async def _let_go(store: "Store", part: "PartitionRow", path: Path) -> None:
    """Write a partition to a file that is not there yet, and drop it once the file is sure to last."""
    import asyncpg

    from db.archives import PartitionChanged

    try:
        file = _created(path)
    except FileExistsError as error:
        raise CommandFailed(f"{path} is there already; move it away first.") from error
    try:
        with file:
            count = await _write(store, part, file)
            file.flush()
            os.fsync(file.fileno())
        _keep_name(path)
    except BaseException:
        # Half a file looks like a whole one.
        _remove(path)
        raise
    try:
        await store.archiving.leave(part, entry_count=count)
    except PartitionChanged as error:
        _remove(path)
        raise CommandFailed(f"Nothing was dropped: {error}. Try again.") from error
    except asyncpg.LockNotAvailableError as error:
        _remove(path)
        raise CommandFailed("Nothing was dropped: the ledger was too busy. Try again later.") from error
    print(f"{path}: {count} entries; {part.size_bytes / 1e6:,.1f} MB left the database.")


def _created(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _keep_name(path: Path) -> None:
    """Have the folder on the disk as well: a file that no name leads to is lost."""
    if os.name == "nt":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    path.unlink()


async def _write(store: "Store", part: "PartitionRow", file: BinaryIO) -> int:
    from api.routes.schemas.usage import usage_entry_view

    count = 0
    async for organization_id, entry in store.archiving.entries(part):
        shown = msgspec.to_builtins(usage_entry_view(entry), str_keys=True)
        file.write(msgspec.json.encode({"organization_id": organization_id, **shown}) + b"\n")
        count += 1
    return count


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a day, YYYY-MM-DD") from error
