"""Entity tags (RFC 9110 8.8.3). A session's tag is its revision in quotes: `"7"`."""

import re
from collections.abc import Sequence

import msgspec

_ELEMENT = re.compile(r'[ \t]*(?:(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)")?[ \t]*(?:,|\Z)')
_REVISION = re.compile(r"[1-9][0-9]{0,9}")

REVISION_MAX = 2**31 - 1
"""The highest revision that the database can hold."""


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """One entity tag as a client sent it."""

    opaque: str
    """What stands between the quotes."""
    is_weak: bool = False

    @property
    def revision(self) -> int | None:
        """The revision that this tag names; None for a tag that no session ever had."""
        if not _REVISION.fullmatch(self.opaque) or int(self.opaque) > REVISION_MAX:
            return None
        return int(self.opaque)


def etag_of(revision: int) -> str:
    """Write the strong tag of a session at `revision`."""
    return f'"{revision}"'


def parse_tags(values: Sequence[str]) -> tuple[Tag, ...] | None:
    """Read the lines of an `If-Match` or `If-None-Match` field; None for `*`.

    Raises:
        ValueError: neither `*` nor a list of at least one tag.
    """
    text = ",".join(values).strip()
    if text == "*":
        return None
    tags = []
    at = 0
    while at < len(text):
        element = _ELEMENT.match(text, at)
        if element is None:
            raise ValueError("not a list of entity tags")
        if element["opaque"] is not None:
            tags.append(Tag(opaque=element["opaque"], is_weak=element["weak"] is not None))
        at = element.end()
    if not tags:
        raise ValueError("an empty list of entity tags")
    return tuple(tags)
