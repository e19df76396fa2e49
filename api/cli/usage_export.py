"""`turnledger usage export`: the ledger as CSV or JSON Lines, and on with it as it grows."""

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from api.cli.context import opened_store, system_caller
from api.settings import Settings

if TYPE_CHECKING:
    from api.cli.context import Actions

FOLLOW_SECONDS = 1.0
"""How often a ledger that is followed is looked at."""


def declare(actions: "Actions") -> None:
    """Declare what the action takes."""
    parser = actions.add_parser("export", help="write the ledger to standard output, one entry a line")
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="jsonl unless given")
    parser.add_argument(
        "--after", type=int, default=0, metavar="SEQ", help="only the entries behind this sequence number"
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on with what is added, until interrupted (Ctrl-C)"
    )
    parser.set_defaults(carry_out=_export)


async def _export(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.routes import usage_files

    form, after = arguments.format, arguments.after
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        if after == 0:
            _write(usage_files.heading(form))
        while True:
            head = (await store.reading.usage_totals(caller)).last_seq
            async for piece in usage_files.written(store, caller, form=form, after=after, head=head):
                _write(piece)
            after = max(after, head)
            if not arguments.follow:
                return
            await asyncio.sleep(FOLLOW_SECONDS)


def _write(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
