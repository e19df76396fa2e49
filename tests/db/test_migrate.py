"""Migrations run forward, once, whole, in order, under a lock, and an edited file is refused."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from db import migrate as migrations
from db.migrate import migrate, migrations_folder, pending, read_migrations, status
from db.pool import connect_options

NOTES = "CREATE TABLE notes (id integer PRIMARY KEY);"
TITLE = "ALTER TABLE notes ADD COLUMN title text;"


@pytest.fixture
async def empty_database(server_dsn: str, admin: asyncpg.Connection, database_url: str) -> str:
    """A database without any schema: that of the test, emptied."""
    conn = await asyncpg.connect(database_url, **connect_options(database_url))
    await conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await conn.close()
    return database_url


@pytest.fixture
async def conn(empty_database: str):
    """A connection to the empty database."""
    opened = await asyncpg.connect(empty_database, **connect_options(empty_database))
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two migrations."""
    write(tmp_path, "0001_create_notes.sql", NOTES)
    write(tmp_path, "0002_add_title.sql", TITLE)
    return tmp_path


def write(folder: Path, name: str, sql: str) -> None:
    (folder / name).write_bytes(sql.encode())


async def test_migrate_applies_everything_in_order_and_then_nothing(
    conn: asyncpg.Connection, folder: Path
) -> None:
    applied = await migrate(conn, folder)
    again = await migrate(conn, folder)

    assert [(row.number, row.name) for row in applied] == [(1, "create_notes"), (2, "add_title")]
    assert again == []
    assert (await status(conn, folder)).applied == tuple(applied)
    await conn.execute("INSERT INTO notes (id, title) VALUES (1, 'both ran')")


async def test_migrate_takes_a_dsn(empty_database: str, folder: Path) -> None:
    applied = await migrate(empty_database, folder)

    assert len(applied) == 2


async def test_pending_names_what_is_missing_and_changes_nothing(
    conn: asyncpg.Connection, folder: Path
) -> None:
    before = await pending(conn, folder)
    exists = await conn.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    await migrate(conn, folder)
    write(folder, "0003_drop_notes.sql", "DROP TABLE notes;")

    assert [migration.file for migration in before] == ["0001_create_notes.sql", "0002_add_title.sql"]
    assert not exists
    assert [migration.file for migration in await pending(conn, folder)] == ["0003_drop_notes.sql"]


async def test_an_edited_file_is_refused_and_nothing_is_applied(
    conn: asyncpg.Connection, folder: Path
) -> None:
    await migrate(conn, folder)
    write(folder, "0001_create_notes.sql", NOTES + " -- edited")
    write(folder, "0003_drop_notes.sql", "DROP TABLE notes;")

    with pytest.raises(migrations.MigrationEdited, match=r"0001_create_notes\.sql"):
        await migrate(conn, folder)

    assert await conn.fetchval("SELECT to_regclass('notes') IS NOT NULL")


async def test_line_ends_are_no_edit(conn: asyncpg.Connection, folder: Path) -> None:
    write(folder, "0002_add_title.sql", "ALTER TABLE notes\n ADD COLUMN title text;\n")
    await migrate(conn, folder)
    write(folder, "0002_add_title.sql", "ALTER TABLE notes\r\n ADD COLUMN title text;\r\n")

    assert await migrate(conn, folder) == []


async def test_a_failing_file_leaves_nothing_and_those_before_it_stay(
    conn: asyncpg.Connection, folder: Path
) -> None:
    write(folder, "0003_break_notes.sql", "CREATE TABLE half (id integer); SELECT 1/0;")

    with pytest.raises(migrations.MigrationFailed, match=r"0003_break_notes\.sql failed: division by zero"):
        await migrate(conn, folder)

    assert await conn.fetchval("SELECT to_regclass('half')") is None
    assert [row.number for row in (await status(conn, folder)).applied] == [1, 2]
    write(folder, "0003_break_notes.sql", "CREATE TABLE half (id integer);")
    assert [row.number for row in await migrate(conn, folder)] == [3]


async def test_a_file_that_ends_its_transaction_is_refused(conn: asyncpg.Connection, folder: Path) -> None:
    write(folder, "0003_commit_early.sql", "SELECT 1; COMMIT;")

    with pytest.raises(migrations.MigrationFailed, match="must not begin or end transactions"):
        await migrate(conn, folder)

    assert [row.number for row in (await status(conn, folder)).applied] == [1, 2]


async def test_a_database_of_a_newer_release_is_fine(conn: asyncpg.Connection, folder: Path) -> None:
    write(folder, "0003_create_more.sql", "CREATE TABLE more (id integer);")
    await migrate(conn, folder)
    (folder / "0003_create_more.sql").unlink()

    assert await migrate(conn, folder) == []
    assert [row.name for row in (await status(conn, folder)).newer] == ["create_more"]


async def test_a_database_that_lacks_an_earlier_migration_is_refused(
    conn: asyncpg.Connection, folder: Path
) -> None:
    await migrate(conn, folder)
    await conn.execute("DELETE FROM schema_migrations WHERE number = 1")

    with pytest.raises(migrations.MigrationGap, match="0001"):
        await migrate(conn, folder)


async def test_many_starting_at_once_all_succeed_and_apply_each_file_once(
    empty_database: str, folder: Path
) -> None:
    for number in range(3, 12):
        write(folder, f"{number:04}_add_column.sql", f"ALTER TABLE notes ADD COLUMN c{number} text;")

    outcomes = await asyncio.gather(*(migrate(empty_database, folder) for _ in range(8)))

    assert sorted(row.number for applied in outcomes for row in applied) == list(range(1, 12))


async def test_a_second_process_waits_for_the_first(
    conn: asyncpg.Connection, empty_database: str, folder: Path
) -> None:
    write(folder, "0003_pass_gate.sql", "LOCK TABLE notes; SELECT pg_advisory_xact_lock(7);")
    gate = await asyncpg.connect(empty_database, **connect_options(empty_database))
    await gate.execute("SELECT pg_advisory_lock(7)")
    first = asyncio.create_task(migrate(empty_database, folder))
    async with asyncio.timeout(10):
        while not await conn.fetchval(_FIRST_WAITS):
            pass
    second = asyncio.create_task(migrate(empty_database, folder))
    async with asyncio.timeout(10):
        while not await conn.fetchval(_SECOND_ASKS):
            pass

    await gate.close()

    assert [len(await first), len(await second)] == [3, 0]


_FIRST_WAITS = """
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
                WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)
"""

_SECOND_ASKS = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE '%pg_try_advisory_xact_lock%'
                  AND pid <> pg_backend_pid())
"""


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([], "there are none"),
        (["0001_create_notes.sql", "0003_add_title.sql"], "number 0002 is missing"),
        (["0002_add_title.sql"], "number 0001 is missing"),
        (["0001_create_notes.sql", "0001_create_other.sql"], "number 0001 occurs twice"),
        (["1_create_notes.sql"], "1_create_notes.sql is not named"),
        (["0001_Create_Notes.sql"], "0001_Create_Notes.sql is not named"),
        (["0001_notes.sql"], "0001_notes.sql is not named"),
    ],
)
def test_a_broken_series_of_files_is_refused(tmp_path: Path, names: list[str], fault: str) -> None:
    for name in names:
        write(tmp_path, name, "SELECT 1;")

    with pytest.raises(migrations.MigrationsUnreadable, match=fault):
        read_migrations(tmp_path)


def test_the_projects_own_migrations_are_found_and_whole() -> None:
    assert read_migrations(migrations_folder())[0].file == "0001_create_schema.sql"
