"""How the panel is served: whole, guarded, kept by browsers, and without any key."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.routes.error_handlers import EXCEPTION_HANDLERS
from api.routes.panel import load_panel, panel_handlers
from tests.panel.chromium import NoChromium, fetched, installed

FOLDER = Path(__file__).resolve().parents[2] / "api" / "panel"
IMPORT = re.compile(
    r'^(?:import|export)\b[^"\n]*from "(\.[^"]+)"|^import "(\.[^"]+)"|import\("(\.[^"]+)"\)', re.MULTILINE
)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    """A client of an application that serves the panel alone."""
    app = Litestar(panel_handlers(), exception_handlers=EXCEPTION_HANDLERS, openapi_config=None)
    with TestClient(app) as made:
        yield made


def linked(page: str) -> list[str]:
    """The files that the page names."""
    return re.findall(r'(?:src|href)="([^"]+)"', page)


def test_the_page_names_its_files_and_each_is_served(client: TestClient[Litestar]) -> None:
    page = client.get("/")
    answers = {path: client.get(path) for path in linked(page.text)}

    assert page.headers["content-type"].startswith("text/html")
    assert len(answers) > 30
    assert all(answer.status_code == 200 and answer.content for answer in answers.values())
    assert all(path.startswith("/panel/") for path in answers)


def test_every_module_that_another_imports_is_named_in_the_page(client: TestClient[Litestar]) -> None:
    preloaded = set(re.findall(r'modulepreload" href="/panel/\w+/([^"]+)"', client.get("/").text))
    imported = {"main.js"}
    for file in FOLDER.rglob("*.js"):
        if "vendor" not in file.parts:
            for found in IMPORT.finditer(file.read_text()):
                target = (file.parent / next(filter(None, found.groups()))).resolve()
                imported.add(str(target.relative_to(FOLDER)))

    assert imported == preloaded


def test_only_files_of_the_page_run_and_nothing_inline(client: TestClient[Litestar]) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert re.findall(r"<script(?![^>]*\ssrc=)", page.text) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=", page.text)
    for name in ("content-security-policy", "x-content-type-options", "referrer-policy"):
        assert all(name in client.get(path).headers for path in linked(page.text))


def test_files_are_kept_for_good_and_the_page_is_asked_for_again(client: TestClient[Litestar]) -> None:
    page = client.get("/")
    module = next(path for path in linked(page.text) if path.endswith("/main.js"))

    kept = client.get(module)
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})

    assert page.headers["cache-control"] == "no-cache"
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(module, headers={"If-None-Match": kept.headers["etag"]}).status_code == 304


def test_a_page_of_another_edition_gets_files_that_it_must_ask_for_again(
    client: TestClient[Litestar],
) -> None:
    answer = client.get("/panel/0000000000000000/main.js")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"


def test_head_answers_like_get_without_a_body(client: TestClient[Litestar]) -> None:
    answer = client.head("/")

    assert answer.status_code == 200
    assert answer.headers["etag"] == client.get("/").headers["etag"]
    assert answer.content == b""


@pytest.mark.parametrize(
    "path",
    ["nope.js", "..%2F..%2Fsettings.py", "../routes/panel.py", "core/", "", "index.html", "%00", "main.js/x"],
)
def test_nothing_but_the_panels_files_is_served(client: TestClient[Litestar], path: str) -> None:
    answer = client.get(f"/panel/{load_panel().edition}/{path}")

    assert answer.status_code == 404


def test_no_answer_holds_a_key_whatever_the_caller_sends(client: TestClient[Litestar]) -> None:
    headers = {"Authorization": "Bearer tl_secret", "Cookie": "key=tl_secret"}
    page = client.get("/?key=tl_secret", headers=headers)
    answers = [page, *(client.get(path, headers=headers) for path in linked(page.text))]

    assert all(b"tl_secret" not in answer.content for answer in answers)
    assert all("set-cookie" not in answer.headers for answer in answers)


def test_no_file_names_another_host() -> None:
    """Links that people write themselves aside, nothing here leads or loads from elsewhere."""
    allowed = {"http://www.w3.org/2000/svg"}
    found = {
        (file.name, url)
        for file in FOLDER.rglob("*")
        if file.suffix in {".js", ".css", ".html", ".svg"} and "vendor" not in file.parts
        for url in re.findall(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s\"'`)]*", file.read_text())
        if url not in allowed
    }

    assert found == set()


def test_every_file_is_part_of_the_tree_and_so_of_the_wheel() -> None:
    on_disk = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    command = ["git", "check-ignore", "--stdin"]
    ignored = subprocess.run(
        command, cwd=FOLDER, input="\n".join(on_disk), capture_output=True, text=True, check=False, timeout=30
    ).stdout

    assert ignored == ""
    assert on_disk == {*load_panel().files, "index.html"}


def test_vendored_files_come_with_their_licences() -> None:
    assert "Apache License" in (FOLDER / "vendor" / "htm.LICENSE").read_text()
    assert "MIT License" in (FOLDER / "vendor" / "preact.LICENSE").read_text()
    assert "Mozilla Public License" in (Path(__file__).parent / "vendor" / "axe.LICENSE").read_text()


def test_without_a_browser_the_tests_fail_and_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    assert installed() is None
    with pytest.raises(NoChromium, match="apt-get install chromium"):
        fetched(tmp_path / "chromium")
