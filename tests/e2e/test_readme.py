"""The script that runs the README finds what the README says wrongly."""

from pathlib import Path

import pytest

from tests.e2e.readme import SERVE, Mismatch, Shell, compare, steps_of

PAGE = """\
Text.

```sh
$ not this
```

```console
$ echo one
one
$ cat <<'END'
> two
> END
two

$ true
```
"""
ID = "ses_" + "1" * 32
OTHER = "ses_" + "2" * 32


def test_steps_are_commands_with_what_they_must_print() -> None:
    steps = [(step.line_number, step.command, step.expected) for step in steps_of(PAGE)]

    assert steps == [(8, "echo one", "one"), (10, "cat <<'END'\ntwo\nEND", "two\n"), (15, "true", "")]


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one\ntwo", "one\ntwo\n"),
        ("...\ntwo", "zero\none\ntwo"),
        ("one\n...\nthree", "one\ntwo\ntwo and a half\nthree"),
        ("one\n...\nthree", "one\nthree"),
        ("one\n...", "one\ntwo\nthree"),
        ("one ... three", "one and two and three"),
        (f"{ID} {ID}", f"{OTHER} {OTHER}"),
        ("at 2026-01-01T10:00:00.123456Z", "at 2027-12-31T23:59:59Z"),
        ('"latency_ms": 3', '"latency_ms": 14'),
        ("http://127.0.0.1:8080/schema", "http://127.0.0.1:41234/schema"),
        ('{"text": "(a|b)*"}', '{"text": "(a|b)*"}'),
    ],
)
def test_what_differs_between_two_runs_is_no_fault(expected: str, printed: str) -> None:
    compare(expected, printed, {})


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one", "two"),
        ("one", "one\ntwo"),
        ("one\n...\nthree", "one\ntwo"),
        (f"{ID} {ID}", f"{OTHER} {ID}"),
        ('"cost": "0.000231"', '"cost": "0.000232"'),
        ('"revision": 7', '"revision": 8'),
        (ID, "ses_short"),
    ],
)
def test_anything_else_is_a_fault(expected: str, printed: str) -> None:
    with pytest.raises(Mismatch):
        compare(expected, printed, {})


def test_an_id_is_the_same_one_in_every_block() -> None:
    known: dict[str, str] = {}
    compare(ID, OTHER, known)

    compare(f"again {ID}", f"again {OTHER}", known)

    with pytest.raises(Mismatch):
        compare(f"again {ID}", f"again {ID}", known)


def test_the_shell_remembers_what_a_command_sets_and_tells_of_failure(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        shell.run('name=Ada; f() { echo "I am $name"; }')
        assert shell.run("f").strip() == "I am Ada"
        with pytest.raises(Mismatch, match="code 3"):
            shell.run("(exit 3)")
    finally:
        shell.close()


def test_the_readme_of_this_project_can_be_read() -> None:
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text()

    steps = list(steps_of(page))

    assert steps[0].command == SERVE
    assert any(step.command.startswith("python3 run.py chat") for step in steps)
    assert sum(bool(step.expected.strip()) for step in steps) > 10
