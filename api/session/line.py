"""Which turn stands where: the current branch and its ancestors, laid end to end.

A branch leaves its parent at its branch point, so a line is a few stretches of branches. A turn is found
by (branch, position) alone; nothing here reads a turn's content.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from api.session.document import Branch, Turn


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The positions `first .. end - 1` of a line, all on one branch."""

    branch: int
    first: int
    end: int


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line, or its upper part: segments without gaps, lowest first."""

    segments: tuple[Segment, ...] = ()

    def owner(self, position: int) -> int | None:
        """The branch that holds `position`; None where the line, or the part given, does not reach."""
        for segment in reversed(self.segments):
            if segment.first <= position < segment.end:
                return segment.branch
        return None

    def holds(self, turn: Turn) -> bool:
        """Whether `turn` is on this line."""
        return self.owner(turn.position) == turn.branch

    def places(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """(branch, position) of every turn from position `first` on."""
        for segment in self.segments:
            for position in range(max(first, segment.first), segment.end):
                yield segment.branch, position


def by_number(branches: Iterable[Branch]) -> Mapping[int, Branch]:
    """Branches as `line_of` takes them where it is asked for many lines."""
    return {branch.number: branch for branch in branches}


def line_of(branches: Iterable[Branch] | Mapping[int, Branch], branch: int, turn_count: int) -> Line:
    """The line that ends with `branch` and has `turn_count` turns.

    `branches` must name `branch` and every ancestor; others do no harm.
    """
    numbered = branches if isinstance(branches, Mapping) else by_number(branches)
    return Line(tuple(_segments_downwards(numbered, branch, turn_count))[::-1])


def common_prefix(line_a: Line, line_b: Line) -> int:
    """How many turns, counted from position 0, the two whole lines share."""
    shared = 0
    for a, b in zip(line_a.segments, line_b.segments, strict=False):
        if a.branch != b.branch:
            break
        # Where one line leaves the branch before the other, their next branches differ.
        shared = min(a.end, b.end)
    return shared


def _segments_downwards(branches: Mapping[int, Branch], number: int | None, end: int) -> Iterator[Segment]:
    while number is not None:
        branch = branches[number]
        if branch.branch_point < end:
            yield Segment(branch=number, first=branch.branch_point, end=end)
            end = branch.branch_point
        number = branch.parent
