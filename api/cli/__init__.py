"""The command `turnledger`: reads its arguments, runs one command, says in a sentence what went wrong.

Exit codes: 0 done, 1 the command failed, 2 the arguments or the settings cannot be used, 130 interrupted.
Each command's module is imported when it is called, so that `--help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from api.cli.failures import CommandFailed
from api.settings import SettingsError


class Command(NamedTuple):
    """One word behind `turnledger`."""

    module: str
    """Below `api.cli`; holds `add_arguments(parser)` and `run(arguments) -> int`."""
    summary: str


COMMANDS = {
    "serve": Command("serve", "run the service: API and runners in one process"),
    "worker": Command("worker", "run turns without the API, beside any number of services"),
    "chat": Command("chat", "talk to an agent in the terminal, over the HTTP API"),
    "migrate": Command("migrate", "bring the database to this release's schema"),
    "organizations": Command("organizations", "create and list organizations"),
    "keys": Command("keys", "create, list and revoke API keys; show the local one"),
    "agents": Command("agents", "validate, publish, list and compare agents"),
    "secrets": Command("secrets", "store what tools send along and nobody is shown; rotate the key"),
    "tools": Command("tools", "allow hosts that are not public to an organization's tools"),
    "usage": Command("usage", "show the ledger: every model call and its cost"),
    "export": Command("export_session", "write a whole session as one file, or as Markdown"),
    "import": Command("import_session", "bring a session in from such a file"),
    "partitions": Command("partitions", "show where growing tables lie; archive old years of the ledger"),
    "doctor": Command("doctor", "look for what must not be: gaps, double bills, stuck turns, broken laws"),
    "openapi": Command("openapi", "print, write or check the OpenAPI document"),
    "config": Command("config", "show every setting in force and where it came from"),
}


def run(words: Sequence[str]) -> int:
    """Run the command that `words` name, and answer its exit code."""
    name = next((word for word in words if not word.startswith("-")), None)
    arguments = _parser(name).parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except CommandFailed as failed:
        return _told(str(failed), 1)
    except SettingsError as error:
        return _told(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser(called: str | None) -> argparse.ArgumentParser:
    """Make the parser: all commands with their summaries, and the arguments of the one that is called."""
    parser = argparse.ArgumentParser(
        prog="turnledger",
        description="Revisioned chat sessions that can be rewound, resumed and billed to the token.",
        epilog="Settings come from flags, else from the environment; `turnledger config` shows them all.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the installed version")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.summary, description=_sentence(command.summary))
        if name == called:
            module = import_module(f"api.cli.{command.module}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Prints the version; looked up only when it is asked for, and unknown where nothing is installed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"turnledger {version('turnledger')}")
        except PackageNotFoundError:
            print("turnledger, not installed")
        parser.exit()


def _told(sentence: str, code: int) -> int:
    print(f"turnledger: {sentence}", file=sys.stderr)
    return code


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
