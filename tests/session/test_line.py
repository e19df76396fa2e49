"""Lines: who holds a position, and what two lines share."""

import pytest

from api.session.document import FIRST_BRANCH, Branch
from api.session.line import Line, Segment, by_number, common_prefix, line_of
from tests.session.in_memory import InMemorySession

#   0: 0 1 2 3
#   1:   1 2 3      leaves 0 before position 1
#   2:       3 4    leaves 1 before position 3
#   3: 0            begins anew
BRANCHES = (
    FIRST_BRANCH,
    Branch(number=1, parent=0, branch_point=1),
    Branch(number=2, parent=1, branch_point=3),
    Branch(number=3, parent=None, branch_point=0),
)


def test_a_line_is_the_branch_and_its_ancestors_lowest_first() -> None:
    line = line_of(BRANCHES, 2, 5)

    assert line == Line(
        (
            Segment(branch=0, first=0, end=1),
            Segment(branch=1, first=1, end=3),
            Segment(branch=2, first=3, end=5),
        )
    )
    assert list(line.places()) == [(0, 0), (1, 1), (1, 2), (2, 3), (2, 4)]
    assert list(line.places(first=2)) == [(1, 2), (2, 3), (2, 4)]


def test_a_line_without_turns_has_no_segments() -> None:
    assert line_of(BRANCHES, 0, 0) == Line()


@pytest.mark.parametrize(
    ("position", "owner"), [(-1, None), (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, None)]
)
def test_a_position_is_owned_by_one_branch(position: int, owner: int | None) -> None:
    assert line_of(BRANCHES, 2, 5).owner(position) == owner


def test_the_upper_part_of_a_line_does_not_reach_below() -> None:
    upper = Line((Segment(branch=2, first=3, end=5),))

    assert (upper.owner(2), upper.owner(3)) == (None, 2)


def test_a_line_holds_its_own_turns_alone() -> None:
    session = InMemorySession()
    session.talk(2)
    session.rewind(1)
    session.talk(1)

    assert [session.line.holds(session.turn(f"trn_{n}")) for n in (1, 2, 3)] == [True, False, True]


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [
        ((0, 4), (0, 4), 4),
        ((0, 4), (1, 4), 1),
        ((1, 4), (2, 5), 3),
        ((0, 4), (2, 5), 1),
        ((0, 4), (3, 1), 0),
        ((0, 0), (0, 4), 0),
        ((2, 4), (2, 5), 4),
    ],
)
def test_two_lines_share_their_common_beginning(a: tuple[int, int], b: tuple[int, int], shared: int) -> None:
    line_a, line_b = line_of(BRANCHES, *a), line_of(BRANCHES, *b)

    assert common_prefix(line_a, line_b) == common_prefix(line_b, line_a) == shared


def test_a_line_can_be_found_in_branches_that_are_numbered_already() -> None:
    assert line_of(by_number(BRANCHES), 2, 5) == line_of(BRANCHES, 2, 5)
