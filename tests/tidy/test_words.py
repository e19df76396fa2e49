"""One spelling, no notes to self, and nothing that tells of a machine or of where packages came from."""

import re
from pathlib import Path

import pytest

ITSELF = "tests/tidy/test_words.py"
"""This file names what it looks for."""

ONE_L = re.compile(r"cancel(?:ed|ing|ation)\b", re.IGNORECASE)
ONE_L_EXCEPT: dict[str, str] = {}
"""Files in which a provider's protocol spells it with one l, and which protocol that is."""

NOTES = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")

HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|artifactory|devpi|(?<!emit-)\b(?:extra-)?index-url\b",
    re.IGNORECASE,
)


def lines_with(pattern: re.Pattern[str], files: dict[str, str]) -> list[str]:
    """List `file:line` of every match."""
    return [
        f"{name}:{number}"
        for name, text in files.items()
        if name != ITSELF
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def paths_of_this_machine(root: Path) -> re.Pattern[str]:
    """Match the folder that holds the checkout, and the folder of the person who works in it."""
    places = {str(root.parent), str(Path.home())} - {"/", "/root", "/home", "/tmp", "/src", "/app"}
    return re.compile(
        "|".join(rf"(?<![\w.]){re.escape(place)}(?:/|\b)" for place in sorted(places)) or r"(?!)"
    )


def test_cancelled_has_two_ls(files: dict[str, str]) -> None:
    ours = {name: text for name, text in files.items() if name not in ONE_L_EXCEPT}

    assert lines_with(ONE_L, ours) == []


def test_there_are_no_notes_to_self(files: dict[str, str]) -> None:
    assert lines_with(NOTES, files) == []


def test_no_file_tells_where_packages_come_from(files: dict[str, str]) -> None:
    assert lines_with(HOSTS, files) == []


def test_the_constraints_carry_no_addresses(files: dict[str, str]) -> None:
    assert lines_with(re.compile("://| @ |^-"), {"constraints.txt": files.get("constraints.txt", "")}) == []


def test_no_file_names_a_path_of_this_machine(files: dict[str, str], root: Path) -> None:
    assert lines_with(paths_of_this_machine(root), files) == []


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (ONE_L, "a turn was canceled"),
        (ONE_L, "Canceling"),
        (ONE_L, "cancelation"),
        (NOTES, "# TODO: later"),
        (HOSTS, "https://files.pythonhosted.org/x"),
        (HOSTS, "--index-url https://packages.example"),
        (paths_of_this_machine(Path("/srv/ada/turnledger")), "see /srv/ada/notes.md"),
    ],
)
def test_a_fault_would_be_found(pattern: re.Pattern[str], line: str) -> None:
    assert lines_with(pattern, {"docs/x.md": f"fine\n{line}\n"}) == ["docs/x.md:2"]


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (ONE_L, "cancelled, cancelling, cancellation, cancels, CancelledError"),
        (NOTES, "hacking on it"),
        (HOSTS, "--no-emit-index-url"),
        (paths_of_this_machine(Path("/srv/ada/turnledger")), "/srv/adamant docs/srv/ada"),
    ],
)
def test_what_is_right_is_no_fault(pattern: re.Pattern[str], line: str) -> None:
    assert lines_with(pattern, {"docs/x.md": line}) == []
