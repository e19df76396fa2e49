"""The running release must work on the next schema: a migration adds, and takes nothing away that is used."""

import re

import pytest

RELEASED = ("0001", "0002")
"""Those that no release has run before."""

TAKES_AWAY = re.compile(
    r"\b(DROP\s+(TABLE|COLUMN|VIEW|TYPE)|RENAME|ALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE"
    r"|SET\s+NOT\s+NULL|(?<!BEFORE )TRUNCATE)\b",
    re.IGNORECASE,
)
FUNCTION = re.compile(r"CREATE\s+(OR\s+REPLACE\s+)?FUNCTION.*?(\$\w*\$).*?\2", re.IGNORECASE | re.DOTALL)
"""What a function does, a migration that makes it does not."""
ALLOWED = {
    "migrations/0017_partition_growing_tables.sql": [
        # The same transaction makes each table anew under its name, with the old one in it; its indexes too.
        *("RENAME", "RENAME", "RENAME"),
    ],
}
NEW_COLUMN = re.compile(r"ADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)([^,;]*)", re.IGNORECASE)


def faults_of(sql: str) -> list[str]:
    """What of a migration would break the release before it."""
    sql = FUNCTION.sub("", re.sub(r"--[^\n]*", "", sql))
    found = [match[0] for match in TAKES_AWAY.finditer(sql)]
    for name, rest in NEW_COLUMN.findall(sql):
        demands = re.search(r"NOT\s+NULL", rest, re.IGNORECASE)
        if demands and not re.search(r"DEFAULT|GENERATED", rest, re.IGNORECASE):
            found.append(f"{name} must be given, which the release before does not")
    return found


def test_no_migration_takes_away_what_the_release_before_it_uses(files: dict[str, str]) -> None:
    later = {
        name: sql
        for name, sql in files.items()
        if name.startswith("migrations/") and not name.removeprefix("migrations/").startswith(RELEASED)
    }

    assert later
    assert {name: faults for name, sql in later.items() if (faults := faults_of(sql))} == ALLOWED


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("DROP TABLE turns", 1),
        ("ALTER TABLE turns DROP COLUMN body", 1),
        ("ALTER TABLE turns RENAME COLUMN body TO text", 1),
        ("ALTER TABLE turns ALTER COLUMN state TYPE int", 1),
        ("ALTER TABLE turns ADD COLUMN size int NOT NULL", 1),
        ("ALTER TABLE turns ADD COLUMN size int NOT NULL DEFAULT 0, ADD COLUMN name text", 0),
        ("TRUNCATE turns", 1),
        ("CREATE TRIGGER a BEFORE TRUNCATE ON turns FOR EACH STATEMENT EXECUTE FUNCTION b()", 0),
        ("CREATE FUNCTION a() RETURNS void LANGUAGE sql AS $$ DROP TABLE turns $$", 0),
        ("DO $$ BEGIN DROP TABLE turns; END $$", 1),
        ("-- DROP TABLE turns\nCREATE INDEX a ON turns (id)", 0),
    ],
)
def test_what_takes_away_would_be_found(sql: str, count: int) -> None:
    assert len(faults_of(sql)) == count
