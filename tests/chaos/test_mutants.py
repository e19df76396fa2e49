"""Every seeded fault still fits the product's source; that each is caught is for `make mutants` to show."""

import importlib.util
from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Edit, EditDoesNotFit, applied
from tests.chaos.scenarios import SCENARIOS


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fits_the_source_and_has_a_scenario(name: str) -> None:
    mutant = MUTANTS[name]

    for module in {edit.module for edit in mutant.edits}:
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        edits = tuple(edit for edit in mutant.edits if edit.module == module)
        source = Path(spec.origin).read_text()
        faulty = applied(source, edits)

        assert faulty != source
        compile(faulty, spec.origin, "exec")
    assert mutant.scenario in SCENARIOS


def test_an_edit_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(EditDoesNotFit):
        applied("a = 1\na = 1\n", (Edit("x", "a = 1", "a = 2"),))
