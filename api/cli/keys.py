"""`turnledger keys`: create, list and revoke API keys; show the local one to a shell."""

import argparse
import asyncio
import shlex

from api.cli.context import (
    add_data_dir,
    add_organization,
    chosen_organization,
    opened_store,
    print_json,
    print_table,
    settings_of,
)
from api.cli.failures import CommandFailed
from api.cli.organizations import NAME_CHARACTERS_MAX
from api.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    create = actions.add_parser("create", help="make a key and print it; it cannot be shown again")
    create.add_argument("name", help="what the key is for, at most 200 characters")
    listing = actions.add_parser("list", help="list an organization's keys, oldest first, by their prefixes")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("key_id", metavar="ID", help="the key's id, `key_...`, as `keys list` shows it")
    for action in (create, listing, revoke):
        add_organization(action)
        add_data_dir(action)
    local = actions.add_parser(
        "local",
        help="print shell lines that set TURNLEDGER_ADDRESS and TURNLEDGER_KEY for the embedded service",
    )
    add_data_dir(local)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    settings = settings_of(arguments)
    if arguments.action == "local":
        _show_local(settings)
        return 0
    if arguments.action == "create":
        name = arguments.name.strip()
        if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
            raise CommandFailed(f"A name has 1 to {NAME_CHARACTERS_MAX} characters.")
        asyncio.run(_create(settings, arguments.organization, name))
    elif arguments.action == "list":
        asyncio.run(_list(settings, arguments.organization, as_json=arguments.json))
    else:
        asyncio.run(_revoke(settings, arguments.organization, arguments.key_id))
    return 0


def _show_local(settings: Settings) -> None:
    from api.app.local_access import local_file, read_local

    local = read_local(settings.data_dir)
    if local is None:
        raise CommandFailed(
            f"There is no local key in {local_file(settings.data_dir)}: `turnledger serve` makes it."
        )
    print(f"export TURNLEDGER_ADDRESS={shlex.quote(local.address)}")
    print(f"export TURNLEDGER_KEY={shlex.quote(local.key)}")


async def _create(settings: Settings, organization_id: str | None, name: str) -> None:
    async with opened_store(settings) as store:
        chosen = await chosen_organization(store, organization_id)
        made = await store.access.create_key(chosen, name=name)
    print(made.secret)


async def _list(settings: Settings, organization_id: str | None, *, as_json: bool) -> None:
    async with opened_store(settings) as store:
        found = await store.access.keys(await chosen_organization(store, organization_id))
    if as_json:
        print_json(found)
        return
    columns = {"id": "left", "begins with": "left", "name": "left", "created (UTC)": "left", "state": "left"}
    rows = [
        [key.id, key.prefix, key.name, f"{key.created_at:%Y-%m-%d %H:%M}", _state(key.revoked_at is None)]
        for key in found
    ]
    print_table("API keys", columns, rows)


async def _revoke(settings: Settings, organization_id: str | None, key_id: str) -> None:
    async with opened_store(settings) as store:
        await store.access.revoke_key(await chosen_organization(store, organization_id), key_id)
    print(f"{key_id} is revoked; running services refuse it within {settings.key_cache_seconds:g} s.")


def _state(is_valid: bool) -> str:
    return "valid" if is_valid else "revoked"
