"""`turnledger doctor` in the terminal: each fault is a line that says what is wrong, and code 1."""

import argparse
import asyncio
import re

import pytest

from api.cli import doctor
from db.pool import Pool
from tests.store.test_doctor import FAULTS, lived_in


async def examined() -> int:
    """Run the command as the terminal would; answers its exit code."""
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return await asyncio.to_thread(doctor.run, parser.parse_args([]))


@pytest.mark.parametrize("check", FAULTS)
async def test_each_fault_is_reported_and_the_code_is_1(
    pool: Pool,
    database_url: str,
    check: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TURNLEDGER_DATABASE_URL", database_url)
    await lived_in(pool)
    await pool.execute("ALTER TABLE usage_entries DROP CONSTRAINT usage_entries_pkey")
    await pool.execute(FAULTS[check])

    code = await examined()

    told = capsys.readouterr().out
    assert code == 1
    found = re.search(rf"^{check}: (\d+) found\n((?:  .+\n)+)", told, re.MULTILINE)
    assert found is not None, told
    lines = found[2].splitlines()
    assert len(lines) == int(found[1])
    for line in lines:
        # Whose, what, and what is wrong with it.
        assert re.fullmatch(r"  org_[0-9a-f]{32} \S.*: \S.*", line), line


async def test_nothing_wrong_is_code_0(
    pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TURNLEDGER_DATABASE_URL", database_url)
    await lived_in(pool)

    code = await examined()

    assert code == 0
    assert "found\n  " not in capsys.readouterr().out
