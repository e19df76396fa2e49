"""The keys that secrets are encrypted with: from the settings, or a file in the data folder."""

import base64
import os
from pathlib import Path

from api.setting_values import SECRETS_KEY_BYTES, read_secrets_keys
from api.settings import Settings, SettingsError

FILE_NAME = "secrets.key"


def secrets_keys(settings: Settings) -> tuple[bytes, ...]:
    """Give the keys in force; with an external database and no setting there are none.

    Raises:
        SettingsError: the file is there and holds no key. Another one is not made: what it encrypted would
            be lost.
        OSError: the file cannot be read or written.
    """
    if settings.secrets_key or settings.database_url is not None:
        return settings.secrets_key
    file = settings.data_dir / FILE_NAME
    if not file.exists():
        _make(file)
    try:
        return read_secrets_keys(file.read_text().strip())
    except ValueError:
        raise SettingsError((("TURNLEDGER_SECRETS_KEY", f"{file} holds no key"),)) from None


def _make(file: Path) -> None:
    """Write a new key for us alone to read; if several processes do so at once, one of them wins."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(base64.b64encode(os.urandom(SECRETS_KEY_BYTES)) + b"\n")
        opened.flush()
        os.fsync(descriptor)
    try:
        os.link(temporary, file)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
