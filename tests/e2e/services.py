"""Services as their users start them: real processes, each killed at the latest when its test is over."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from api.app.local_access import LocalAccess, read_local

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
_POLL_SECONDS = 0.02


class ServiceProcess:
    """A `turnledger serve` on a port of its own, or another command that goes on until it is stopped."""

    def __init__(
        self,
        data_dir: Path,
        *words: str,
        environ: dict[str, str] | None = None,
        command: str = "serve",
        root: Path = ROOT,
    ) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TURNLEDGER_", "OPENAI_", "ANTHROPIC_"))
        }
        self.data_dir = data_dir
        self._output = data_dir.with_name(f"{data_dir.name}-{time.monotonic_ns()}.out")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "api", command, "--data-dir", str(data_dir)),
                    *(("--port", "0") if command == "serve" else ()),
                    *words,
                ],
                cwd=root,
                env={**kept, **(environ or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.address = ""

    @property
    def output(self) -> str:
        """All that it has printed and logged."""
        return self._output.read_text()

    @property
    def access(self) -> LocalAccess:
        """How the person at the machine gets in."""
        access = read_local(self.data_dir)
        assert access is not None, self.output
        return access

    def wait_until_ready(self) -> httpx.Response:
        """Wait until it answers that it is ready, and give that answer."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.output.splitlines():
                if line.lstrip().startswith(("address ", "Turnledger answers on ")):
                    self.address = line.split()[-1].partition("/#")[0]
                    return httpx.get(f"{self.address}/health/ready")
            time.sleep(_POLL_SECONDS)
        raise AssertionError(f"the service did not become ready:\n{self.output}")

    def wait_until_it_works(self) -> None:
        """Wait until a worker says that it runs turns."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while "Turnledger runs turns" not in self.output:
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output
            time.sleep(_POLL_SECONDS)

    def client(self) -> httpx.Client:
        """A client of the API with the local key."""
        return httpx.Client(
            base_url=f"{self.address}/v1",
            headers={"Authorization": f"Bearer {self.access.key}"},
            timeout=30,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the service alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and give its exit code."""
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the service did not end:\n{self.output}") from None

    def stop(self) -> int:
        """Have it stop as an operator would, and give its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()


@contextlib.contextmanager
def serving(
    data_dir: Path,
    *words: str,
    environ: dict[str, str] | None = None,
    command: str = "serve",
    root: Path = ROOT,
) -> Iterator[ServiceProcess]:
    """Run a service for the length of the block; not yet ready when the block begins.

    `root` is the tree whose code it runs.
    """
    service = ServiceProcess(data_dir, *words, environ=environ, command=command, root=root)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.signal(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                service.wait()
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
