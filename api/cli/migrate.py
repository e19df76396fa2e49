"""`turnledger migrate`: bring the database to this release's schema, or say what is missing."""

import argparse
import asyncio

from api.cli.context import add_data_dir, database_faults_told, settings_of
from api.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_data_dir(parser)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 when migrations are pending"
    )


def run(arguments: argparse.Namespace) -> int:
    """Migrate, or only look."""
    settings = settings_of(arguments)
    with database_faults_told():
        return asyncio.run(_check(settings) if arguments.check else _migrate(settings))


async def _migrate(settings: Settings) -> int:
    from api.app.database import apply_migrations, database_url

    async with database_url(settings) as dsn:
        applied = await apply_migrations(dsn)
    for migration in applied:
        print(f"{migration.number:04} {migration.name}")
    print(f"{len(applied)} applied; the schema is that of this release.")
    return 0


async def _check(settings: Settings) -> int:
    from api.app.database import database_url
    from db.migrate import migrations_folder, status

    async with database_url(settings) as dsn:
        found = await status(dsn, migrations_folder())
    for migration in found.pending:
        print(f"{migration.file}")
    print(f"{len(found.pending)} pending, {len(found.applied)} applied.")
    return 1 if found.pending else 0
