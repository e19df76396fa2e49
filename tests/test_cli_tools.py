"""`turnledger secrets` and `turnledger tools`, on a real database."""

import base64
import io

import asyncpg
import pytest

from api.cli import run
from tests.test_cli import command, done

CANARY = "canary-4711-word"


@pytest.fixture
def installation(database_url: str) -> dict[str, str]:
    """The environment of an installation that can keep secrets."""
    return {"TURNLEDGER_DATABASE_URL": database_url, "TURNLEDGER_SECRETS_KEY": key(1)}


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


def in_process(
    words: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, given: str = ""
) -> int:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    return run(words.split())


def test_secrets_are_set_listed_rotated_and_removed(
    installation: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("organizations create Acme", installation, monkeypatch) == 0
    assert in_process("secrets set crm", installation, monkeypatch, given=CANARY + "\n") == 0
    assert in_process("secrets list", installation, monkeypatch) == 0
    both = {**installation, "TURNLEDGER_SECRETS_KEY": f"{key(2)},{key(1)}"}
    assert in_process("secrets rotate", both, monkeypatch) == 0
    assert in_process("secrets delete crm", both, monkeypatch) == 0

    printed = capsys.readouterr()
    assert "crm is stored." in printed.out
    assert "1 secrets are encrypted anew" in printed.out
    assert "crm is gone." in printed.out
    assert CANARY not in printed.out + printed.err


def test_without_a_key_the_command_says_what_is_missing(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"TURNLEDGER_DATABASE_URL": database_url}
    in_process("organizations create Acme", environ, monkeypatch)

    code = in_process("secrets set crm", environ, monkeypatch, given=CANARY)

    assert code == 1
    assert "This installation has no TURNLEDGER_SECRETS_KEY." in capsys.readouterr().err


def test_no_value_is_no_secret(installation: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_process("secrets set crm", installation, monkeypatch, given="\n") == 1


async def test_hosts_are_allowed_for_one_organization(
    installation: dict[str, str], pool: asyncpg.Pool
) -> None:
    first = done("organizations", "create", "Acme", environ=installation)
    second = done("organizations", "create", "Other", environ=installation)

    def tools(*words: str, organization: str = first) -> str:
        return done("tools", *words, "--organization", organization, environ=installation)

    tools("allow", "CRM.internal:8443")
    tools("allow", "10.0.0.0/8")
    tools("allow", "10.0.0.0/8")

    assert tools("allowed") == "crm.internal:8443\n10.0.0.0/8"
    assert tools("allowed", organization=second) == ""
    assert tools("disallow", "crm.internal:8443") == "10.0.0.0/8"
    assert await pool.fetchval("SELECT count(*) FROM organization_settings") == 1

    chosen = ("--organization", first)
    odd = command("tools", "allow", "http://x", *chosen, environ=installation)
    gone = command("tools", "disallow", "x", *chosen, environ=installation)
    assert (odd.returncode, gone.returncode) == (1, 1)
    assert "is no host" in odd.stderr
    assert "x is not on the list." in gone.stderr
