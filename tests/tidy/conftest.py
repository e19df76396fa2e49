"""What the tests about the tree itself look at: the files that are, or are about to be, part of it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDORED = re.compile(r"/vendor/|/static/swagger-ui/")
"""Files of others, kept as they came; the rules of this house are not theirs."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> dict[str, str]:
    """Every text file of the tree by its path from the root: tracked or new, not ignored, not vendored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout.decode()
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not VENDORED.search(name) and path.is_file() and b"\0" not in (content := path.read_bytes()):
            texts[name] = content.decode()
    return texts
