"""Where the data lies when nobody says it."""

import os
import sys
from pathlib import Path

import pytest

from db import embedded


@pytest.mark.parametrize(
    ("user_id", "platform", "xdg_data_home", "expected"),
    [
        (0, "linux", "/elsewhere", "/var/lib/turnledger"),
        (1000, "linux", None, "/home/ada/.local/share/turnledger"),
        (1000, "linux", "/elsewhere", "/elsewhere/turnledger"),
        (1000, "linux", "not/absolute", "/home/ada/.local/share/turnledger"),
        (1000, "darwin", None, "/home/ada/Library/Application Support/turnledger"),
    ],
)
def test_the_data_lies_in_the_users_data_folder(
    monkeypatch: pytest.MonkeyPatch, user_id: int, platform: str, xdg_data_home: str | None, expected: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user_id)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if xdg_data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", xdg_data_home)

    assert embedded.default_data_dir() == Path(expected)
