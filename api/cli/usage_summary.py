"""`turnledger usage summary`: sums over the ledger by what is asked for."""

import argparse
from datetime import date
from typing import TYPE_CHECKING

from api.cli.context import opened_store, print_json, print_table, system_caller
from api.cli.failures import CommandFailed
from api.settings import Settings

if TYPE_CHECKING:
    from api.cli.context import Actions
    from api.store.summaries import Group

GROUPS_MAX = 1_000
_BY = ("day", "model", "agent", "session", "key", "purpose", "outcome")
_FIELDS = {"agent": "agent_id", "session": "session_id", "key": "key_id"}


def declare(actions: "Actions") -> None:
    """Declare what the action takes."""
    parser = actions.add_parser("summary", help="sum the ledger, active and discarded turns apart")
    parser.add_argument(
        "--by", action="append", choices=_BY, default=[], help="a sum for each of these; may be repeated"
    )
    parser.add_argument("--from", dest="since", type=date.fromisoformat, metavar="DAY", help="first day")
    parser.add_argument(
        "--to", dest="until", type=date.fromisoformat, metavar="DAY", help="day behind the last"
    )
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help="time zone of the days, UTC unless given")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(carry_out=_summarize)


async def _summarize(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.store.errors import UnknownTimeZone

    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        try:
            summary = await store.summaries.summary(
                caller,
                since=arguments.since,
                until=arguments.until,
                time_zone=arguments.tz,
                group_by=arguments.by,
                head=None,
                offset=0,
                limit=GROUPS_MAX,
            )
        except UnknownTimeZone as error:
            raise CommandFailed(f"There is {error}.") from error
    if arguments.json:
        print_json(summary.groups)
        return
    by = [name for name in _BY if name in arguments.by]
    columns = {**dict.fromkeys(by, "left"), "calls": "right", "cost": "right", "billable": "right"}
    columns |= {"active": "right", "discarded": "right", "deleted": "right", "unknown": "right"}
    print_table(
        f"Usage in USD, days of {arguments.tz}", columns, [_row(group, by) for group in summary.groups]
    )
    if not summary.is_last:
        print(f"There is more than {GROUPS_MAX} rows; narrow the days.")


def _row(group: "Group", by: list[str]) -> list[str]:
    total = group.total
    costs = (total.cost, total.billable_cost, group.active.cost, group.discarded.cost, group.deleted.cost)
    return [
        *(getattr(group, _FIELDS.get(name, name)) or "-" for name in by),
        str(total.call_count),
        *(f"{cost:f}" for cost in costs),
        str(total.unknown_count),
    ]
