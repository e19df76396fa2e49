"""The pages: links lead somewhere, names in them exist, the index is whole, generated ones are fresh."""

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

from api.settings_page import render_page

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
NAME = re.compile(r"`((?:api|db)(?:\.\w+)+)(?:\(\))?`")
PATH = re.compile(r"`((?:api|db|docs|migrations|openapi|tests|bench)/[\w./-]*)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """Collect the fragments that a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(name: str, page: str, root: Path) -> list[str]:
    """Find links of a page to files, or to headings in pages, that are not there."""
    dead = []
    for target in LINK.findall(FENCE.sub("", page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (root / name).parent / path if path else root / name
        if not file.exists() or (fragment and fragment not in anchors(file.read_text())):
            dead.append(target)
    return dead


def dead_names(page: str, root: Path) -> list[str]:
    """Find dotted names and paths of the code that a page mentions and that are not there."""
    dead = [path for path in PATH.findall(page) if not (root / path).exists()]
    return dead + [name for name in NAME.findall(page) if not _exists(name.split("."), root)]


def unlisted(index: str, pages: list[str]) -> list[str]:
    """Find the pages under docs/ that the index does not link."""
    linked = {target.partition("#")[0] for target in LINK.findall(index)}
    return [
        page for page in pages if str(PurePosixPath(page).relative_to("docs")) not in linked | {"README.md"}
    ]


def _exists(parts: list[str], root: Path) -> bool:
    """Tell whether a module of this name exists, or a definition in the module before it."""
    folder = root.joinpath(*parts)
    if folder.is_dir() or folder.with_suffix(".py").is_file():
        return True
    for length in range(len(parts) - 1, 0, -1):
        base = root.joinpath(*parts[:length])
        module = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if module.is_file():
            return _defines(ast.parse(module.read_text()).body, parts[length:])
    return False


def _defines(body: list[ast.stmt], names: list[str]) -> bool:
    for node in body:
        defined: set[str] = set()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            defined = {node.name}
        elif isinstance(node, ast.Assign):
            defined = {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined = {node.target.id}
        elif isinstance(node, ast.ImportFrom):
            defined = {alias.asname or alias.name for alias in node.names}
        if names[0] in defined:
            return len(names) == 1 or (isinstance(node, ast.ClassDef) and _defines(node.body, names[1:]))
    return False


@pytest.fixture(scope="module")
def pages(files: dict[str, str]) -> dict[str, str]:
    """The pages of docs/ and the ones beside it, by path."""
    return {
        name: text for name, text in files.items() if re.fullmatch(r"(?:docs/.*|bench/.*|[^/]*)\.md", name)
    }


def test_every_link_leads_somewhere(pages: dict[str, str], root: Path) -> None:
    dead = {name: found for name, page in pages.items() if (found := dead_links(name, page, root))}

    assert dead == {}


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").write_text("# The house: two leaves\n```\n# no heading\n```\n")
    page = (
        "[a](there.md) [b](gone.md) [c](there.md#the-house-two-leaves) [d](there.md#no-heading) "
        "[e](https://example.org/x) [f](../docs/there.md)\n# Own\n[g](#own) [h](#other)\n"
    )
    (tmp_path / "docs" / "page.md").write_text(page)

    assert dead_links("docs/page.md", page, tmp_path) == ["gone.md", "there.md#no-heading", "#other"]


def test_every_name_of_the_code_in_the_pages_exists(pages: dict[str, str], root: Path) -> None:
    dead = {
        name: found
        for name, page in pages.items()
        # The changelog and decisions tell of how things were.
        if name != "CHANGELOG.md" and "/decisions/" not in name and (found := dead_names(page, root))
    }

    assert dead == {}


def test_a_name_that_is_gone_would_be_found(tmp_path: Path) -> None:
    package = tmp_path / "api" / "session"
    package.mkdir(parents=True)
    (package / "document.py").write_text("A: int = 1\nclass Turn:\n    state: str\n    def end(self): ...\n")

    page = (
        "`api.session` `api.session.document.A` `api.session.document.Turn.state` "
        "`api.session.document.Turn.end()` "
        "`api.session.gone` `api.session.document.B` `api.session.document.Turn.gone` `db.gone` "
        "`api/session/document.py` `api/gone.py` `ordinary.words`"
    )

    assert dead_names(page, tmp_path) == [
        "api/gone.py",
        "api.session.gone",
        "api.session.document.B",
        "api.session.document.Turn.gone",
        "db.gone",
    ]


def test_the_index_lists_every_page(pages: dict[str, str]) -> None:
    assert unlisted(pages["docs/README.md"], [name for name in pages if name.startswith("docs/")]) == []


def test_an_unlisted_page_would_be_found() -> None:
    index = "[A](a.md) and [one decision](decisions/0001-x.md#context)"

    found = unlisted(index, ["docs/README.md", "docs/a.md", "docs/b.md", "docs/decisions/0001-x.md"])

    assert found == ["docs/b.md"]


def test_the_configuration_page_is_fresh(pages: dict[str, str]) -> None:
    assert pages["docs/configuration.md"] == render_page(), "run: python -m api.settings_page"


def test_the_changelog_has_a_place_for_what_is_not_released(files: dict[str, str]) -> None:
    assert "\n## [Unreleased]\n" in files["CHANGELOG.md"]
