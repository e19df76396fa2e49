"""`turnledger usage` and what follows the word: export, summary, correct."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal

from db.pool import Pool
from tests.factories import make_world
from tests.ledger import entries_of, paid_turn
from tests.test_cli import command, done


async def test_an_export_holds_the_ledger_and_goes_on_where_told(pool: Pool, database_url: str) -> None:
    installation = {"TURNLEDGER_DATABASE_URL": database_url}
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    for _ in range(3):
        await paid_turn(world, session_id)

    lines = done("usage", "export", environ=installation).splitlines()
    rest = done("usage", "export", "--after", "2", environ=installation).splitlines()
    table = list(
        csv.DictReader(io.StringIO(done("usage", "export", "--format", "csv", environ=installation)))
    )

    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert [json.loads(line)["seq"] for line in rest] == [3]
    assert [row["cost"] for row in table] == ["0.01"] * 3


async def test_an_export_that_follows_tells_what_is_added(pool: Pool, database_url: str) -> None:
    world = await make_world(pool)
    session_id = (await world.session()).session.id
    await paid_turn(world, session_id)
    following = subprocess.Popen(
        [sys.executable, "-m", "api", "usage", "export", "--follow"],
        env={**os.environ, "TURNLEDGER_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    try:
        first = json.loads(following.stdout.readline())
        await paid_turn(world, session_id)
        second = json.loads(following.stdout.readline())
    finally:
        following.send_signal(signal.SIGINT)
        rest, errors = following.communicate(timeout=30)

    assert [first["seq"], second["seq"]] == [1, 2]
    assert (following.returncode, rest, b"Traceback" in errors) == (130, b"", False)


async def test_a_summary_and_a_correction_from_the_command_line(pool: Pool, database_url: str) -> None:
    installation = {"TURNLEDGER_DATABASE_URL": database_url}
    world = await make_world(pool)
    await paid_turn(world, (await world.session()).session.id)
    [entry] = await entries_of(world)

    told = done("usage", "correct", entry.id, "--reason", "waived", "--cost", "0", environ=installation)
    again = command("usage", "correct", entry.id, "--reason", "waived", "--cost", "0", environ=installation)
    table = done("usage", "summary", "--by", "model", "--by", "day", environ=installation)
    (group,) = json.loads(done("usage", "summary", "--json", environ=installation))
    unknown = command("usage", "summary", "--tz", "Mars/Olympus", environ=installation)

    assert f"corrects {entry.id}: cost -0.01 USD" in told
    _, correction = await entries_of(world)
    assert correction.corrected_by is not None
    assert (correction.corrected_by.process, correction.correction_reason) == ("system", "waived")
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert "scripted:echo" in table
    assert Decimal(group["total"]["cost"]) == 0
    assert (unknown.returncode, "no such time zone" in unknown.stderr) == (1, True)


async def test_prices_and_budgets_from_the_command_line(pool: Pool, database_url: str) -> None:
    installation = {"TURNLEDGER_DATABASE_URL": database_url}
    await make_world(pool)
    words = ("scripted", "echo", "--input", "3", "--output", "7.5", "--tier", "200000:6:15")

    told = done("usage", "set-price", *words, environ=installation)
    late = command("usage", "set-price", *words, "--from", "2026-01-01T00:00:00Z", environ=installation)
    (price,) = json.loads(done("usage", "prices", "--json", environ=installation))
    table = done("usage", "prices", environ=installation)
    done("usage", "set-budget", "month", "--limit", "5", "--tz", "Europe/Berlin", environ=installation)
    (budget,) = json.loads(done("usage", "budgets", "--json", environ=installation))
    shown = done("usage", "budgets", environ=installation)
    empty = command("usage", "set-budget", "day", environ=installation)
    done("usage", "remove-budget", "month", environ=installation)

    assert told.startswith("scripted:echo from 20")
    assert (late.returncode, "the newest price" in late.stderr) == (1, True)
    assert price["price"]["tiers"][0]["above_input_tokens"] == 200_000
    assert "scripted:echo" in table
    assert (budget["limit"], budget["time_zone"]) == ("5", "Europe/Berlin")
    assert "the organization" in shown
    assert (empty.returncode, "--limit or --warn-at" in empty.stderr) == (1, True)
    assert json.loads(done("usage", "budgets", "--json", environ=installation)) == []
