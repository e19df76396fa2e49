"""`turnledger organizations`: create and list them."""

import argparse
import asyncio

from api.cli.context import add_data_dir, opened_store, print_json, print_table, settings_of
from api.cli.failures import CommandFailed
from api.settings import Settings

NAME_CHARACTERS_MAX = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    create = actions.add_parser("create", help="make an organization with an empty ledger; prints its id")
    create.add_argument("name", help="at most 200 characters")
    add_data_dir(create)
    listing = actions.add_parser("list", help="list every organization, oldest first")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_data_dir(listing)


def run(arguments: argparse.Namespace) -> int:
    """Create or list."""
    settings = settings_of(arguments)
    if arguments.action == "create":
        name = arguments.name.strip()
        if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
            raise CommandFailed(f"A name has 1 to {NAME_CHARACTERS_MAX} characters.")
        asyncio.run(_create(settings, name))
    else:
        asyncio.run(_list(settings, as_json=arguments.json))
    return 0


async def _create(settings: Settings, name: str) -> None:
    async with opened_store(settings) as store:
        made = await store.access.create_organization(name)
    print(made.id)


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with opened_store(settings) as store:
        found = await store.access.organizations()
    if as_json:
        print_json(found)
        return
    rows = [[known.id, known.name, f"{known.created_at:%Y-%m-%d %H:%M}"] for known in found]
    print_table("Organizations", {"id": "left", "name": "left", "created (UTC)": "left"}, rows)
