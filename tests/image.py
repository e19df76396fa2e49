"""What Dockerfile and .dockerignore say, read without a container engine.

    python -m tests.image FOLDER [REQUIREMENT]

lays the files that the image is built from into FOLDER, or prints what the image installs there: the build
installs exactly that into an empty environment and serves from it (`.ci/run`).
"""

import fnmatch
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Instruction(NamedTuple):
    """One line of a Dockerfile, continued lines joined."""

    word: str
    rest: str


def instructions(root: Path = ROOT) -> list[Instruction]:
    """Read the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (root / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def words_of(word: str) -> list[str]:
    """The words of the only instruction of this kind, in its JSON form."""
    [found] = [one.rest for one in instructions() if one.word == word]
    parsed: list[str] = json.loads(found)
    return parsed


def variables() -> dict[str, str]:
    """What the image sets in the environment."""
    pairs = [pair for one in instructions() if one.word == "ENV" for pair in shlex.split(one.rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def sources() -> list[tuple[str, str]]:
    """What is copied from the tree, and to where, in the folder that is built in."""
    found = []
    for one in instructions():
        if one.word == "COPY" and "--from" not in one.rest:
            *names, target = one.rest.split()
            found += [(name, target) for name in names]
    return found


def installed() -> str:
    """The requirement that `pip install` is given, such as `.[tracing]`."""
    [found] = [match[1] for one in instructions() if (match := re.search(r'"(\.\[[\w,-]+\])"', one.rest))]
    return found


def is_sent(path: Path, root: Path = ROOT) -> bool:
    """Whether .dockerignore lets a file through to the engine; of its lines the last that fits holds."""
    sent = True
    relative = path.relative_to(root)
    places = [relative, *relative.parents][:-1]
    for line in (root / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if any(_fits(place, pattern) for place in places):
            sent = line.startswith("!")
    return sent


def lay(folder: Path) -> None:
    """Copy the files that the image is built from."""
    for name, target in sources():
        for path in [ROOT / name, *sorted((ROOT / name).rglob("*"))]:
            if path.is_file() and is_sent(path):
                # A folder is copied as what is in it, a file under its own name.
                inner = path.relative_to(ROOT / name) if (ROOT / name).is_dir() else Path(path.name)
                place = folder / target / inner
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)


def _fits(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in path.parts)
    return fnmatch.fnmatch(str(path), pattern)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(installed())
    else:
        lay(Path(sys.argv[1]))
