"""Stops an embedded Postgres whose users were all killed: a process of its own, started by `db.embedded`.

    python -I -S embedded_guard.py <data folder>

Waits until nobody holds `users.lock`. A user who leaves properly stops the server before that; then there is
nothing to do. Only the standard library, so that it is small and starts at once.
"""

import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import IO


def guard(data_dir: Path) -> None:
    """Return when the server of `data_dir` has no user and was told to stop."""
    # Opened before the wait: the folder may be gone after it.
    with (
        (data_dir / "users.lock").open("a") as users,
        (data_dir / "start.lock").open("a") as start,
        (data_dir / "server.lock").open("a") as server,
    ):
        while True:
            fcntl.flock(users, fcntl.LOCK_EX)
            # Let go and asked again under the start lock, in the order in which everybody takes the two.
            fcntl.flock(users, fcntl.LOCK_UN)
            fcntl.flock(start, fcntl.LOCK_EX)
            if _try_exclusive(users):
                break
            fcntl.flock(start, fcntl.LOCK_UN)
        if _try_exclusive(server):
            return
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)


def _try_exclusive(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
