"""The schema's viewer."""

import re
from importlib.resources import files

import pytest

from api.routes.docs_viewer import viewer_handlers

from .operations import serving

DOCUMENT = b'{"openapi": "3.1.0"}'


def test_a_browser_gets_the_viewer_and_a_program_the_document() -> None:
    with serving(*viewer_handlers(lambda: DOCUMENT)) as client:
        page = client.get("/schema", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        document = client.get("/schema", headers={"Accept": "application/json"})
        direct = client.get("/schema/openapi.json")

    assert page.headers["content-type"].startswith("text/html")
    assert document.content == direct.content == DOCUMENT
    assert direct.headers["content-type"] == "application/json"


def test_the_viewer_takes_everything_from_here_and_runs_no_inline_script() -> None:
    with serving(*viewer_handlers(lambda: DOCUMENT)) as client:
        page = client.get("/schema")
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        answers = [client.get(path) for path in linked]

    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*\ssrc=)", page.text) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=", page.text)
    assert len(linked) == 4
    assert all(path.startswith("/schema/") for path in linked)
    assert all(answer.status_code == 200 and answer.content for answer in answers)


@pytest.mark.parametrize("name", ["nope.js", "..%2F..%2Ferrors.py", "README.md", "%00"])
def test_nothing_but_the_viewers_files_is_served(name: str) -> None:
    with serving(*viewer_handlers(lambda: DOCUMENT)) as client:
        answer = client.get(f"/schema/static/{name}")

    assert answer.status_code == 404


def test_the_vendored_files_come_with_their_licence() -> None:
    folder = files("api.routes").joinpath("static", "swagger-ui")

    assert "Apache License" in folder.joinpath("LICENSE").read_text()
    assert folder.joinpath("NOTICE").is_file()


def test_the_style_sheet_loads_nothing_from_elsewhere() -> None:
    style = files("api.routes").joinpath("static", "swagger-ui", "swagger-ui.css").read_text()

    assert re.findall(r"url\(\s*[\"']?(?!data:|#|[\"']?data:)[^)]{1,40}", style) == []
