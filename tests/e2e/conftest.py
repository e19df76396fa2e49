"""Folders for real services."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count(1)


@pytest.fixture
def data_dir(run_folder: Path, worker_id: str) -> Iterator[Path]:
    """A data folder of this test, in a place that the account of the embedded Postgres can enter."""
    folder = run_folder / f"service-{worker_id}-{next(_numbers)}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
