"""Which revision the caller has seen."""

import pytest

from api.routes.errors import (
    ContradictingPreconditions,
    MalformedPrecondition,
    PreconditionRequired,
    status_of,
)
from api.routes.preconditions import NEVER, Expected, is_not_modified, parse_expected, require_expected
from api.routes.stale import PreconditionFailed, StaleRevision
from api.session.conflicts import Advice
from api.store.errors import RevisionConflict


def test_the_header_and_the_body_each_name_a_revision() -> None:
    assert parse_expected(['"7"'], None) == Expected(revision=7, source="if-match")
    assert parse_expected([], 7) == Expected(revision=7, source="body")
    assert parse_expected(['"7"'], 7) == Expected(revision=7, source="if-match")


def test_a_star_will_take_any_revision() -> None:
    assert parse_expected([" * "], None) == Expected(revision=None, source="if-match")


def test_a_list_matches_each_of_its_revisions() -> None:
    expected = parse_expected(['"3", "7"', ' ,"x"'], None)

    assert expected == Expected(revision=7, others=(3,), source="if-match")
    assert [expected.against(actual) for actual in (3, 7, 9)] == [3, 7, 7]


@pytest.mark.parametrize("value", ['W/"7"', '"abc"', '"0"', '"07"', '"-7"', '""', '"' + "9" * 30 + '"'])
def test_a_weak_or_foreign_tag_never_matches(value: str) -> None:
    assert parse_expected([value], None) == Expected(revision=NEVER, source="if-match")


@pytest.mark.parametrize(
    "value", ["", " ", "7", '"7', '7"', '"7" "8"', '*, "7"', 'w/"7"', "'7'", ",", '"7";', '"\x7f"']
)
def test_what_is_no_list_of_tags_is_malformed(value: str) -> None:
    with pytest.raises(MalformedPrecondition):
        parse_expected([value], None)


@pytest.mark.parametrize("header", ['"8"', "*", 'W/"7"', '"8", "9"'])
def test_header_and_body_may_not_differ(header: str) -> None:
    with pytest.raises(ContradictingPreconditions):
        parse_expected([header], 7)


def test_a_body_that_names_one_of_the_list_means_that_one() -> None:
    assert parse_expected(['"7", "8"'], 7) == Expected(revision=7, source="if-match")


def test_a_change_needs_a_revision() -> None:
    assert parse_expected([], None) is None
    with pytest.raises(PreconditionRequired):
        require_expected([], None)


def test_a_stale_header_is_412_and_a_stale_body_409() -> None:
    conflict = RevisionConflict(session_id="ses_1", expected=7, actual=9, changes=(), advice=Advice.REBASE)

    header = Expected(revision=7, source="if-match").stale(conflict)
    body = Expected(revision=7, source="body").stale(conflict)

    assert (type(header), status_of(header)) == (PreconditionFailed, 412)
    assert (type(body), status_of(body)) == (StaleRevision, 409)


@pytest.mark.parametrize("value", ['"7"', 'W/"7"', "*", '"3", W/"7"'])
def test_a_reader_that_has_the_revision_needs_no_document(value: str) -> None:
    assert is_not_modified([value], 7)


@pytest.mark.parametrize("values", [[], ['"6"'], ["7"], [""], ['"07"']])
def test_any_other_reader_gets_the_document(values: list[str]) -> None:
    assert not is_not_modified(values, 7)


def test_a_hostile_list_is_read_in_linear_time() -> None:
    with pytest.raises(MalformedPrecondition):
        parse_expected([", " * 50_000 + "x"], None)
