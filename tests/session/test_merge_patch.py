"""JSON Merge Patch, on the examples of RFC 7396 appendix A whose target and patch are objects."""

from copy import deepcopy
from typing import Any

import pytest

from api.session.merge_patch import merge_patch


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "b"}, {"a": {"b": "c"}}, {"a": {"b": "c"}}),
        ({"a": "b"}, {}, {"a": "b"}),
        ({}, {"a": None}, {}),
    ],
)
def test_a_patch_is_merged_and_changes_neither_argument(
    target: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]
) -> None:
    target_before, patch_before = deepcopy(target), deepcopy(patch)

    assert merge_patch(target, patch) == merged

    assert (target, patch) == (target_before, patch_before)
