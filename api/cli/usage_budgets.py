"""`turnledger usage budgets`, `set-budget` and `remove-budget`."""

import argparse
from typing import TYPE_CHECKING

from api.cli.context import opened_store, print_json, print_table, system_caller
from api.cli.failures import CommandFailed
from api.cli.usage_correct import amount
from api.settings import Settings

if TYPE_CHECKING:
    from api.cli.context import Actions
    from api.store.base import BudgetState


def declare(actions: "Actions") -> None:
    """Declare what the actions take."""
    listing = actions.add_parser("budgets", help="show the budgets as they stand")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    listing.set_defaults(carry_out=_list)
    setting = actions.add_parser("set-budget", help="limit what is spent in a period, or warn of it")
    setting.add_argument("period", choices=("day", "month", "total"))
    setting.add_argument("--limit", type=amount, metavar="USD", help="from here on no turn begins")
    setting.add_argument("--warn-at", type=amount, metavar="USD", help="from here on calls are warned")
    setting.add_argument(
        "--reserve-per-call",
        type=amount,
        default=amount("0"),
        metavar="USD",
        help="what a call is taken to cost while it runs, at least",
    )
    setting.add_argument("--tz", default="UTC", metavar="ZONE", help="time zone of days and months")
    setting.set_defaults(carry_out=_set)
    removing = actions.add_parser("remove-budget", help="remove a budget")
    removing.add_argument("period", choices=("day", "month", "total"))
    removing.set_defaults(carry_out=_remove)
    for action in (setting, removing):
        action.add_argument("--key", metavar="ID", help="for the turns of this API key, `key_...`, alone")


async def _list(settings: Settings, arguments: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        found = await store.budgets.budgets(await system_caller(store, arguments.organization))
    if arguments.json:
        print_json(found)
        return
    columns = {"for": "left", "period": "left", "time zone": "left"}
    columns |= dict.fromkeys(("spent", "reserved", "warning", "limit"), "right")
    print_table("Budgets in USD", {**columns, "resets (UTC)": "left"}, [_row(budget) for budget in found])


async def _set(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.store.errors import UnknownTimeZone

    if arguments.limit is None and arguments.warn_at is None:
        raise CommandFailed("A budget needs --limit or --warn-at.")
    async with opened_store(settings) as store:
        try:
            await store.summaries.require_time_zone(arguments.tz)
        except UnknownTimeZone as error:
            raise CommandFailed(f"There is {error}.") from error
        budget = await store.budgets.put(
            await system_caller(store, arguments.organization),
            key_id=arguments.key,
            period=arguments.period,
            time_zone=arguments.tz,
            limit=arguments.limit,
            warn_at=arguments.warn_at,
            reserve_per_call=arguments.reserve_per_call,
        )
    print(f"{budget.period}: {budget.spent:f} USD spent so far")


async def _remove(settings: Settings, arguments: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        await store.budgets.delete(caller, key_id=arguments.key, period=arguments.period)


def _row(budget: "BudgetState") -> list[str]:
    amounts = (budget.spent, budget.reserved, budget.warn_at, budget.limit)
    return [
        budget.key_id or "the organization",
        budget.period,
        budget.time_zone,
        *("" if value is None else f"{value:f}" for value in amounts),
        "never" if budget.resets_at is None else f"{budget.resets_at:%Y-%m-%d %H:%M}",
    ]
