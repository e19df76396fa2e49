"""Prints `docs/configuration.md` from the declaration of the settings: `python -m api.settings_page`."""

import ast
import inspect
import itertools
import sys

from api.settings import Settings, settings


def render_page() -> str:
    """Write `docs/configuration.md`."""
    sentences = _sentences()
    rows: list[str] = []
    for setting in settings():
        if heading := _HEADINGS.get(setting.name):
            rows += ["", f"## {heading}", "", "| variable | value | default | meaning |", "|---|---|---|---|"]
        rows.append(
            f"| `{setting.variable}` | {setting.expects} | {setting.default} | {sentences[setting.name]} |"
        )
    return _PREFACE + "\n".join(rows) + "\n"


_PREFACE = """\
# Configuration

<!-- Generated from api/settings.py: python -m api.settings_page > docs/configuration.md -->

A setting is read from a command-line flag, else from the environment, else it has its default. A variable
that is set to nothing counts as not set. Faulty values stop the start and are all named at once; a variable
that begins with `TURNLEDGER_` and is not listed here is warned of. `turnledger config` prints what is in
force and where each value came from; secrets are shown as `(set)`.
"""

_HEADINGS = {
    "host": "The process",
    "database_url": "The database",
    "body_bytes_max": "Requests",
    "turn_seconds_max": "Turns",
    "openai_api_key": "Models",
    "tool_functions": "Tools",
}
"""The first setting of each part of the page."""


def _sentences() -> dict[str, str]:
    """Read the docstrings of the fields, which Python itself does not keep."""
    (declaration,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(declaration, ast.ClassDef)
    return {
        field.target.id: " ".join(docstring.value.value.split())
        for field, docstring in itertools.pairwise(declaration.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(docstring, ast.Expr)
        and isinstance(docstring.value, ast.Constant)
        and isinstance(docstring.value.value, str)
    }


if __name__ == "__main__":
    sys.stdout.write(render_page())
