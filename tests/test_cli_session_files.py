"""`turnledger export` and `turnledger import` in the terminal."""

import argparse
import asyncio
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from api.cli import export_session, import_session
from api.cli.failures import CommandFailed
from db.pool import Pool
from tests.factories import make_world


async def called(module: ModuleType, *words: str) -> int:
    """Run a command as the terminal would."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return await asyncio.to_thread(module.run, parser.parse_args(words))


async def test_a_session_goes_through_a_file(
    pool: Pool,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TURNLEDGER_DATABASE_URL", database_url)
    world, other = await make_world(pool), await make_world(pool, name="Other")
    session_id = (await world.conversation(2)).session.id
    file = tmp_path / "session.json"
    mine, theirs = ("--organization", world.organization_id), ("--organization", other.organization_id)

    assert await called(export_session, session_id, "--output", str(file), *mine) == 0
    assert await called(import_session, str(file), *theirs, "--agent", f"{other.agent.id}@1") == 0
    with pytest.raises(CommandFailed, match="of the same id"):
        await called(import_session, str(file), *theirs)
    assert await called(export_session, session_id, "--format", "markdown", *theirs) == 0

    told = capsys.readouterr().out
    assert f"{session_id} imported at revision 5: 2 turns" in told
    assert "> Answer 1" in told
    assert os.listdir(tmp_path) == ["session.json"]
    assert json.loads(file.read_text())["counts"]["turns"] == 2


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        ((), "{", "is no session file"),
        ((), "{}", "is no session file"),
        ((), None, "cannot be read"),
    ],
)
async def test_what_is_no_session_file_is_told_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], text: str | None, said: str
) -> None:
    file = tmp_path / "session.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(CommandFailed, match=said):
        await called(import_session, str(file), *words)


async def test_a_session_that_is_not_there_leaves_no_file(
    pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNLEDGER_DATABASE_URL", database_url)
    await make_world(pool)

    with pytest.raises(CommandFailed, match="no such session"):
        await called(export_session, f"ses_{'0' * 32}", "--output", str(tmp_path / "session.json"))

    assert os.listdir(tmp_path) == []
