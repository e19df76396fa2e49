"""`turnledger keys`: create, list, rotate and revoke API keys; show the local one to a shell."""

import argparse
import asyncio
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from api.store.keys import Key
    from api.store.scopes import Scope

OVERLAP_SECONDS_DEFAULT = 24 * 3600
OVERLAP_MAX = timedelta(days=30)
LIFE_MAX = timedelta(days=36_500)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    create = actions.add_parser("create", help="make a key and print it; it cannot be shown again")
    create.add_argument("name", help="what the key is for, at most 200 characters")
    create.add_argument(
        "--scopes",
        metavar="SCOPE[,SCOPE...]",
        help="what it may be used for: sessions:read, sessions:write, approvals:decide, usage:read, admin; "
        "all unless said",
    )
    create.add_argument(
        "--expires", metavar="WHEN", help="when it ends: an instant, a date (UTC), or days from now as in 90d"
    )
    listing = actions.add_parser("list", help="list an organization's keys, oldest first, by their prefixes")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    rotate = actions.add_parser("rotate", help="give a key a new secret and print it")
    rotate.add_argument("key_id", metavar="ID", help="the key's id, `key_...`, as `keys list` shows it")
    rotate.add_argument(
        "--overlap-seconds",
        metavar="N",
        type=int,
        default=OVERLAP_SECONDS_DEFAULT,
        help="time for which the secret before is accepted as well; %(default)s unless said",
    )
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("key_id", metavar="ID", help="the key's id, `key_...`, as `keys list` shows it")
    for action in (create, listing, rotate, revoke):
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
        asyncio.run(
            _create(
                settings,
                arguments.organization,
                name,
                scopes=_scopes(arguments.scopes),
                expires_at=_instant(arguments.expires),
            )
        )
    elif arguments.action == "list":
        asyncio.run(_list(settings, arguments.organization, as_json=arguments.json))
    elif arguments.action == "rotate":
        overlap = timedelta(seconds=arguments.overlap_seconds)
        if not timedelta(0) <= overlap <= OVERLAP_MAX:
            raise CommandFailed(f"The overlap is 0 to {OVERLAP_MAX.total_seconds():g} seconds.")
        asyncio.run(_rotate(settings, arguments.organization, arguments.key_id, overlap))
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


async def _create(
    settings: Settings,
    organization_id: str | None,
    name: str,
    *,
    scopes: frozenset["Scope"],
    expires_at: datetime | None,
) -> None:
    async with opened_store(settings) as store:
        chosen = await chosen_organization(store, organization_id)
        made = await store.access.create_key(chosen, name=name, scopes=scopes, expires_at=expires_at)
    print(made.secret)


async def _rotate(settings: Settings, organization_id: str | None, key_id: str, overlap: timedelta) -> None:
    from api.store.errors import KeyNotInForce

    async with opened_store(settings) as store:
        chosen = await chosen_organization(store, organization_id)
        try:
            made = await store.access.replace_key(chosen, key_id, overlap=overlap)
        except KeyNotInForce as error:
            raise CommandFailed(f"The {error}; make another one.") from error
    print(made.secret)


async def _list(settings: Settings, organization_id: str | None, *, as_json: bool) -> None:
    async with opened_store(settings) as store:
        found = await store.access.keys(await chosen_organization(store, organization_id))
    if as_json:
        print_json(found)
        return
    names = ("id", "begins with", "name", "scopes", "created (UTC)", "last used", "expires", "state")
    columns = dict.fromkeys(names, "left")
    now = datetime.now(UTC)
    rows = [
        [
            key.id,
            key.prefix,
            key.name,
            " ".join(key.scopes),
            *map(_minute, (key.created_at, key.last_used_at, key.expires_at)),
            _state(key, now),
        ]
        for key in found
    ]
    print_table("API keys", columns, rows)


async def _revoke(settings: Settings, organization_id: str | None, key_id: str) -> None:
    async with opened_store(settings) as store:
        await store.access.revoke_key(await chosen_organization(store, organization_id), key_id)
    print(f"{key_id} is revoked; running services refuse it within {settings.key_cache_seconds:g} s.")


def _state(key: "Key", now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "valid"


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _scopes(text: str | None) -> frozenset["Scope"]:
    from api.store.scopes import ALL_SCOPES, Scope

    if text is None:
        return ALL_SCOPES
    try:
        return frozenset(Scope(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise CommandFailed(f"The scopes are {', '.join(Scope)}; {error}.") from error


def _instant(text: str | None) -> datetime | None:
    """Read when a key ends."""
    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        if re.fullmatch(r"[0-9]{1,5}d", text):
            found = now + timedelta(days=int(text[:-1]))
        else:
            found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandFailed(
            f"An end is written as 2027-01-31, 2027-01-31T12:00Z or 90d, not {text}."
        ) from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not now < found < now + LIFE_MAX:
        raise CommandFailed("An end lies in the future, by less than 100 years.")
    return found
