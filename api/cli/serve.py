"""`turnledger serve`: the service, until SIGTERM or Ctrl-C."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from api.cli.context import add_data_dir, database_faults_told, settings_of
from api.cli.failures import CommandFailed

if TYPE_CHECKING:
    from api.app.service import Ready
    from api.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (TURNLEDGER_HOST; 127.0.0.1 unless set)"
    )
    parser.add_argument(
        "--port", metavar="PORT", help="TCP port, 0 for a free one (TURNLEDGER_PORT; 8080 unless set)"
    )
    add_data_dir(parser)
    parser.add_argument(
        "--runners",
        metavar="COUNT",
        help="turns that this process runs at once, 0 for none (TURNLEDGER_RUNNERS; 8 unless set)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve, and answer 0 when told to stop."""
    from api.app.server import AddressUnavailable, run_on_fast_loop
    from api.app.service import serve

    settings = settings_of(arguments)
    try:
        with database_faults_told():
            run_on_fast_loop(
                serve(settings, environ=os.environ, announce=lambda ready: _announce(settings, ready))
            )
    except AddressUnavailable as error:
        raise CommandFailed(f"{error} Choose another with --host and --port.") from error
    return 0


def _announce(settings: "Settings", ready: "Ready") -> None:
    """Print how the service is reached; on standard output, which the log does not use."""
    if ready.local is None:
        lines = [f"Turnledger answers on {ready.address}"]
    else:
        from api.app.local_access import local_file

        lines = [
            "Turnledger is ready.",
            "",
            f"  address   {ready.address}/#key={ready.local.key}",
            f"  key file  {local_file(settings.data_dir)} (readable by you alone)",
            f"  API       {ready.address}/schema",
            "",
            "In another terminal: `turnledger chat`, or the walkthrough of README.md. Ctrl-C stops it.",
        ]
    print("\n".join(["", *lines, ""]), file=sys.stdout, flush=True)
