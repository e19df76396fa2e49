"""`turnledger doctor`: queries that must return no rows, and the law held against stored sessions."""

import argparse
import asyncio

import msgspec

from api.cli.context import add_data_dir, opened_store, print_json, settings_of
from api.settings import Settings

SESSIONS_MAX = 100_000
STATEMENT_TIMEOUT_MS = 600_000
"""The checks read whole tables, which takes longer than any statement of a request may."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = "Exits with 1 when something was found."
    parser.add_argument(
        "--sessions",
        type=int,
        default=100,
        metavar="COUNT",
        help="how many sessions, drawn by chance, are held against the law (100 unless given)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine the database; answer 1 when something was found."""
    settings = msgspec.structs.replace(settings_of(arguments), statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    sessions = min(max(arguments.sessions, 0), SESSIONS_MAX)
    return asyncio.run(_examine(settings, sessions_max=sessions, as_json=arguments.json))


async def _examine(settings: Settings, *, sessions_max: int, as_json: bool) -> int:
    found = []
    async with opened_store(settings) as store:
        async for diagnosis in store.doctor.examine(sessions_max=sessions_max):
            found.append(diagnosis)
            if not as_json:
                count = len(diagnosis.findings)
                print(f"{diagnosis.check}: {'nothing found' if count == 0 else f'{count} found'}", flush=True)
                for finding in diagnosis.findings:
                    print(f"  {finding.organization_id} {finding.subject}: {finding.detail}")
    if as_json:
        print_json(found)
    return 1 if any(diagnosis.findings for diagnosis in found) else 0
