"""`turnledger agents`: publish definitions from files, and list what is published."""

import argparse
import asyncio
from pathlib import Path
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
    from api.agents.definition import Definition
    from api.store import StoredAnswer
    from api.store.agents import AgentVersion

_LISTED_MAX = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    publish = actions.add_parser(
        "publish", help="publish a definition as a new agent, or as the next version of one"
    )
    publish.add_argument(
        "file", type=Path, help="a definition in JSON: model, instructions, greeting, speaker, limits"
    )
    publish.add_argument("--name", help="name of the new agent; the file's name unless given")
    publish.add_argument(
        "--agent", metavar="ID", help="publish the next version of this agent instead of making one"
    )
    listing = actions.add_parser("list", help="list an organization's agents, newest first")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for action in (publish, listing):
        add_organization(action)
        add_data_dir(action)


def run(arguments: argparse.Namespace) -> int:
    """Publish or list."""
    settings = settings_of(arguments)
    if arguments.action == "publish":
        definition = _read(arguments.file)
        name = (arguments.name or arguments.file.stem).strip()
        if not name:
            raise CommandFailed("An agent needs a name.")
        asyncio.run(_publish(settings, arguments, name, definition))
    else:
        asyncio.run(_list(settings, arguments.organization, as_json=arguments.json))
    return 0


def _read(file: Path) -> "Definition":
    from api.agents.definition import DefinitionRefused, parse

    try:
        return parse(file.read_bytes())
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from error
    except DefinitionRefused as refused:
        faults = "\n".join(f"  {fault.pointer or '/'}: {fault.message}" for fault in refused.faults)
        raise CommandFailed(f"{file} is no definition that can be published:\n{faults}") from refused


async def _publish(
    settings: Settings, arguments: argparse.Namespace, name: str, definition: "Definition"
) -> None:
    published: list[AgentVersion] = []

    def keep(version: "AgentVersion") -> "StoredAnswer":
        from api.store import StoredAnswer

        published.append(version)
        return StoredAnswer(status=201, headers={}, body=b"")

    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        if arguments.agent:
            await store.agents.publish_version(
                caller, arguments.agent, definition=definition, idempotency=None, render=keep
            )
        else:
            await store.agents.create_agent(
                caller, name=name, definition=definition, idempotency=None, render=keep
            )
    (version,) = published
    print(f"{version.agent_id} version {version.version}")


async def _list(settings: Settings, organization_id: str | None, *, as_json: bool) -> None:
    async with opened_store(settings) as store:
        caller = await system_caller(store, organization_id)
        found = [agent for _, agent in await store.agents.agents(caller, before=None, limit=_LISTED_MAX)]
    if as_json:
        print_json(found)
        return
    rows = [
        [agent.id, agent.name, str(agent.latest_version), f"{agent.created_at:%Y-%m-%d %H:%M}"]
        for agent in found
    ]
    columns = {"id": "left", "name": "left", "version": "right", "created (UTC)": "left"}
    print_table("Agents", columns, rows)
