"""How the person at this machine reaches the embedded service: a file in its data folder."""

import os
from pathlib import Path

import msgspec

FILE_NAME = "local.json"


class LocalAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the person at this machine reaches the service. Kept in the data folder, readable by them alone."""

    organization_id: str
    key: str
    address: str
    """Of the service that started last."""


def local_file(data_dir: Path) -> Path:
    """Where the local access is kept."""
    return data_dir / FILE_NAME


def read_local(data_dir: Path) -> LocalAccess | None:
    """Read the local access; None when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(local_file(data_dir).read_bytes(), type=LocalAccess)
    except (OSError, msgspec.DecodeError):
        return None


def write_local(data_dir: Path, access: LocalAccess) -> None:
    """Keep the local access, in a file that only we can read; it is there whole or not at all."""
    file = local_file(data_dir)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(access))
        opened.flush()
        os.fsync(descriptor)
    temporary.replace(file)
