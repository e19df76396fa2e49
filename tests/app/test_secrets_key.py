"""The key that an embedded installation makes for itself."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.app.secrets_key import FILE_NAME, secrets_keys
from api.settings import Settings, SettingsError


def test_the_first_start_makes_a_key_and_later_ones_take_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    [key] = secrets_keys(settings)

    assert len(key) == 32
    assert secrets_keys(settings) == (key,)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_the_settings_come_first(tmp_path: Path) -> None:
    assert secrets_keys(Settings(data_dir=tmp_path, secrets_key=(bytes(32),))) == (bytes(32),)
    assert list(tmp_path.iterdir()) == []


def test_beside_an_external_database_no_key_is_made_up(tmp_path: Path) -> None:
    assert secrets_keys(Settings(data_dir=tmp_path, database_url="postgresql://x")) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_holds_no_key_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("nonsense")

    with pytest.raises(SettingsError, match="holds no key"):
        secrets_keys(Settings(data_dir=tmp_path))


def test_starts_at_once_take_the_same_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(1) as one:
        first = one.submit(secrets_keys, settings)
        assert first.result() == secrets_keys(settings)
