"""`turnledger usage prices` and `set-price`: the organization's own prices."""

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from api.cli.context import opened_store, print_json, print_table, system_caller
from api.cli.failures import CommandFailed
from api.cli.usage_correct import amount
from api.settings import Settings

if TYPE_CHECKING:
    from api.cli.context import Actions
    from api.store.prices import ListedPrice, PriceTier

_PRICES_MAX = 10_000


def declare(actions: "Actions") -> None:
    """Declare what the actions take."""
    listing = actions.add_parser("prices", help="list the organization's own prices, the newest first")
    listing.add_argument("--provider", help="only of this provider's models")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    listing.set_defaults(carry_out=_list)
    setting = actions.add_parser(
        "set-price", help="set what a model costs from now on, in USD per million tokens"
    )
    setting.add_argument("provider", help="as in `provider:model`")
    setting.add_argument(
        "model_pattern", metavar="model", help="the model's name; * stands for any characters"
    )
    setting.add_argument("--input", type=amount, required=True, metavar="USD")
    setting.add_argument("--output", type=amount, required=True, metavar="USD")
    for meter in ("cached", "cache-write", "reasoning"):
        setting.add_argument(f"--{meter}", type=amount, metavar="USD")
    setting.add_argument("--per-call", type=amount, default=amount("0"), metavar="USD")
    setting.add_argument(
        "--tier",
        action="append",
        default=[],
        type=_tier,
        metavar="ABOVE:INPUT:OUTPUT",
        help="other prices for calls with more than ABOVE input tokens; may be repeated",
    )
    setting.add_argument(
        "--from",
        dest="valid_from",
        type=_instant,
        metavar="INSTANT",
        help="begin then and not now, as 2026-12-01T00:00:00Z",
    )
    setting.set_defaults(carry_out=_set)


async def _list(settings: Settings, arguments: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        found = await store.prices.prices(caller, provider=arguments.provider, offset=0, limit=_PRICES_MAX)
    if arguments.json:
        print_json(found)
        return
    columns = {"model": "left", "from (UTC)": "left", "until (UTC)": "left"}
    columns |= dict.fromkeys(("input", "cached", "cache write", "output", "reasoning", "per call"), "right")
    print_table(
        "Own prices in USD per million tokens",
        {**columns, "tiers above": "right"},
        [_row(price) for price in found],
    )


async def _set(settings: Settings, arguments: argparse.Namespace) -> None:
    from api.store.base import utc_now
    from api.store.errors import PriceInThePast, PriceSuperseded
    from api.store.prices import Price

    price = Price(
        provider=arguments.provider,
        model_pattern=arguments.model_pattern,
        valid_from=arguments.valid_from or utc_now(),
        input_per_million=arguments.input,
        cached_per_million=arguments.cached,
        cache_write_per_million=arguments.cache_write,
        output_per_million=arguments.output,
        reasoning_per_million=arguments.reasoning,
        per_call=arguments.per_call,
        tiers=tuple(sorted(arguments.tier, key=lambda tier: int(tier.above_input_tokens))),
    )
    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        try:
            listed = await store.prices.put(caller, price, begins_now=arguments.valid_from is None)
        except (PriceInThePast, PriceSuperseded) as error:
            raise CommandFailed(f"Not set: {error}.") from error
    price = listed.price
    print(f"{price.provider}:{price.model_pattern} from {price.valid_from.isoformat()}")


def _row(listed: "ListedPrice") -> list[str]:
    price = listed.price
    amounts = (
        price.input_per_million,
        price.cached_per_million,
        price.cache_write_per_million,
        price.output_per_million,
        price.reasoning_per_million,
        price.per_call,
    )
    until = listed.valid_until
    return [
        f"{price.provider}:{price.model_pattern}",
        f"{price.valid_from:%Y-%m-%d %H:%M:%S}",
        "" if until is None else f"{until:%Y-%m-%d %H:%M:%S}",
        *("" if value is None else f"{value:f}" for value in amounts),
        " ".join(str(tier.above_input_tokens) for tier in price.tiers),
    ]


def _tier(text: str) -> "PriceTier":
    from api.store.prices import PriceTier

    above, _, rest = text.partition(":")
    before, _, behind = rest.partition(":")
    if not (above.isascii() and above.isdecimal() and int(above) >= 1):
        raise argparse.ArgumentTypeError("must be ABOVE:INPUT:OUTPUT, as 200000:6:22.5")
    return PriceTier(
        above_input_tokens=int(above), input_per_million=amount(before), output_per_million=amount(behind)
    )


def _instant(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError("must have an offset, as in 2026-12-01T00:00:00Z")
    return value
