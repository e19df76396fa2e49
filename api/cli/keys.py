"""`turnledger keys`: create, list, rotate and revoke API keys; show the local one to a shell."""

import argparse
import asyncio
import re
import shlex
from collections.abc import Sequence
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
    from api.store.base import KeyLimits
    from api.store.installation import InstallationKey
    from api.store.keys import Key
    from api.store.scopes import Scope

OVERLAP_SECONDS_DEFAULT = 24 * 3600
OVERLAP_MAX = timedelta(days=30)
LIMIT_MAX = 1_000_000_000
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
    create.add_argument(
        "--requests-per-minute",
        metavar="N",
        type=int,
        help="calls that it may make in a minute",
    )
    create.add_argument(
        "--tokens-per-minute", metavar="N", type=int, help="tokens after which it begins no turn in a minute"
    )
    create.add_argument(
        "--streams", metavar="N", type=int, help="event streams that it may have open at once"
    )
    rotate = actions.add_parser("rotate", help="give a key a new secret and print it")
    rotate.add_argument(
        "key_id", metavar="ID", help="its id, `key_...` or `ink_...`, as `keys list` shows it"
    )
    rotate.add_argument(
        "--overlap-seconds",
        metavar="N",
        type=int,
        default=OVERLAP_SECONDS_DEFAULT,
        help="time for which the secret before is accepted as well; %(default)s unless said",
    )
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument(
        "key_id", metavar="ID", help="its id, `key_...` or `ink_...`, as `keys list` shows it"
    )
    for action in (create, listing):
        action.add_argument(
            "--installation",
            action="store_true",
            help="of the installation: makes organizations, issues keys, reads usage of all; nothing else",
        )
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
        given = (arguments.scopes, arguments.organization, arguments.requests_per_minute)
        limited = (arguments.streams, arguments.tokens_per_minute)
        if arguments.installation and any((*given, *limited)):
            raise CommandFailed("A key of the installation has neither scopes, an organization nor limits.")
        asyncio.run(
            _create(
                settings,
                None if arguments.installation else (arguments.organization,),
                name,
                scopes=_scopes(arguments.scopes),
                expires_at=_instant(arguments.expires),
                limits=_limits(arguments.requests_per_minute, arguments.streams, arguments.tokens_per_minute),
            )
        )
    elif arguments.action == "list":
        organization = None if arguments.installation else (arguments.organization,)
        asyncio.run(_list(settings, organization, as_json=arguments.json))
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
    organization: tuple[str | None] | None,
    name: str,
    *,
    scopes: frozenset["Scope"],
    expires_at: datetime | None,
    limits: "KeyLimits",
) -> None:
    async with opened_store(settings) as store:
        if organization is None:
            made = await store.access.create_installation_key(name=name, expires_at=expires_at)
        else:
            chosen = await chosen_organization(store, organization[0])
            made = await store.access.create_key(
                chosen, name=name, scopes=scopes, expires_at=expires_at, limits=limits
            )
    print(made.secret)


async def _rotate(settings: Settings, organization_id: str | None, key_id: str, overlap: timedelta) -> None:
    from api.store.errors import KeyNotInForce

    async with opened_store(settings) as store:
        try:
            if _is_of_installation(key_id):
                made = await store.access.rotate_installation_key(key_id, overlap=overlap)
            else:
                chosen = await chosen_organization(store, organization_id)
                made = await store.access.replace_key(chosen, key_id, overlap=overlap)
        except KeyNotInForce as error:
            raise CommandFailed(f"The {error}; make another one.") from error
    print(made.secret)


async def _list(settings: Settings, organization: tuple[str | None] | None, *, as_json: bool) -> None:
    found: Sequence[Key | InstallationKey]
    async with opened_store(settings) as store:
        if organization is None:
            found = await store.access.installation_keys()
        else:
            found = await store.access.keys(await chosen_organization(store, organization[0]))
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
            " ".join(getattr(key, "scopes", ("installation",))),
            *map(_minute, (key.created_at, key.last_used_at, key.expires_at)),
            _state(key, now),
        ]
        for key in found
    ]
    print_table("API keys", columns, rows)


async def _revoke(settings: Settings, organization_id: str | None, key_id: str) -> None:
    async with opened_store(settings) as store:
        if _is_of_installation(key_id):
            await store.access.revoke_installation_key(key_id)
        else:
            await store.access.revoke_key(await chosen_organization(store, organization_id), key_id)
    print(f"{key_id} is revoked; running services refuse it within {settings.key_cache_seconds:g} s.")


def _is_of_installation(key_id: str) -> bool:
    from api.session import ids

    return key_id.startswith(f"{ids.Kind.INSTALLATION_KEY.value}_")


def _state(key: "Key | InstallationKey", now: datetime) -> str:
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


def _limits(
    requests_per_minute: int | None, streams: int | None, tokens_per_minute: int | None
) -> "KeyLimits":
    from api.store.base import KeyLimits

    counts = (requests_per_minute, streams, tokens_per_minute)
    if any(count is not None and not 1 <= count <= LIMIT_MAX for count in counts):
        raise CommandFailed(f"A limit is 1 to {LIMIT_MAX}.")
    return KeyLimits(
        requests_per_minute_max=requests_per_minute,
        streams_max=streams,
        tokens_per_minute_max=tokens_per_minute,
    )


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
