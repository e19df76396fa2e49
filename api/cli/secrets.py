"""`turnledger secrets`: store, list and remove what an organization's tools send along; rotate the key."""

import argparse
import asyncio
import contextlib
import getpass
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from api.cli.context import (
    add_data_dir,
    add_organization,
    opened_store,
    print_json,
    print_table,
    settings_of,
    system_caller,
)
from api.cli.failures import CommandFailed
from api.settings import Settings

if TYPE_CHECKING:
    from api.store import Store

_VALUE_CHARACTERS_MAX = 8192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    setting = actions.add_parser("set", help="store a secret; its value is read from standard input")
    listing = actions.add_parser("list", help="list the names of an organization's secrets")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    removing = actions.add_parser("delete", help="remove a secret; tools that name it fail from now on")
    for action in (setting, removing):
        action.add_argument("name", help="as definitions say it: `{{secrets.NAME}}`")
    for action in (setting, listing, removing):
        add_organization(action)
        add_data_dir(action)
    rotation = actions.add_parser(
        "rotate", help="encrypt the secrets of all organizations with the first of TURNLEDGER_SECRETS_KEY"
    )
    add_data_dir(rotation)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    settings = settings_of(arguments)
    if arguments.action == "set":
        asyncio.run(_set(settings, arguments.organization, arguments.name, _read_value()))
    elif arguments.action == "list":
        asyncio.run(_list(settings, arguments.organization, as_json=arguments.json))
    elif arguments.action == "delete":
        asyncio.run(_delete(settings, arguments.organization, arguments.name))
    else:
        asyncio.run(_rotate(settings))
    return 0


def _read_value() -> str:
    """Ask without echo, or take what is piped in, less the line break at its end."""
    value = getpass.getpass("Value: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    if not 1 <= len(value) <= _VALUE_CHARACTERS_MAX:
        raise CommandFailed(f"A secret has 1 to {_VALUE_CHARACTERS_MAX} characters.")
    return value


@contextlib.asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator["Store"]:
    from api.store.errors import SecretsUnavailable, TooManySecrets

    async with opened_store(settings) as store:
        try:
            yield store
        except (SecretsUnavailable, TooManySecrets) as error:
            message = str(error)
            raise CommandFailed(f"{message[:1].upper()}{message[1:]}.") from error


async def _set(settings: Settings, organization_id: str | None, name: str, value: str) -> None:
    async with _opened(settings) as store:
        await store.secrets.put(await system_caller(store, organization_id), name, value)
    print(f"{name} is stored.")


async def _list(settings: Settings, organization_id: str | None, *, as_json: bool) -> None:
    async with _opened(settings) as store:
        found = await store.secrets.secrets(await system_caller(store, organization_id))
    if as_json:
        print_json(found)
        return
    rows = [
        [secret.name, f"{secret.created_at:%Y-%m-%d %H:%M}", f"{secret.updated_at:%Y-%m-%d %H:%M}"]
        for secret in found
    ]
    print_table("Secrets", {"name": "left", "created (UTC)": "left", "changed (UTC)": "left"}, rows)


async def _delete(settings: Settings, organization_id: str | None, name: str) -> None:
    async with _opened(settings) as store:
        await store.secrets.delete(await system_caller(store, organization_id), name)
    print(f"{name} is gone.")


async def _rotate(settings: Settings) -> None:
    async with _opened(settings) as store:
        count = await store.secrets.rotate()
    print(f"{count} secrets are encrypted anew; the other keys are needed no longer.")
