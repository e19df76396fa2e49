"""`turnledger serve` and `worker` as processes of their own, for benchmarks that call or kill them."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

_READY_SECONDS_MAX = 60
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A running service."""

    host: str
    port: int
    pid: int

    @property
    def memory_bytes(self) -> int:
        """What it holds of the machine's memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


@contextlib.asynccontextmanager
async def running(dsn: str, *words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Service]:
    """The service as it is deployed, on a free port."""
    process = await _started("serve", "--port", "0", *words, dsn=dsn, environ=environ)
    try:
        address = await first_match(process, r"http://[^\s/#]+")
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        yield Service(host=parts.hostname, port=parts.port, pid=process.pid)
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def working(dsn: str, *words: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """A worker as it is deployed, once it runs turns; yields its process id. It may be killed."""
    process = await _started("worker", *words, dsn=dsn, environ=environ)
    try:
        await first_match(process, "runs turns")
        yield process.pid
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """A local model provider that speaks chat completions, in a process of its own; yields its base URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.providers.server"), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield await first_match(process, r"http://\S+")
    finally:
        await _end(process)


async def first_match(process: asyncio.subprocess.Process, pattern: str) -> str:
    """Wait until a process prints this, and give it."""
    assert process.stdout is not None
    async with asyncio.timeout(_READY_SECONDS_MAX):
        async for line in process.stdout:
            found = re.search(pattern, line.decode())
            if found:
                return found[0]
    raise RuntimeError("the process ended before it was ready")


async def _started(*words: str, dsn: str, environ: Mapping[str, str] | None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api", *words),
        env=os.environ
        | {"TURNLEDGER_DATABASE_URL": dsn, "TURNLEDGER_LOG_LEVEL": "error"}
        | dict(environ or {}),
        stdout=asyncio.subprocess.PIPE,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.communicate()
