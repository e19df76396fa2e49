"""The folder of a run of tests: in memory where there is room for it, else among the temporary files.

A database of a test's own is some 500 files. In memory its copy takes 15 ms, on an ext4 disk 300.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.scale import scaled

_MEMORY = Path("/dev/shm")
_ROOM_BYTES_MIN = scaled(short=3, long=12) * 1024**3
_PREFIX = "turnledger-tests-"


def make_run_folder(place: Path | None = None) -> Path:
    """Make the folder of this process, and remove those of runs that were killed."""
    if place is None:
        place = _MEMORY if _has_room(_MEMORY) else Path(tempfile.gettempdir())
    for left in place.glob(f"{_PREFIX}*"):
        owner = re.fullmatch(rf"{_PREFIX}(\d+)-.*", left.name)
        if owner is not None and not _is_alive(int(owner[1])):
            # Another account's stays: it is that account's to remove.
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    # Every account can enter it: the embedded server has one of its own.
    folder.chmod(0o711)
    return folder


def _has_room(place: Path) -> bool:
    return (
        place.is_dir()
        and os.access(place, os.W_OK | os.X_OK)
        and shutil.disk_usage(place).free >= _ROOM_BYTES_MIN
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
