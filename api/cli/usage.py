"""`turnledger usage`: the ledger as a table with its sums; and what is done with it, a word further on."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from api.cli import usage_budgets, usage_correct, usage_export, usage_prices, usage_summary
from api.cli.context import (
    add_data_dir,
    add_organization,
    opened_store,
    print_json,
    print_table,
    settings_of,
    system_caller,
)
from api.settings import Settings

if TYPE_CHECKING:
    from api.store.ledger import UsageEntry
    from api.store.reading import Totals

LIMIT_MAX = 1_000

_COLUMNS = {
    "seq": "right",
    "at (UTC)": "left",
    "session": "left",
    "model": "left",
    "purpose": "left",
    "input": "right",
    "output": "right",
    "cost": "right",
    "outcome": "left",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--after", type=_count, default=0, metavar="SEQ", help="show the rows behind this sequence number"
    )
    parser.add_argument(
        "--limit", type=_limit, default=100, metavar="COUNT", help=f"rows to show, at most {LIMIT_MAX}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: items, next, head")
    add_organization(parser)
    add_data_dir(parser)
    actions = parser.add_subparsers(dest="action", metavar="action")
    usage_export.declare(actions)
    usage_summary.declare(actions)
    usage_correct.declare(actions)
    usage_prices.declare(actions)
    usage_budgets.declare(actions)
    for action in actions.choices.values():
        add_organization(action)
        add_data_dir(action)


def run(arguments: argparse.Namespace) -> int:
    """Show the ledger, or carry out the action."""
    settings = settings_of(arguments)
    if arguments.action is not None:
        carry_out: Callable[[Settings, argparse.Namespace], Coroutine[None, None, None]] = arguments.carry_out
        asyncio.run(carry_out(settings, arguments))
        return 0
    asyncio.run(_show(settings, arguments))
    return 0


async def _show(settings: Settings, arguments: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        entries, head = await store.reading.usage_entries(
            caller, after=arguments.after, session_id=None, limit=arguments.limit
        )
        totals = await store.reading.usage_totals(caller)
    following = entries[-1].seq if entries else arguments.after
    if arguments.json:
        print_json({"items": entries, "next": following, "head": head})
        return
    print_table("Usage", _COLUMNS, [_row(entry) for entry in entries])
    if following < head:
        print(f"There is more: --after {following}")
    print(_sums(totals))


def _row(entry: "UsageEntry") -> list[str]:
    return [
        str(entry.seq),
        f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        f"…{entry.session_id[-8:]}",
        f"{entry.provider}:{entry.model}",
        entry.purpose,
        str(entry.input_tokens),
        str(entry.output_tokens),
        "unknown" if entry.cost is None else f"{entry.cost:f} {entry.currency}",
        entry.outcome,
    ]


def _sums(totals: "Totals") -> str:
    usage = totals.usage
    cost = "unknown" if usage.cost is None else f"{usage.cost:f} {usage.currency}"
    unknown = f", and {usage.unknown_count} of unknown cost" if usage.unknown_count else ""
    return (
        f"The whole ledger: {totals.call_count} calls, {usage.input_tokens} input and "
        f"{usage.output_tokens} output tokens, {cost}{unknown}."
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _limit(text: str) -> int:
    value = int(text)
    if not 1 <= value <= LIMIT_MAX:
        raise argparse.ArgumentTypeError(f"must be 1 to {LIMIT_MAX}")
    return value
