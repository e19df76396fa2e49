"""The command line of the product with a fault in it: `python -m tests.chaos.process serve ...`.

Two variables say which: `CHAOS_CRASH` names a crash point at which this process kills itself, `CHAOS_MUTANT`
lines of the product that are replaced while they are loaded. The product itself has no hooks for either.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from tests.chaos import crash_points, mutants


class _FaultyLoader(importlib.machinery.SourceFileLoader):
    """Loads a module's source with some lines replaced."""

    def __init__(self, name: str, path: str, edits: tuple[mutants.Edit, ...]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        """Compile the faulty source; what is cached on disk is the right one."""
        source = self.get_data(self.path).decode()
        return compile(mutants.applied(source, self._edits), self.path, "exec")


class _FaultyFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of a mutant before anybody else does."""

    def __init__(self, mutant: mutants.Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the modules that the mutant edits alone."""
        edits = tuple(edit for edit in self._mutant.edits if edit.module == fullname)
        if not edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None, f"no module {fullname}"
        assert spec.origin is not None, f"{fullname} has no source"
        loader = _FaultyLoader(fullname, spec.origin, edits)
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=loader,
            submodule_search_locations=spec.submodule_search_locations,
        )


def main() -> None:
    """Put the fault in, then run the command line as any other process."""
    if mutant := os.environ.get("CHAOS_MUTANT"):
        sys.meta_path.insert(0, _FaultyFinder(mutants.MUTANTS[mutant]))
    if crash := os.environ.get("CHAOS_CRASH"):
        crash_points.arm(crash)
    from api.__main__ import main as product

    product()


if __name__ == "__main__":
    main()
