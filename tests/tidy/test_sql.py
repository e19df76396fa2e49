"""SQL is complete text that psql takes as it stands, and every statement is bound to one organization."""

import ast
import re

import pytest

UNBOUND = {
    "organizations._CREATE": "makes the organization",
    "prices._LOCK_LIST": "the organization's own row, by its id",
    "idle._IDLE": "a sweep ends idle sessions of any organization",
    "organizations._LIST": "the installation's list of organizations",
    "organizations._HEADS": "the installation's list of ledgers",
    "key_limits._HOLD": "one write carries the streams of all keys of a process; each row names its own",
    "installation_keys._CREATE": "keys of the installation belong to no organization",
    "installation_keys._FIND": "keys of the installation belong to no organization",
    "installation_keys._LIST": "keys of the installation belong to no organization",
    "installation_keys._REVOKE": "keys of the installation belong to no organization",
    "installation_keys._ROTATE": "keys of the installation belong to no organization",
    "installation_keys._RECORD_USES": "keys of the installation belong to no organization",
    "organizations._BY_ID": "looks whether there is such an organization",
    "api_keys._FIND": "finds out which organization a key belongs to",
    "api_keys._RECORD_USES": "one write carries the last uses of all keys of a process; each names its own",
    "runs._CLAIM": "a runner takes turns of any organization",
    "runs._LEAKED": "a sweep settles calls that were left open in any organization",
    "deltas._FLUSH": "one flush carries the texts of all runs of a process; each row names its own",
    "secrets._OTHERWISE_SEALED": "a rotation of the installation's keys reads secrets of all organizations",
    "keys._SWEEP": "a sweep forgets old rows of all organizations",
    "deltas._SWEEP": "a sweep forgets old rows of all organizations",
    "retention._FORGET_CAPTURED": "a sweep deletes what no organization wants kept any longer",
    "retention._DUE": "a sweep deletes what no organization wants kept any longer",
    "time_zones._NAMES": "the server's own list",
    "sessions._PLAN_EACH": "a setting of the transaction",
    "archives._PAGE": "old entries of all organizations leave the ledger together",
    "archives._LEAVE": "old entries of all organizations leave the ledger together",
    "approvals._EXPIRED": "a sweep denies what nobody decided in time in any organization",
    **dict.fromkeys(
        (
            "doctor._LEDGER_DENSITY",
            "doctor._ORGANIZATION_TOTALS",
            "doctor._SESSION_TOTALS",
            "doctor._DOUBLE_BILL",
            "doctor._CORRECTIONS",
            "doctor._BUDGETS",
            "doctor._UNBILLED_CALL",
            "doctor._LEAKED_INTENT",
            "doctor._STUCK_TURN",
            "doctor._RUN_OF_FINAL_TURN",
            "doctor._EVENT_DENSITY",
            "doctor._HEADER_COPIES",
            "doctor._ACTIVE_TURN",
            "doctor._LEFT_TEXT",
            "doctor._OPEN_APPROVALS",
            "doctor._UNAUDITED_CALL",
            "doctor._SAMPLE",
        ),
        "the doctor examines all organizations",
    ),
}
"""The statements that name no single organization, and why each may."""

WITHOUT_TABLES = {"embedded", "migrate", "pool", "doorbell", "partitions", "row_security"}
"""Modules that handle the server, the schema and the doorbell; they touch no rows of customers."""

UNFORMATTED_EXCEPT = {"migrate": "runs the text of the migration files"}
"""Modules that run SQL which stands elsewhere than in a constant."""

RUNS_SQL = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "cursor", "prepare"}
BEGINS_SQL = re.compile(
    r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE|MERGE|LOCK|TRUNCATE|CREATE|ALTER|DROP|NOTIFY|DO)\s"
)
HOLDS_SQL = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WHERE|CREATE (TABLE|DATABASE|ROLE)|ALTER ROLE)\s"
)
# A condition on it, or an insert that gives it first.
BOUND = re.compile(
    r"\borganization_id\s*=\s*\$\d+"
    r"|\bINSERT INTO \w+ \(\s*organization_id,[^)]*\)\s*(VALUES\s*\(|SELECT)\s*\$\d+"
)


