"""Runs the README: `python tests/e2e/readme.py README.md`, and ends with `N passed, N failed`.

Every block marked `console` is typed word for word into one shell: what stands behind `$ ` (and `> `, where a
command goes on) is a command, the lines below it are what it must print. The command that serves is started
beside the shell, with a data folder and a port of its own.

In what a command must print, `...` stands for anything: alone on a line for any lines, else for the rest of
a line. Ids, keys, instants, addresses and durations are those of another run; but an id that occurs twice in
the README must be the same one twice.
"""

import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SERVE = "python3 run.py serve"
START_SECONDS_MAX = 300
COMMAND_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30


class Step(NamedTuple):
    """One command of the README and what it must print; where that is empty, it may print anything."""

    line_number: int
    command: str
    expected: str


class Mismatch(Exception):
    """The README says something else than what happened."""


def steps_of(page: str) -> Iterator[Step]:
    """Read the commands of a page, in order."""
    inside = False
    command: list[str] = []
    expected: list[str] = []
    began_at = 0
    for number, line in enumerate(page.splitlines(), start=1):
        is_end = inside and line.startswith("```")
        if command and (is_end or line.startswith("$ ")):
            yield Step(began_at, "\n".join(command), "\n".join(expected))
            command, expected = [], []
        if is_end:
            inside = False
        elif line.startswith("```console"):
            inside = True
        elif inside and line.startswith("$ "):
            command, began_at = [line[2:]], number
        elif inside and line.startswith("> ") and not expected:
            command.append(line[2:])
        elif inside and command:
            expected.append(line)


_VARYING = re.compile(
    r"(?P<id>\b(?:ses|trn|run|stp|agt|org|use|key)_[0-9a-f]{32}\b)"
    r"|(?P<secret>\btl_[A-Za-z0-9_-]{20,})"
    r"|(?P<instant>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?)"
    r"|(?P<address>http://127\.0\.0\.1:\d+)"
    r'|(?P<latency>(?<="latency_ms": )\d+)'
    r"|(?P<tail>…[0-9a-f]{8}\b)"
    r"|(?P<file>\S+/local\.json)"
    r"|(?P<rest>\.\.\.)"
)
_PATTERNS = {
    "secret": r"tl_[A-Za-z0-9_-]{20,}",
    "instant": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?",
    "address": r"http://127\.0\.0\.1:\d+",
    "latency": r"\d+",
    "tail": r"…[0-9a-f]{8}",
    "file": r"\S+/local\.json",
    "rest": r"[^\n]*",
}


def compare(expected: str, printed: str, known_ids: dict[str, str]) -> None:
    """Hold what was printed against the README; ids of the README that are new are added to `known_ids`.

    Raises:
        Mismatch: they differ in more than what differs between two runs.
    """
    new_ids: list[str] = []
    pattern = "\n".join(_line_pattern(line, known_ids, new_ids) for line in expected.strip().splitlines())
    # A line for "any lines" brings its own line breaks.
    pattern = pattern.replace(f"\n{_ANY_LINES}\n", r"\n(?:[^\n]*\n)*?").removesuffix(f"\n{_ANY_LINES}")
    if pattern.startswith(f"{_ANY_LINES}\n"):
        pattern = r"(?:[^\n]*\n)*?" + pattern.removeprefix(f"{_ANY_LINES}\n")
    ending = r"(?:\n.*)?" if expected.strip().splitlines()[-1].strip() == "..." else ""
    found = re.fullmatch(pattern + ending, printed.strip(), re.DOTALL)
    if found is None:
        raise Mismatch(f"it printed:\n{printed.strip()}")
    known_ids.update(zip(new_ids, found.groups(), strict=True))


_ANY_LINES = "\0any lines\0"


def _line_pattern(line: str, known_ids: dict[str, str], new_ids: list[str]) -> str:
    line = line.rstrip()
    if line.strip() == "...":
        return _ANY_LINES
    pattern, at = "", 0
    for varying in _VARYING.finditer(line):
        pattern += re.escape(line[at : varying.start()])
        at = varying.end()
        kind, text = varying.lastgroup or "", varying[0]
        if kind != "id":
            pattern += _PATTERNS[kind]
        elif text in known_ids:
            pattern += re.escape(known_ids[text])
        elif text in new_ids:
            pattern += rf"\{new_ids.index(text) + 1}"
        else:
            new_ids.append(text)
            pattern += rf"({text[:4]}[0-9a-f]{{32}})"
    return pattern + re.escape(line[at:]) + r"[ \r]*"


