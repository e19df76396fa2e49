"""The folder of a run of tests is open to the server's account, and a killed run leaves none for long."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.run_folder import make_run_folder


def test_what_a_killed_run_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f"turnledger-tests-{gone.pid}-left"
    used = tmp_path / f"turnledger-tests-{os.getppid()}-used"
    other = tmp_path / "turnledger-tests-notes"
    for folder in (left, used, other):
        (folder / "postgres").mkdir(parents=True)

    made = make_run_folder(tmp_path)

    assert not left.exists()
    assert {made, used, other} == set(tmp_path.iterdir())
    assert stat.S_IMODE(made.stat().st_mode) == 0o711
