"""`turnledger tools`: which hosts an organization's tools may call although they are not public."""

import argparse
import asyncio
from collections.abc import Sequence

from api.cli.context import (
    add_data_dir,
    add_organization,
    chosen_organization,
    opened_store,
    settings_of,
    system_caller,
)
from api.cli.failures import CommandFailed
from api.settings import Settings

_HOSTS_MAX = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    allowing = actions.add_parser("allow", help="let an organization's tools call a host that is not public")
    refusing = actions.add_parser("disallow", help="take a host off the list again")
    listing = actions.add_parser("allowed", help="print the list, one entry a line")
    for action in (allowing, refusing):
        action.add_argument(
            "host", help="`crm.internal`, `crm.internal:8443`, an address, or a network like 10.0.0.0/8"
        )
    for action in (allowing, refusing, listing):
        add_organization(action)
        add_data_dir(action)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action."""
    from api.runner.tools.addresses import read_allowed

    settings = settings_of(arguments)
    host = getattr(arguments, "host", "").lower()
    if arguments.action == "allow":
        try:
            read_allowed([host])
        except ValueError as error:
            raise CommandFailed(str(error)) from error
    if arguments.action == "allowed":
        entries = asyncio.run(_allowed(settings, arguments.organization))
    else:
        entries = asyncio.run(_changed(settings, arguments.organization, arguments.action, host))
    for entry in entries:
        print(entry)
    return 0


async def _allowed(settings: Settings, organization_id: str | None) -> tuple[str, ...]:
    async with opened_store(settings) as store:
        caller = await system_caller(store, organization_id)
        return await store.organization_settings.tool_hosts_allowed(caller.organization_id)


async def _changed(
    settings: Settings, organization_id: str | None, action: str, host: str
) -> tuple[str, ...]:
    def change(hosts: Sequence[str]) -> Sequence[str]:
        if action == "allow" and host not in hosts:
            if len(hosts) >= _HOSTS_MAX:
                raise CommandFailed(f"An organization has at most {_HOSTS_MAX} such hosts; allow a network.")
            return [*hosts, host]
        if action == "allow":
            return hosts
        if host not in hosts:
            raise CommandFailed(f"{host} is not on the list.")
        return [known for known in hosts if known != host]

    async with opened_store(settings) as store:
        chosen = await chosen_organization(store, organization_id)
        return await store.organization_settings.change_tool_hosts_allowed(chosen, change)
