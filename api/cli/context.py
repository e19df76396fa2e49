"""What the commands share: settings from flags, the log, the store, the organization that is meant."""

import argparse
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from api.cli.failures import CommandFailed
from api.settings import Settings, load

if TYPE_CHECKING:
    from api.store import Caller, Store

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

CLIENT_VARIABLES = frozenset({"TURNLEDGER_ADDRESS", "TURNLEDGER_KEY", "TURNLEDGER_VENV"})
"""Variables that are none of the service's settings and no typos: of the clients, and of run.py."""

_PIPE_CHARACTERS_MAX = 200
_FLAGS = ("host", "port", "data_dir", "runners")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Let the command be told where the embedded server's data lies."""
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder of the embedded server's data and of the local key (TURNLEDGER_DATA_DIR); "
        "without meaning for the database when TURNLEDGER_DATABASE_URL is set",
    )


def add_organization(parser: argparse.ArgumentParser) -> None:
    """Let the command be told which organization is meant."""
    parser.add_argument(
        "--organization",
        metavar="ID",
        help="the organization, as `turnledger organizations list` shows it; not needed while there is one",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load the settings, flags before the environment, and have the log follow them.

    Raises:
        SettingsError: some values cannot be used.
    """
    from loguru import logger

    from api import log

    flags = {name: getattr(arguments, name) for name in _FLAGS if hasattr(arguments, name)}
    settings = load(os.environ, flags)
    log.configure(format=settings.log_format, level=settings.log_level)
    for name in settings.unknown_variables:
        if name not in CLIENT_VARIABLES:
            logger.warning("variable ignored: there is no such setting", variable=name)
    return settings


@contextlib.contextmanager
def database_faults_told() -> Iterator[None]:
    """Say in a sentence why there is no database.

    Raises:
        CommandFailed: instead of the errors of the database, the embedded server and the migrations.
    """
    import asyncpg

    from db.embedded import EmbeddedPostgresError
    from db.migrate import MigrationError

    try:
        yield
    except (EmbeddedPostgresError, MigrationError) as error:
        raise CommandFailed(str(error)) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise CommandFailed(f"The database does not answer, or not as it should: {reason}") from error


@contextlib.asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator["Store"]:
    """Open the store on the installation's database, migrated.

    Raises:
        CommandFailed: there is no database to be had, or there is no such thing in it.
    """
    from api.app.database import open_store
    from api.store import NotFound

    with database_faults_told():
        async with open_store(settings) as store:
            try:
                yield store
            except NotFound as error:
                raise CommandFailed(f"There is {error}.") from error


async def chosen_organization(store: "Store", organization_id: str | None) -> str:
    """Find the organization that is meant: the one given, or the only one.

    Raises:
        CommandFailed: there is none, or more than one to choose from.
    """
    known = [organization.id for organization in await store.access.organizations()]
    if organization_id is not None:
        if organization_id not in known:
            raise CommandFailed(f"There is no organization {organization_id}.")
        return organization_id
    if not known:
        raise CommandFailed("There is no organization yet; make one with `turnledger organizations create`.")
    if len(known) > 1:
        raise CommandFailed("There are several organizations; choose one with --organization.")
    return known[0]


async def system_caller(store: "Store", organization_id: str | None) -> "Caller":
    """Act for an organization as the operator of the installation."""
    from api.session import ids
    from api.session.document import Actor
    from api.store import Caller

    chosen = await chosen_organization(store, organization_id)
    row = ids.from_wire(ids.Kind.ORGANIZATION, chosen)
    assert row is not None, "it came from the store"
    return Caller(organization_id=row, actor=Actor(process="system"))


def print_json(value: object) -> None:
    """Print any value of the service as indented JSON."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def print_table(
    title: str, columns: dict[str, str], rows: list[list[str]], *, is_error: bool = False
) -> None:
    """Print a table for people, or of what went wrong; `columns` name each column's alignment."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False)
    for name, alignment in columns.items():
        table.add_column(name, justify="right" if alignment == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Into a pipe a table has the width that it needs: whoever reads it may search it line by line.
    stream = sys.stderr if is_error else sys.stdout
    width = None if stream.isatty() else _PIPE_CHARACTERS_MAX
    Console(highlight=False, markup=False, width=width, file=stream).print(table)
