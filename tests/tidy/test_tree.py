"""The tree itself: its folders, the size and names of its modules, their docstrings."""

import ast
import re
from pathlib import PurePosixPath

FOLDERS = {".ci", "api", "bench", "db", "docs", "migrations", "openapi", "tests"}
"""Those of the design; another one needs a decision page, and then a word here."""

LINES_MAX = 450
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}
SHADOWS = {"http", "types", "logging", "queue"}
"""Names under which a package hides the standard library as soon as somebody runs a file in it."""

SKIPS = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")


def strange_folders(names: list[str]) -> set[str]:
    """Find top-level folders that are not in the design."""
    return {parts[0] for name in names if len(parts := PurePosixPath(name).parts) > 1} - FOLDERS


def long_modules(files: dict[str, str]) -> dict[str, int]:
    """Find modules that do not read in one sitting, with their length."""
    return {
        name: lines
        for name, text in files.items()
        if name.endswith((".py", ".js")) and (lines := len(text.splitlines())) > LINES_MAX
    }


def empty_names(names: list[str]) -> list[str]:
    """Find modules and packages whose name says nothing, or hides the standard library."""
    return [
        name
        for name in names
        if name.endswith(".py")
        and {PurePosixPath(name).stem, *PurePosixPath(name).parent.parts} & (SAYS_NOTHING | SHADOWS)
    ]


def undocumented(source: str) -> list[str]:
    """Find the public module, classes and functions without a docstring."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["the module"]
    pending: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
    while pending:
        prefix, scope = pending.pop()
        for node in scope.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") or any("overload" in ast.unparse(d) for d in node.decorator_list):
                continue
            if not ast.get_docstring(node):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                pending.append((f"{prefix}{node.name}.", node))
    return missing


def test_the_top_level_folders_are_those_of_the_design(files: dict[str, str]) -> None:
    assert strange_folders(list(files)) == set()


def test_a_new_top_level_folder_would_be_found() -> None:
    assert strange_folders(["scripts/x.sh", "api/x.py", "run.py"]) == {"scripts"}


def test_every_module_reads_in_one_sitting(files: dict[str, str]) -> None:
    assert long_modules(files) == {}


def test_a_long_module_would_be_found() -> None:
    files = {"api/long.py": "x\n" * 451, "api/fits.py": "x\n" * 450, "docs/long.md": "x\n" * 999}

    assert long_modules(files) == {"api/long.py": 451}


def test_every_module_has_a_name_that_says_something(files: dict[str, str]) -> None:
    assert empty_names(list(files)) == []


def test_a_module_without_a_proper_name_would_be_found() -> None:
    names = ["api/utils.py", "api/http/body.py", "api/routes/body.py", "docs/common.md"]

    assert empty_names(names) == ["api/utils.py", "api/http/body.py"]


def test_everything_public_in_api_and_db_has_a_docstring(files: dict[str, str]) -> None:
    missing = {
        name: found
        for name, text in files.items()
        if re.fullmatch(r"(api|db)/.*\.py", name) and (found := undocumented(text))
    }

    assert missing == {}


def test_a_missing_docstring_would_be_found() -> None:
    source = (
        "class A:\n    def b(self): ...\n    def _c(self): ...\n    def __repr__(self): ...\n"
        'async def d():\n    "Do it."\ndef e(): ...\nclass _F:\n    def g(self): ...\n'
    )

    assert undocumented(source) == ["the module", "A", "e", "A.b"]


def test_no_test_is_skipped_or_expected_to_fail(files: dict[str, str]) -> None:
    skipping = [n for n, text in files.items() if re.fullmatch(r"tests/.*\.py", n) and SKIPS.search(text)]

    assert skipping == []


def test_a_skipped_test_would_be_found() -> None:
    assert SKIPS.search("@pytest.mark.{}".format("skip"))
    assert SKIPS.search("    pytest.{}('no engine')".format("skip"))
