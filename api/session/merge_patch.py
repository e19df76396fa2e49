"""JSON Merge Patch (RFC 7396), by which a session's metadata is changed."""

from typing import Any


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The target with the patch applied: null removes a member, an object is merged, all else replaces.

    Neither argument is changed. A patch that is no object replaces the whole target (RFC 7396 2); metadata
    is always an object, so such a patch is none here.
    """
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            member = merged.get(name)
            merged[name] = merge_patch(member if isinstance(member, dict) else {}, value)
        else:
            merged[name] = value
    return merged
