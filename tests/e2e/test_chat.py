"""`turnledger chat` against a real service: what a person types, and what they are shown."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.chat.client import Client, Json
from api.cli.chat.conversation import Conversation
from tests.e2e.services import ROOT, ServiceProcess, serving


@pytest.fixture(scope="module")
def service(run_folder: Path, worker_id: str) -> Iterator[ServiceProcess]:
    """One service for all tests of this module."""
    with serving(run_folder / f"chat-{worker_id}") as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[Client]:
    """A client with the local key."""
    with Client(address=service.address, key=service.access.key) as opened:
        yield opened


class Terminal:
    """Plays the person: types lines, keeps what was shown."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.session: Json = client.create_session(client.newest_agent_id(), name=None)
        self.shown: list[str] = []
        self._lines: list[str] = []
        self._conversation = Conversation(client, self.session, show=self.shown.append, read=self._read)

    def type(self, *lines: str) -> str:
        """Type the lines, and give what they brought to the screen."""
        self.shown.clear()
        self._lines = list(lines)
        self._conversation.run()
        return "\n".join(self.shown)

    def document(self) -> Json:
        """Read the session as it stands."""
        return self.client.session(self.session["id"])

    def _read(self, prompt: str) -> str | None:
        self.shown.append(prompt)
        return self._lines.pop(0) if self._lines else None


@pytest.fixture
def terminal(client: Client) -> Terminal:
    """A person at a new session of the demo agent."""
    return Terminal(client)


def texts(document: Json) -> list[str | None]:
    """What the user said, turn by turn."""
    return [turn["user_message"] and turn["user_message"]["text"] for turn in document["turns"]]


def test_a_conversation_shows_answers_and_the_revision(terminal: Terminal) -> None:
    shown = terminal.type("My name is Ada.", "What is my name?")

    assert "1 Demo: Hello!" in shown
    assert "2 Demo: Noted: your name is Ada." in shown
    assert "3 Demo: Your name is Ada." in shown
    assert "[revision 6, turn 3] you> " in shown


def test_an_edited_turn_is_answered_anew_and_the_old_line_can_be_restored(terminal: Terminal) -> None:
    terminal.type("My name is Ada.", "What is my name?")

    edited = terminal.type("/edit 2 My name is Grace.", "What is my name?", "/futures")
    restored = terminal.type("/restore 1")

    assert "What was there is kept as discarded future 1: /restore 1" in edited
    assert "3 Demo: Your name is Grace." in edited
    assert "1: 2 turns from turn 2 on" in edited
    assert "My name is Ada. -> Noted: your name is Ada." in restored
    assert texts(terminal.document()) == [None, "My name is Ada.", "What is my name?"]


def test_a_rewind_says_what_is_behind_and_what_is_said_next_discards_it(terminal: Terminal) -> None:
    terminal.type("My name is Ada.", "What is my name?")

    rewound = terminal.type("/rewind 2", "/turns", "What is my name now?")

    assert "2 turns in effect; the 1 behind" in rewound
    assert "- 3: What is my name?" in rewound
    assert texts(terminal.document()) == [None, "My name is Ada.", "What is my name now?"]


def test_rewinding_to_the_start_and_forward_again_loses_nothing(terminal: Terminal) -> None:
    terminal.type("My name is Ada.")

    shown = terminal.type("/rewind 0", "/rewind 2")

    assert "All 2 turns are in effect." in shown
    assert terminal.document()["cursor"] == 2


def test_regenerating_answers_the_same_words_again(terminal: Terminal) -> None:
    terminal.type("My name is Ada.")

    shown = terminal.type("/regenerate")

    assert "2 Demo: Noted: your name is Ada." in shown
    assert texts(terminal.document()) == [None, "My name is Ada."]
    assert terminal.document()["discarded_count"] == 1


def test_a_conflict_changes_nothing_and_shows_what_the_other_one_did(
    terminal: Terminal, client: Client
) -> None:
    client.write(terminal.document(), "messages", {"text": "I was faster."})

    shown = terminal.type("My name is Ada.", "My name is Ada.")

    assert "The session is at revision 4, not 2; nothing was changed." in shown
    assert "revision 3: turn.created by key_" in shown
    assert "2: I was faster." in shown
    assert "Say it again if you still mean it." in shown
    assert texts(terminal.document()) == [None, "I was faster.", "My name is Ada."]


def test_usage_shows_every_call_with_its_exact_cost(terminal: Terminal) -> None:
    shown = terminal.type("My name is Ada.", "/regenerate", "/usage")

    assert shown.count("scripted:demo, completed") == 2
    assert "2 calls, 0.00" in shown


def test_what_makes_no_sense_is_told_and_changes_nothing(terminal: Terminal) -> None:
    before = terminal.document()

    shown = terminal.type("/dance", "/rewind 9", "/edit 2", "/restore x", "/cancel", "/futures", "", "/help")

    for told in (
        "no /dance",
        "no turn 9",
        "/edit 2 My name",
        "Say which",
        "No turn is being",
        "Nothing has been",
    ):
        assert told in shown
    assert terminal.document() == before


def test_a_refusal_is_shown_with_its_faults(terminal: Terminal) -> None:
    shown = terminal.type("x" * 40_000, "/retry", "/restore 7")

    assert "/text" in shown
    assert terminal.document()["revision"] == 2


def test_an_ended_session_takes_nothing_more(terminal: Terminal) -> None:
    shown = terminal.type("/end solved", "Hello?")

    assert "The session has ended" in shown
    assert f"Session {terminal.session['id']} has ended." in shown
    assert terminal.document()["resolution"] == "solved"


def chat_environ(service: ServiceProcess) -> dict[str, str]:
    return {
        **os.environ,
        "TURNLEDGER_ADDRESS": service.address,
        "TURNLEDGER_KEY": service.access.key,
    }


def test_piped_lines_are_shown_as_if_they_had_been_typed(service: ServiceProcess) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "api", "chat"],
        input="My name is Ada.\n/quit\n",
        env=chat_environ(service),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert outcome.returncode == 0, outcome.stderr
    assert "you> My name is Ada.\n2 Demo: Noted: your name is Ada.\n" in outcome.stdout
    assert "Go on with: turnledger chat --session ses_" in outcome.stdout


def test_it_converses_on_a_terminal(service: ServiceProcess) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "api", "chat", "--data-dir", str(service.data_dir)],
        env={name: value for name, value in os.environ.items() if not name.startswith("TURNLEDGER_")},
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    ) as process:
        os.close(theirs)
        os.write(ours, b"My name is Ada.\n/quit\n")
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert process.wait(30) == 0, shown
    os.close(ours)

    assert b"2 Demo: Noted: your name is Ada." in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # What Linux says when the other side is closed.
        return b""


def test_a_service_that_does_not_answer_is_told_in_a_sentence(service: ServiceProcess) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "api", "chat"],
        env={**chat_environ(service), "TURNLEDGER_ADDRESS": "http://127.0.0.1:1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert outcome.returncode == 1
    assert "does not answer" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_key_that_is_not_known_is_told_in_a_sentence(service: ServiceProcess) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "api", "chat"],
        env={**chat_environ(service), "TURNLEDGER_KEY": "tl_unknown"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert outcome.returncode == 1
    assert "does not know this key" in outcome.stderr
