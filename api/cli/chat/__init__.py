"""`turnledger chat`: a conversation in the terminal, over the public HTTP API and nothing else.

client          the calls
conversation    what a person can do, and what they are shown
"""

import argparse
import os
import sys
from pathlib import Path

from api.cli.failures import CommandFailed

HELP = """\
Say something, or:
  /turns              the turns on the line; those behind the cursor are marked
  /rewind N           keep the first N turns in effect; 0 goes to the start
  /edit N text        say something else in turn N; the turns from there on are kept as a discarded future
  /regenerate [N]     have turn N (the last one) answered again
  /retry              try a failed or cancelled last turn again
  /futures            the discarded futures
  /restore K          put discarded future K back
  /cancel             stop the turn that is being answered
  /usage              what the session's model calls have cost
  /refresh            read what others have changed
  /end [resolution]   close the session for good
  /quit               leave; the session stays"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"Talk to an agent in the terminal, over the HTTP API.\n\n{HELP}"
    parser.add_argument(
        "--address",
        metavar="URL",
        help="the service (TURNLEDGER_ADDRESS); the embedded one unless given",
    )
    parser.add_argument(
        "--data-dir", metavar="FOLDER", help="where the embedded service keeps its address and key"
    )
    parser.add_argument("--agent", metavar="ID", help="the agent of the new session; the newest unless given")
    parser.add_argument("--session", metavar="ID", help="go on with this session instead of opening one")
    parser.add_argument("--name", help="a name for the new session")
    parser.epilog = (
        "The key is read from TURNLEDGER_KEY, else from the embedded service's data folder: on the command "
        "line every process of the machine could read it."
    )


def run(arguments: argparse.Namespace) -> int:
    """Converse until the input ends or the person leaves."""
    from api.cli.chat.client import Client
    from api.cli.chat.conversation import Conversation

    address, key = _access(arguments)
    with Client(address=address, key=key) as client:
        if arguments.session:
            session = client.session(arguments.session)
        else:
            session = client.create_session(arguments.agent or client.newest_agent_id(), name=arguments.name)
        Conversation(client, session, show=_show, read=_reader()).run()
    return 0


def _access(arguments: argparse.Namespace) -> tuple[str, str]:
    """Find address and key: from the flags, else the environment, else the embedded service's folder."""
    address = arguments.address or os.environ.get("TURNLEDGER_ADDRESS")
    key = os.environ.get("TURNLEDGER_KEY")
    if address and key:
        return address, key
    from api.app.local_access import read_local
    from api.settings import default_data_dir

    folder = arguments.data_dir or os.environ.get("TURNLEDGER_DATA_DIR") or default_data_dir(os.environ)
    local = read_local(Path(folder))
    if local is None or (address is not None and address.rstrip("/") != local.address):
        raise CommandFailed(
            "There is no key: set TURNLEDGER_KEY (and TURNLEDGER_ADDRESS), or start `turnledger serve`."
        )
    return local.address, local.key


def _show(line: str) -> None:
    print(line, flush=True)


def _reader() -> "_Reader":
    """Read lines from a person, or from a pipe: then the lines are shown as if they had been typed."""
    if sys.stdin.isatty():
        import contextlib

        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives input() editing and a history
    return _Reader(echoes=not sys.stdin.isatty())


class _Reader:
    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes

    def __call__(self, prompt: str) -> str | None:
        """Ask for a line; None when there are no more."""
        try:
            line = input(prompt)
        except EOFError:
            _show("")
            return None
        if self._echoes:
            _show(line)
        return line
