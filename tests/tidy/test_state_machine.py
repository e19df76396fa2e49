"""The page on the state machine says what the code does."""

import runpy
from pathlib import Path

import pytest

from api.session.diagram import REASONS, render
from api.session.document import TURN_TRANSITIONS

PAGE = Path(__file__).parents[2] / "docs" / "state-machine.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == render() + "\n", (
        "write it again: python -m api.session.diagram > docs/state-machine.md"
    )


def test_every_arrow_has_its_reason() -> None:
    arrows = {(source, target) for source, targets in TURN_TRANSITIONS.items() for target in targets}

    assert set(REASONS) == arrows


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_page_is_printed_by_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("api.session.diagram", run_name="__main__")

    assert capsys.readouterr().out == render() + "\n"