class Shell:
    """One bash for all commands, so that what one sets the next one has."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """Type a command and give what it printed.

        Raises:
            Mismatch: it failed, or took too long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = f"mark-{secrets.token_hex(8)}"
        self._process.stdin.write(f"{command}\nprintf '\\n%s %s\\n' {mark} $?\n")
        self._process.stdin.flush()
        signal.alarm(COMMAND_SECONDS_MAX)
        printed = []
        for line in self._process.stdout:
            if line.startswith(mark):
                signal.alarm(0)
                code = int(line.split()[1])
                text = "".join(printed)
                if code != 0:
                    raise Mismatch(f"it ended with code {code} and printed:\n{text.strip()}")
                return text
            printed.append(line)
        raise Mismatch("the shell ended")

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.communicate()


class Service:
    """What the README's command that serves has started."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str], output: Path) -> None:
        self._output = output
        self._log_file = output.with_suffix(".log")
        with output.open("wb") as opened, self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                shlex.split(command), cwd=folder, env=environment, stdout=opened, stderr=log
            )

    def wait_until_ready(self) -> str:
        """Wait until it has said how it is reached, and give that.

        Raises:
            Mismatch: it ended, or took too long.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while "ready" not in (text := self._output.read_text()) or not text.endswith("\n\n"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Mismatch(f"it did not become ready: {self._log()}")
            time.sleep(0.05)
        return text

    def stop(self) -> None:
        """Tell it to stop.

        Raises:
            Mismatch: it did not, or not with code 0.
        """
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Mismatch("it did not stop within its time") from None
        if code != 0:
            raise Mismatch(f"it ended with code {code}: {self._log()}")

    def _log(self) -> str:
        return self._log_file.read_text()[-4000:]


def run(page: Path) -> int:
    """Run every command of the page; answer how many failed."""
    folder = page.resolve().parent
    passed, faults = 0, []
    known_ids: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="turnledger-readme-") as scratch:
        # Whoever runs the embedded Postgres must be able to pass through.
        Path(scratch).chmod(0o711)
        environment = _environment(Path(scratch))
        shell, service = Shell(folder, environment), None
        try:
            for step in steps_of(page.read_text()):
                try:
                    if step.command == SERVE:
                        service = Service(step.command, folder, environment, Path(scratch) / "serve.out")
                        printed = service.wait_until_ready()
                    else:
                        printed = shell.run(step.command)
                    if step.expected.strip():
                        compare(step.expected, printed, known_ids)
                except Mismatch as fault:
                    faults.append(f"{page.name}:{step.line_number}: {step.command}\n{fault}")
                    print(f"FAILED {faults[-1]}\n")
                else:
                    passed += 1
            if service is None:
                faults.append(f"{page.name}: nothing says `{SERVE}`")
                print(f"FAILED {faults[-1]}")
            else:
                try:
                    service.stop()
                except Mismatch as fault:
                    faults.append(str(fault))
                    print(f"FAILED stopping: {fault}")
                else:
                    passed += 1
                service = None
        finally:
            shell.close()
            if service is not None:
                service.stop()
    print(f"{passed} passed, {len(faults)} failed")
    return len(faults)


def _environment(scratch: Path) -> dict[str, str]:
    """Give what is set for the commands: nothing of the service's but a data folder and a free port."""
    foreign = ("TURNLEDGER_", "OPENAI_", "ANTHROPIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    if venv := os.environ.get("TURNLEDGER_VENV"):
        kept["TURNLEDGER_VENV"] = venv
    return {
        **kept,
        "TURNLEDGER_DATA_DIR": str(scratch / "data"),
        "TURNLEDGER_PORT": str(_free_port()),
        "PYTHONUNBUFFERED": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _too_long(*_: object) -> None:
    raise Mismatch(f"it took longer than {COMMAND_SECONDS_MAX} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_long)
    sys.exit(1 if run(Path(sys.argv[1])) else 0)
