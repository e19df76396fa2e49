"""`turnledger export`: a whole session as one file, or its conversation as Markdown."""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import BinaryIO

from api.cli.context import add_data_dir, add_organization, opened_store, settings_of, system_caller
from api.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("session", metavar="id", help="the session, `ses_...`")
    parser.add_argument(
        "--format",
        choices=("json", "markdown"),
        default="json",
        help="`json` holds everything and can be imported (the default); `markdown` is for people",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write; standard output unless given"
    )
    add_organization(parser)
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export."""
    settings = settings_of(arguments)
    if arguments.output is None:
        asyncio.run(_export(settings, arguments, sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return 0
    # Under its name there is a whole file or none.
    unfinished = arguments.output.with_name(f"{arguments.output.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            asyncio.run(_export(settings, arguments, file))
        unfinished.replace(arguments.output)
    finally:
        unfinished.unlink(missing_ok=True)
    return 0


async def _export(settings: Settings, arguments: argparse.Namespace, file: BinaryIO) -> None:
    from api.routes.transcript import write_markdown

    async with opened_store(settings) as store:
        caller = await system_caller(store, arguments.organization)
        if arguments.format == "json":
            await store.exporting.export(caller, arguments.session, file.write)
            return
        async for piece in write_markdown(store.exporting.read_turns(caller, arguments.session)):
            file.write(piece)