def statements(source: str) -> dict[str, str]:
    """Find the module-level constants that hold SQL, by name."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            (target,) = node.targets
            text = node.value.value
            if isinstance(target, ast.Name) and isinstance(text, str) and BEGINS_SQL.match(text):
                found[target.id] = text
    return found


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", sql, flags=re.DOTALL)


def faults_of_text(source: str, *, may_run_other_text: bool = False) -> list[str]:
    """Name every place where SQL is not a constant that can be pasted into psql."""
    tree = ast.parse(source)
    constants = statements(source)
    tables = _tables_of(tree, constants)
    faults = [f"{name} is not called _UPPER_CASE" for name in constants if not re.fullmatch("_[A-Z_]+", name)]
    for node in ast.walk(tree):
        if _is_built(node) and HOLDS_SQL.search(_literal_parts(node)):
            faults.append(f"line {node.lineno}: SQL is put together from parts")
        if may_run_other_text or not _runs_sql(node):
            continue
        argument = node.args[0]
        choices = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
        if not all(_is_constant(choice, constants, tables) for choice in choices):
            faults.append(f"line {node.lineno}: runs something other than a constant of this module")
    return faults


def unbound(source: str) -> list[str]:
    """Name the statements that are not bound to one organization."""
    return [name for name, sql in statements(source).items() if not BOUND.search(without_comments(sql))]


def _tables_of(tree: ast.Module, constants: dict[str, str]) -> set[str]:
    """The module-level dicts whose values are constants with SQL."""
    return {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Dict)
        and all(isinstance(value, ast.Name) and value.id in constants for value in node.value.values)
    }


def _is_constant(node: ast.expr, constants: dict[str, str], tables: set[str]) -> bool:
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in tables
    return isinstance(node, ast.Name) and node.id in constants


def _is_built(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add))
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("format", "join", "replace")
        )
    )


def _literal_parts(node: ast.AST) -> str:
    return " ".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def _runs_sql(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RUNS_SQL
        and bool(node.args)
    )


@pytest.fixture(scope="module")
def modules(files: dict[str, str]) -> dict[str, str]:
    """The modules of `db`, by name."""
    found = re.compile(r"db/(\w+)\.py")
    return {match[1]: text for name, text in files.items() if (match := found.fullmatch(name))}


def test_sql_is_constant_text(modules: dict[str, str]) -> None:
    faults = {
        name: faults
        for name, source in modules.items()
        if (faults := faults_of_text(source, may_run_other_text=name in UNFORMATTED_EXCEPT))
    }

    assert faults == {}


@pytest.mark.parametrize(
    "source",
    [
        '_GET = f"SELECT 1 FROM {table}"',
        '_GET = "SELECT 1 FROM %s" % table',
        '_GET = "SELECT 1 FROM {}".format(table)',
        '_GET = "SELECT 1 FROM turns" + order',
        '_GET = "SELECT 1 FROM turns WHERE x".replace("x", y)',
        'async def get(conn): await conn.fetch("SELECT 1")',
        "async def get(conn, sql): await conn.fetch(sql)",
        '_GET = "SELECT 1"\nasync def get(conn, a): await conn.fetch(_GET if a else a)',
        'get = "SELECT 1 FROM turns"',
        '_GET = {"a": "SELECT 1"}\nasync def get(conn, a): await conn.fetch(_GET[a])',
        "async def get(conn, statements, a): await conn.fetch(statements[a])",
    ],
)
def test_sql_that_is_not_constant_text_would_be_found(source: str) -> None:
    assert len(faults_of_text(source)) >= 1


def test_a_constant_that_is_run_as_it_stands_is_no_fault() -> None:
    source = (
        '_A = "SELECT 1"\n_B = "SELECT 2"\n'
        "async def get(conn, a):\n"
        '    log(f"read {a} from the list")\n'
        "    return await conn.fetch(_A if a else _B, a)\n"
    )

    assert faults_of_text(source) == []


def test_every_statement_is_bound_to_one_organization(modules: dict[str, str]) -> None:
    found = {
        f"{module}.{name}"
        for module, source in modules.items()
        if module not in WITHOUT_TABLES
        for name in unbound(source)
    }

    assert found == set(UNBOUND)


@pytest.mark.parametrize(
    ("sql", "is_bound"),
    [
        ("SELECT 1 FROM turns WHERE organization_id = $1", True),
        ("INSERT INTO turns (organization_id, id) VALUES ($1, $2)", True),
        ("INSERT INTO prices (organization_id, id) SELECT $1, * FROM unnest($2::int[])", True),
        ("SELECT organization_id FROM turns WHERE id = $1", False),
        ("INSERT INTO runs (organization_id, id) SELECT organization_id, $1 FROM turns", False),
        ("SELECT 1 FROM turns -- organization_id = $1\n WHERE id = $2", False),
        ("DELETE FROM turns", False),
    ],
)
def test_a_statement_without_organization_would_be_found(sql: str, is_bound: bool) -> None:
    assert unbound(f"_SQL = {sql!r}") == ([] if is_bound else ["_SQL"])
