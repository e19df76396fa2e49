"""The published schema in the tree is the one that the operations make."""

from pathlib import Path

from api.routes.mounting import openapi_document


def test_the_exported_schema_is_fresh(root: Path) -> None:
    exported = (root / "openapi" / "openapi.json").read_bytes()

    assert exported == openapi_document(), "run `make openapi`"
