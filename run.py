#!/usr/bin/env python3
"""Run Turnledger on a bare Python: `python3 run.py serve`, `python3 run.py test`.

Makes an environment beside this file, in .venv (or where TURNLEDGER_VENV says), with `uv` when it is on PATH,
else with venv and pip, and runs the command in it. Nothing needs to be activated. Later runs start at once;
the packages are installed again only when pyproject.toml or constraints.txt changed, or when an installation
was interrupted.

    python3 run.py test [pytest arguments]   every test
    python3 run.py install                   only make the environment, with what development needs
    python3 run.py <command> [arguments]     any command of turnledger: serve, chat, migrate, keys, ...
"""

# Only the standard library, and a syntax that old versions read: they shall reach the message about them.
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_MIN = (3, 11)
HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("TURNLEDGER_VENV") or HERE / ".venv").absolute()
PYTHON = VENV / "bin" / "python"
# Written last: an environment without it was never finished.
STAMP = VENV / "turnledger-installed.json"
FOR_USE = "anthropic,mcp"
FOR_DEVELOPMENT = "dev"
OUTPUT_LINES_SHOWN = 30


def main(arguments):
    """Run one command and never return: the process becomes the command, or ends with its code."""
    if sys.version_info < PYTHON_MIN:
        stop(
            "Turnledger needs Python {}.{} or newer; this is {}.{} ({}).".format(
                *PYTHON_MIN, *sys.version_info[:2], sys.executable
            )
        )
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__.strip())
    command, rest = arguments[0], arguments[1:]
    with environment_lock():
        install(FOR_DEVELOPMENT if command in ("test", "install") else FOR_USE)
    if command == "install":
        return
    if command == "test":
        os.chdir(HERE)
        # The tests start hundreds of processes: where nothing may be kept each compiles our sources anew.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.execv(PYTHON, [str(PYTHON), "-m", "pytest", *test_defaults(rest), *rest])
    os.execv(VENV / "bin" / "turnledger", ["turnledger", *arguments])


def test_defaults(given):
    """Three workers, of which one often waits for a process or a clock, and few words, unless told more."""
    told = any(word.startswith(("-n", "--numprocesses", "--pdb")) for word in given)
    parallel = [] if told else ["-n", "3"]
    return ["-q", *parallel]


def install(extra):
    """Make the environment if it is missing, unfinished, broken or out of date."""
    wanted = {"digest": digest(), "python": sys.version, "source": str(HERE)}
    found = read_stamp()
    extras = set(found.pop("extras", []))
    is_whole = found == wanted and works()
    # The packages for development include all that the others need.
    if is_whole and extras & {extra, FOR_DEVELOPMENT}:
        return
    say(f"Installing Turnledger's packages into {VENV} (about a minute; only when they change)")
    STAMP.unlink(missing_ok=True)
    uv = shutil.which("uv")
    # An environment that uv made has no pip in it.
    if found.get("python") != wanted["python"] or not works("" if uv else "import pip"):
        make_environment(uv)
    package = f"{HERE}[{extra}]"
    target = ["-c", str(HERE / "constraints.txt"), "-e", package]
    if uv:
        run([uv, "pip", "install", "--python", str(PYTHON), *target])
    else:
        pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        run([*pip, *target])
    STAMP.write_text(json.dumps({**wanted, "extras": sorted(extras | {extra} if is_whole else {extra})}))
    say("Installed.")


def make_environment(uv):
    """Make an empty environment in place of whatever is there."""
    if uv is None:
        try:
            import ensurepip  # noqa: F401  # asked for, not used: Debian packs it apart
        except ImportError:
            stop(
                "This Python cannot make environments. On Debian and Ubuntu: apt install python3-venv. "
                "Or install uv. Then run this command again."
            )
    for path in VENV.iterdir():
        # The lock stays: we hold it.
        if path.name != LOCK_NAME:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if uv:
        run([uv, "venv", "--allow-existing", "--python", sys.executable, str(VENV)])
    else:
        run([sys.executable, "-m", "venv", str(VENV)])


def works(statement=""):
    """Whether the environment's Python starts and can run `statement`."""
    try:
        return subprocess.run([PYTHON, "-c", statement], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(command):
    """Run a step of the installation: one line that counts on a terminal, everything if it fails."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if sys.stderr.isatty():
                width = shutil.get_terminal_size().columns - 1
                print("\r\033[K" + line.strip()[:width], end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if process.returncode != 0:
        print("".join(lines[-OUTPUT_LINES_SHOWN:]), file=sys.stderr)
        stop("The installation failed; its last words are above. Run this command again to go on.")


def digest():
    """Tell one state of the requirements from another."""
    files = [HERE / "pyproject.toml", HERE / "constraints.txt"]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def read_stamp():
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


LOCK_NAME = "turnledger-installing.lock"


def environment_lock():
    """Hold the environment: two commands that start together would install over each other."""
    import fcntl

    VENV.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in VENV.iterdir()}
    # It will be emptied if it is unfinished, so it must be an environment, or one that we began.
    if names and not names & {LOCK_NAME, "pyvenv.cfg"}:
        stop(f"{VENV} is not empty and no Python environment. Name another folder in TURNLEDGER_VENV.")
    lock = (VENV / LOCK_NAME).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def say(words):
    print(words, file=sys.stderr, flush=True)


def stop(words):
    sys.exit(words)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
