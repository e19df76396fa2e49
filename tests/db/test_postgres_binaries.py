"""The programs of the embedded server are found and copied, and root hands them to another account."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from db import postgres_binaries
from db.postgres_binaries import Account, Binaries, for_account


def test_the_copied_programs_run_and_every_account_may_read_them(tmp_path: Path) -> None:
    binaries = postgres_binaries.find_binaries(major_version=None)
    assert binaries.wheel_folder

    copied = postgres_binaries._copy_wheel(binaries.wheel_folder, tmp_path)
    again = postgres_binaries._copy_wheel(binaries.wheel_folder, tmp_path)

    assert again == copied
    assert [path.name for path in tmp_path.iterdir()] == [copied.parent.name]
    for program in ("postgres", "initdb"):
        told = subprocess.check_output([copied / "pginstall" / "bin" / program, "--version"], text=True)
        assert "PostgreSQL" in told
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in copied.parent.rglob("*"))


def test_root_hands_the_server_to_an_account_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.struct_passwd(("nobody", "x", 65534, 65533, "", "/", "/bin/false"))
    accounts = {"nobody": nobody}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)

    account = postgres_binaries.server_account()
    accounts.clear()

    assert account == Account(name="nobody", user_id=65534, group_id=65533)
    with pytest.raises(postgres_binaries.NoAccountForServer):
        postgres_binaries.server_account()


def test_a_plain_user_runs_the_server_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert postgres_binaries.server_account() is None


def test_programs_stay_where_they_are_if_they_can_be_run_there(tmp_path: Path) -> None:
    binaries = Binaries(folder=tmp_path, major_version=18, wheel_folder=None)

    assert for_account(binaries, None, places=()) is binaries


def test_programs_of_the_machine_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(name="somebody", user_id=1000, group_id=1000)
    binaries = Binaries(folder=tmp_path / "bin", major_version=18, wheel_folder=None)
    monkeypatch.setattr(postgres_binaries, "can_enter", lambda folder, _: folder == tmp_path)

    with pytest.raises(postgres_binaries.FolderUnreachable, match="/bin"):
        for_account(binaries, account, places=(tmp_path,))


def test_programs_are_copied_to_the_first_place_that_can_be_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = Account(name="somebody", user_id=1000, group_id=1000)
    binaries = postgres_binaries.find_binaries(major_version=None)
    monkeypatch.setattr(postgres_binaries, "can_enter", lambda folder, _: folder == tmp_path / "open")

    copied = for_account(binaries, account, places=(tmp_path / "closed", tmp_path / "open"))

    assert copied.folder.is_relative_to(tmp_path / "open")
    assert (copied.folder / "postgres").is_file()
    with pytest.raises(postgres_binaries.FolderUnreachable, match="/closed"):
        for_account(binaries, account, places=(tmp_path / "closed",))
