"""`turnledger agents`: judge and publish definitions from files, list and compare what is published."""

import argparse
import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from api.agents.definition import Definition, Fault
    from api.store import StoredAnswer
    from api.store.agents import AgentVersion

_LISTED_MAX = 200
_VERSION_MAX = 2**31 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    validate = actions.add_parser("validate", help="find what is wrong with definitions; needs no database")
    validate.add_argument("files", type=Path, nargs="+", metavar="file", help="a definition in JSON")
    validate.add_argument("--json", action="store_true", help="print JSON instead of tables")
    publish = actions.add_parser(
        "publish", help="publish a definition as a new agent, or as the next version of one"
    )
    publish.add_argument("file", type=Path, help="a definition in JSON; docs/agents.md describes it")
    publish.add_argument("--name", help="name of the new agent; the file's name unless given")
    publish.add_argument(
        "--agent", metavar="ID", help="publish the next version of this agent instead of making one"
    )
    listing = actions.add_parser("list", help="list an organization's agents, newest first")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    comparison = actions.add_parser("diff", help="compare two published versions of an agent")
    comparison.add_argument("agent", metavar="id", help="the agent")
    comparison.add_argument("version", type=_version_number, help="the version to begin from")
    comparison.add_argument("to", type=_version_number, help="the version to compare it with")
    comparison.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for action in (publish, listing, comparison):
        add_organization(action)
        add_data_dir(action)


def run(arguments: argparse.Namespace) -> int:
    """Validate, publish, list or compare. 1 also when a definition has faults."""
    if arguments.action == "validate":
        return _validate(arguments.files, as_json=arguments.json)
    settings = settings_of(arguments)
    if arguments.action == "publish":
        definition = _read(arguments.file)
        if definition is None:
            return 1
        name = (arguments.name or arguments.file.stem).strip()
        if not name:
            raise CommandFailed("An agent needs a name.")
        work = _publish(settings, arguments, name, definition)
    elif arguments.action == "list":
        work = _list(settings, arguments.organization, as_json=arguments.json)
    else:
        work = _diff(settings, arguments)
    asyncio.run(_told(work))
    return 0


def _version_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:11]) <= _VERSION_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a version")
    return int(text)


def _validate(files: list[Path], *, as_json: bool) -> int:
    """Tell the faults of each file; 1 when there are any."""
    from api.agents.definition import DefinitionRefused, Fault, parse

    found: dict[str, tuple[Fault, ...]] = {}
    for file in files:
        try:
            parse(_bytes_of(file))
            found[str(file)] = ()
        except DefinitionRefused as refused:
            found[str(file)] = refused.faults
    if as_json:
        print_json({file: {"faults": faults} for file, faults in found.items()})
    else:
        for name, faults in found.items():
            if faults:
                _print_faults(name, faults)
            else:
                print(f"{name} can be published.")
    return 1 if any(found.values()) else 0


def _read(file: Path) -> "Definition | None":
    """Read a definition; None when it has faults, which are then told."""
    from api.agents.definition import DefinitionRefused, parse

    try:
        return parse(_bytes_of(file))
    except DefinitionRefused as refused:
        _print_faults(str(file), refused.faults, is_error=True)
        return None


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from error


def _print_faults(name: str, faults: "tuple[Fault, ...]", *, is_error: bool = False) -> None:
    count = f"{len(faults)} fault{'' if len(faults) == 1 else 's'}"
    rows = [[fault.pointer or "/", fault.code, fault.message] for fault in faults]
    columns = {"where": "left", "code": "left", "what is wrong": "left"}
    print_table(f"{name} cannot be published: {count}", columns, rows, is_error=is_error)


async def _told(work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, and say in a sentence what is not there."""
    from api.store import NotFound

    try:
        await work
    except NotFound as missing:
        raise CommandFailed(f"There is no such {missing.what}.") from missing


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


async def _diff(settings: Settings, arguments: argparse.Namespace) -> None:
    import msgspec

    from api.agents.diff import diff

    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        before, after = [
            await store.agents.agent_version(caller.organization_id, arguments.agent, number)
            for number in (arguments.version, arguments.to)
        ]
    changes = diff(before.definition, after.definition)
    if arguments.json:
        print_json(changes)
        return
    if not changes:
        print(f"Versions {arguments.version} and {arguments.to} are the same.")
        return

    def shown(value: Any) -> str:
        return "" if value is msgspec.UNSET else msgspec.json.encode(value).decode()

    rows = [[change.pointer, shown(change.before), shown(change.after)] for change in changes]
    columns = {
        "where": "left",
        f"version {arguments.version}": "left",
        f"version {arguments.to}": "left",
    }
    print_table(f"{before.name}: {len(changes)} changes", columns, rows)
