"""The arrow is `api -> db`, never back, and nothing in the house reaches upwards."""

import ast
import subprocess
import sys
from pathlib import Path

LEAVES = {
    "api/settings.py": ["api.setting_values"],
    "api/setting_values.py": [],
    "api/log.py": [],
    "api/telemetry/measures.py": [],
    "api/telemetry/tracing.py": [],
}
"""Modules that everything may use, and which therefore use nothing of the project but one another."""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def imports_of_the_project(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return [name for name in found if name.startswith(".") or name.partition(".")[0] in ("api", "db")]


def test_every_import_follows_the_layers(root: Path) -> None:
    outcome = lint_imports(root)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_an_import_against_the_layers_would_be_found(tmp_path: Path) -> None:
    for package in ("api", "db"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "db" / "rows.py").write_text("import api\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["api", "db"]\n'
        '[[tool.importlinter.contracts]]\nname = "db never imports api"\ntype = "forbidden"\n'
        'source_modules = ["db"]\nforbidden_modules = ["api"]\n'
    )

    outcome = lint_imports(tmp_path)

    assert outcome.returncode == 1
    assert "db.rows -> api" in outcome.stdout


def test_settings_and_log_use_nothing_of_the_project(files: dict[str, str]) -> None:
    assert {name: imports_of_the_project(files[name]) for name in LEAVES} == LEAVES


def test_an_import_of_the_project_would_be_found() -> None:
    source = "import os\nimport db.pool\ndef late():\n    from api import log\n    from . import x\n"

    assert imports_of_the_project(source) == ["db.pool", "api", "."]
