"""`turnledger worker`: runners without HTTP, until SIGTERM or Ctrl-C."""

import argparse
import os
import sys

from api.cli.context import add_data_dir, database_faults_told, settings_of
from api.cli.failures import CommandFailed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_data_dir(parser)
    parser.add_argument(
        "--runners",
        metavar="COUNT",
        help="turns that this process runs at once (TURNLEDGER_RUNNERS; 8 unless set)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run turns, and answer 0 when told to stop."""
    from api.app.server import AddressUnavailable, run_on_fast_loop
    from api.app.worker import work

    settings = settings_of(arguments)
    if settings.runners == 0:
        raise CommandFailed("A worker without runners does nothing; set --runners to 1 or more.")
    try:
        with database_faults_told():
            run_on_fast_loop(work(settings, environ=os.environ, announce=_announce))
    except AddressUnavailable as error:
        raise CommandFailed(f"{error} Choose another by TURNLEDGER_METRICS_PORT.") from error
    return 0


def _announce() -> None:
    print("Turnledger runs turns. Ctrl-C stops it.", file=sys.stdout, flush=True)
