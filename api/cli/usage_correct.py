"""`turnledger usage correct`: say what is right of a call; the ledger gets a further row."""

import argparse
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from api.cli.context import opened_store, system_caller
from api.cli.failures import CommandFailed
from api.settings import Settings

if TYPE_CHECKING:
    from api.cli.context import Actions

REASON_CHARACTERS_MAX = 1_000


def declare(actions: "Actions") -> None:
    """Declare what the action takes."""
    parser = actions.add_parser(
        "correct", help="correct an entry by a further one; what is not given stays as it is"
    )
    parser.add_argument("entry_id", metavar="ID", help="the entry's id, `use_...`, of an original")
    parser.add_argument("--reason", required=True, help="why, for whoever audits the ledger")
    parser.add_argument("--cost", type=amount, metavar="USD", help="what the call comes to in all")
    for meter in ("input", "cached", "cache-write", "output", "reasoning"):
        parser.add_argument(f"--{meter}-tokens", type=_count, metavar="COUNT")
    parser.set_defaults(carry_out=_correct)


async def _correct(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.store import StoredAnswer
    from api.store.corrections import METERS, Corrected
    from api.store.errors import Inconsistent, NothingToCorrect
    from api.store.ledger import UsageEntry

    reason = arguments.reason.strip()
    if not 1 <= len(reason) <= REASON_CHARACTERS_MAX:
        raise CommandFailed(f"A reason has 1 to {REASON_CHARACTERS_MAX} characters.")
    written: list[UsageEntry] = []

    def render(entry: UsageEntry) -> StoredAnswer:
        written.append(entry)
        return StoredAnswer(status=201, headers={}, body=b"")

    corrected = Corrected(
        reason=reason, cost=arguments.cost, **{name: getattr(arguments, name) for name in METERS}
    )
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        try:
            await store.corrections.correct(
                caller, arguments.entry_id, corrected, idempotency=None, render=render
            )
        except (NothingToCorrect, Inconsistent) as error:
            raise CommandFailed(f"Not corrected: {error}.") from error
    entry = written[-1]
    change = "as it was" if entry.cost is None else f"{entry.cost:+f} {entry.currency}"
    print(f"{entry.id} corrects {entry.corrects_id}: cost {change}")


def amount(text: str) -> Decimal:
    """Read an amount of money from a word of the command line."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value < 10**12):
        raise argparse.ArgumentTypeError("must be an amount of 0 or more, as 0.0125")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 10**12:
        raise argparse.ArgumentTypeError("must be 0 to 10^12")
    return value
