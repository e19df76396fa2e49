"""`turnledger openapi`: the OpenAPI document, printed, written to the checkout, or compared with it."""

import argparse
import sys
from pathlib import Path

from api.cli.failures import CommandFailed

FILE = Path("openapi/openapi.json")
"""Within a checkout, from where the command is run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help=f"write {FILE} instead of printing")
    group.add_argument(
        "--check", action="store_true", help=f"exit with 1 unless {FILE} is as it would be written"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print, write or compare the document."""
    from api.routes.mounting import openapi_document

    document = openapi_document()
    if arguments.check:
        if not FILE.is_file() or FILE.read_bytes() != document:
            raise CommandFailed(f"{FILE} is not what the code says; run `turnledger openapi --write`.")
        print(f"{FILE} is fresh.")
    elif arguments.write:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_bytes(document)
        print(f"{FILE} is written.")
    else:
        sys.stdout.buffer.write(document)
    return 0
