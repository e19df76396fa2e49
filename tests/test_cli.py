"""The command line: what it prints, its exit codes, and that it does what it says on a real database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from api.cli import COMMANDS, run
from api.cli.chat import HELP as CHAT_HELP


def command(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as its own process, with no settings but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNLEDGER_")}
    return subprocess.run(
        [sys.executable, "-m", "api", *words],
        env={**kept, **(environ or {})},
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def done(*words: str, environ: dict[str, str]) -> str:
    """Run a command that must succeed, and give what it printed."""
    outcome = command(*words, environ=environ)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


@pytest.fixture
def installation(database_url: str) -> dict[str, str]:
    """The environment of an installation with an external, empty database."""
    return {"TURNLEDGER_DATABASE_URL": database_url}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run([name, "--help"])

    assert ended.value.code == 0
    printed = capsys.readouterr().out
    summary = COMMANDS[name].summary
    assert summary[1:20] in printed or CHAT_HELP in printed


def test_help_loads_nothing_that_takes_long_to_load() -> None:
    program = (
        "import sys; from api.cli import run\n"
        "try: run(['--help'])\n"
        "except SystemExit: print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    )

    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = set(outcome.stderr.split())
    assert "api.cli" in loaded
    assert not loaded & {"asyncpg", "httpx", "jsonschema", "litestar", "openai", "rich", "uvicorn"}


def test_an_unknown_command_is_told_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["serv"])

    assert ended.value.code == 2
    assert "serve" in capsys.readouterr().err


def test_settings_that_cannot_be_used_are_all_told_with_code_2() -> None:
    outcome = command("config", environ={"TURNLEDGER_PORT": "-1", "TURNLEDGER_RUNNERS": "many"})

    assert outcome.returncode == 2
    assert "TURNLEDGER_PORT" in outcome.stderr
    assert "TURNLEDGER_RUNNERS" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_misspelt_variable_is_warned_of_and_those_of_clients_are_not() -> None:
    outcome = command("config", environ={"TURNLEDGER_PROT": "1", "TURNLEDGER_KEY": "tl_x"})

    assert outcome.returncode == 0
    assert "TURNLEDGER_PROT" in outcome.stderr
    assert "TURNLEDGER_KEY" not in outcome.stderr


def test_config_shows_where_a_value_comes_from_and_no_secret() -> None:
    outcome = command(
        "config", environ={"TURNLEDGER_PORT": "9001", "OPENAI_API_KEY": "sk-very-secret-indeed"}
    )

    lines = {line.split()[0]: line.split() for line in outcome.stdout.splitlines() if "│" in line}
    assert lines["port"][2] == "9001"
    assert lines["port"][4] == "environment"
    assert "very-secret" not in outcome.stdout + outcome.stderr


def test_a_database_that_does_not_answer_is_told_in_a_sentence() -> None:
    outcome = command(
        "organizations", "list", environ={"TURNLEDGER_DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/x"}
    )

    assert outcome.returncode == 1
    assert "does not answer" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "secret" not in outcome.stderr


def test_an_external_database_gets_only_what_is_asked_for(installation: dict[str, str]) -> None:
    assert json.loads(done("organizations", "list", "--json", environ=installation)) == []

    organization = done("organizations", "create", "Analytical Engines", environ=installation)

    (listed,) = json.loads(done("organizations", "list", "--json", environ=installation))
    assert (listed["id"], listed["name"]) == (organization, "Analytical Engines")
    assert json.loads(done("keys", "list", "--json", environ=installation)) == []
    assert json.loads(done("agents", "list", "--json", environ=installation)) == []


def test_a_key_is_shown_once_and_can_be_revoked(installation: dict[str, str]) -> None:
    done("organizations", "create", "One", environ=installation)

    secret = done("keys", "create", "billing", environ=installation)

    listing = done("keys", "list", "--json", environ=installation)
    (key,) = json.loads(listing)
    assert secret.startswith(key["prefix"])
    assert secret not in listing
    assert key["revoked_at"] is None
    done("keys", "revoke", key["id"], environ=installation)
    (key,) = json.loads(done("keys", "list", "--json", environ=installation))
    assert key["revoked_at"] is not None
    again = command("keys", "revoke", key["id"], environ=installation)
    assert again.returncode == 1
    assert "no such key" in again.stderr


def test_a_key_is_made_for_some_scopes_and_a_time_and_rotated(installation: dict[str, str]) -> None:
    done("organizations", "create", "One", environ=installation)

    first = done(
        "keys", "create", "billing", "--scopes", "usage:read", "--expires", "90d", environ=installation
    )
    (key,) = json.loads(done("keys", "list", "--json", environ=installation))
    second = done("keys", "rotate", key["id"], "--overlap-seconds", "60", environ=installation)
    (rotated,) = json.loads(done("keys", "list", "--json", environ=installation))

    assert key["scopes"] == ["usage:read"]
    assert key["expires_at"] is not None
    assert first != second
    assert second.startswith(rotated["prefix"])
    assert rotated["previous_expires_at"] is not None
    for words, told in [
        (("create", "x", "--scopes", "all"), "sessions:read"),
        (("create", "x", "--expires", "soon"), "2027-01-31"),
        (("create", "x", "--expires", "2020-01-01"), "future"),
        (("rotate", key["id"], "--overlap-seconds", "-1"), "overlap"),
    ]:
        refused = command("keys", *words, environ=installation)
        assert (refused.returncode, told in refused.stderr) == (1, True), refused.stderr


def test_with_several_organizations_one_must_be_chosen(installation: dict[str, str]) -> None:
    done("organizations", "create", "One", environ=installation)
    second = done("organizations", "create", "Two", environ=installation)

    unsaid = command("keys", "create", "x", environ=installation)
    said = command("keys", "create", "x", "--organization", second, environ=installation)

    assert unsaid.returncode == 1
    assert "--organization" in unsaid.stderr
    assert said.returncode == 0


def test_an_agent_is_published_and_then_its_next_version(
    installation: dict[str, str], tmp_path: Path
) -> None:
    done("organizations", "create", "One", environ=installation)
    file = tmp_path / "host.json"
    file.write_text('{"model": "scripted:demo", "greeting": "Welcome."}')

    first = done("agents", "publish", str(file), environ=installation)
    agent_id = first.split()[0]
    second = done("agents", "publish", str(file), "--agent", agent_id, environ=installation)

    assert first == f"{agent_id} version 1"
    assert second == f"{agent_id} version 2"
    (agent,) = json.loads(done("agents", "list", "--json", environ=installation))
    assert (agent["id"], agent["name"], agent["latest_version"]) == (agent_id, "host", 2)


def test_a_definition_with_faults_is_refused_with_all_of_them(
    installation: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "host.json"
    file.write_text('{"model": "nonsense", "greeting": "", "mood": "good"}')

    outcome = command("agents", "publish", str(file), environ=installation)

    assert outcome.returncode == 1
    for pointer in ("/model", "/greeting", "/mood"):
        assert pointer in outcome.stderr


def test_definitions_are_judged_without_a_database(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"model": "scripted:demo"}')
    bad.write_text('{"model": "nonsense", "nodes": [{"name": "start", "tools": ["search"]}]}')
    nowhere = {"TURNLEDGER_DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/x"}

    fine = command("agents", "validate", str(good), environ=nowhere)
    faulty = command("agents", "validate", str(good), str(bad), environ=nowhere)
    as_json = command("agents", "validate", str(bad), "--json", environ=nowhere)
    missing = command("agents", "validate", str(tmp_path / "none.json"), environ=nowhere)

    assert (fine.returncode, faulty.returncode, as_json.returncode, missing.returncode) == (0, 1, 1, 1)
    assert "can be published" in fine.stdout
    assert "Node `start`, `tools/0`: There is no tool of this name." in faulty.stdout
    faults = json.loads(as_json.stdout)[str(bad)]["faults"]
    assert [fault["pointer"] for fault in faults] == ["/model", "/nodes/0/tools/0"]
    assert "cannot be read" in missing.stderr


def test_two_versions_of_an_agent_are_compared(installation: dict[str, str], tmp_path: Path) -> None:
    done("organizations", "create", "One", environ=installation)
    file = tmp_path / "host.json"
    file.write_text('{"model": "scripted:demo", "greeting": "Welcome."}')
    agent_id = done("agents", "publish", str(file), environ=installation).split()[0]
    file.write_text('{"model": "scripted:demo", "greeting": "Hello."}')
    done("agents", "publish", str(file), "--agent", agent_id, environ=installation)

    table = done("agents", "diff", agent_id, "1", "2", environ=installation)
    changes = json.loads(done("agents", "diff", agent_id, "1", "2", "--json", environ=installation))
    same = done("agents", "diff", agent_id, "2", "2", environ=installation)
    missing = command("agents", "diff", agent_id, "1", "3", environ=installation)
    unreadable = command("agents", "diff", agent_id, "1", "two", environ=installation)

    assert changes == [{"pointer": "/greeting", "before": "Welcome.", "after": "Hello."}]
    assert "/greeting" in table
    assert "Hello." in table
    assert "are the same" in same
    assert (missing.returncode, unreadable.returncode) == (1, 2)
    assert "There is no such agent version." in missing.stderr


def test_an_empty_ledger_is_shown_with_its_sums(installation: dict[str, str]) -> None:
    done("organizations", "create", "One", environ=installation)

    page = json.loads(done("usage", "--json", environ=installation))
    table = done("usage", environ=installation)

    assert page == {"items": [], "next": 0, "head": 0}
    assert "0 calls" in table


def test_the_doctor_finds_nothing_in_a_healthy_database(installation: dict[str, str]) -> None:
    done("organizations", "create", "One", environ=installation)

    told = done("doctor", environ=installation)
    diagnoses = json.loads(done("doctor", "--json", environ=installation))

    assert "ledger density: nothing found" in told
    assert [diagnosis["findings"] for diagnosis in diagnoses] == [[]] * len(diagnoses)


async def test_the_doctor_exits_with_1_when_something_is_wrong(
    installation: dict[str, str], pool: asyncpg.Pool
) -> None:
    done("organizations", "create", "One", environ=installation)
    await pool.execute("UPDATE organization_ledgers SET last_seq = 7")

    outcome = command("doctor", environ=installation)

    assert outcome.returncode == 1
    assert "ledger density: 1 found" in outcome.stdout


def test_migrate_says_what_it_applied_and_check_finds_nothing_left(installation: dict[str, str]) -> None:
    applied = done("migrate", environ=installation)
    checked = done("migrate", "--check", environ=installation)

    assert applied.endswith("the schema is that of this release.")
    assert checked.startswith("0 pending")


def test_without_a_service_there_is_no_local_key(tmp_path: Path) -> None:
    outcome = command("keys", "local", "--data-dir", str(tmp_path))

    assert outcome.returncode == 1
    assert "turnledger serve" in outcome.stderr
