"""`turnledger import`: bring a session in from the file that `turnledger export` wrote."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.context import add_data_dir, add_organization, opened_store, settings_of, system_caller
from api.cli.failures import CommandFailed
from api.settings import Settings

if TYPE_CHECKING:
    from api.store.importing import Imported
    from api.store.session_files import SessionFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, help="what `turnledger export` wrote")
    parser.add_argument(
        "--agent",
        metavar="ID@VERSION",
        help="the published version that the session goes on with; its own is brought along unless given",
    )
    add_organization(parser)
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import."""
    settings = settings_of(arguments)
    file = _read(arguments.file, arguments.agent)
    imported = asyncio.run(_import(settings, arguments.organization, file))
    came = "came along" if imported.is_agent_new else "was here"
    print(
        f"{imported.session_id} imported at revision {imported.revision}: {imported.turn_count} turns "
        f"({imported.cancelled_turn_count} of them cancelled now), {imported.step_count} steps, "
        f"{imported.usage_entry_count} ledger entries as history.\n"
        f"It goes on with version {imported.agent.version} of {imported.agent.id}, which {came}."
    )
    return 0


def _read(path: Path, agent: str | None) -> "SessionFile":
    import msgspec

    from api.store.session_files import AgentChoice, SessionFile

    try:
        file = msgspec.json.decode(path.read_bytes(), type=SessionFile)
        if agent is not None:
            agent_id, _, version = agent.rpartition("@")
            choice = msgspec.convert({"id": agent_id, "version": int(version)}, AgentChoice)
            file = msgspec.structs.replace(file, as_agent=choice)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is no session file: {error}.") from error
    except ValueError as error:
        raise CommandFailed("An agent is chosen as ID@VERSION, as in agt_...@3.") from error
    return file


async def _import(settings: Settings, organization: str | None, file: "SessionFile") -> "Imported":
    import msgspec

    from api.store import StoredAnswer
    from api.store.errors import AgentDiffers, AlreadyHere, FileRefused
    from api.store.importing import Imported

    def render(imported: Imported) -> StoredAnswer:
        return StoredAnswer(status=201, headers={}, body=msgspec.json.encode(imported))

    async with opened_store(settings) as store:
        caller = await system_caller(store, organization)
        try:
            answer = await store.importing.import_session(caller, file, idempotency=None, render=render)
        except FileRefused as refused:
            raise CommandFailed(f"The file holds no session as it can be: {refused}.") from refused
        except AlreadyHere as here:
            raise CommandFailed(f"Nothing was imported: {here}.") from here
        except AgentDiffers as differs:
            raise CommandFailed(f"Nothing was imported: {differs}; choose one with --agent.") from differs
    assert isinstance(answer, StoredAnswer), "there is no key to repeat"
    return msgspec.json.decode(answer.body, type=Imported)
