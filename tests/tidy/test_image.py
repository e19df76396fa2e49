"""Dockerfile and compose.yaml name what there is: files, extras, commands, settings, ports and probes."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from api.cli import _parser
from api.routes import health
from api.settings import load, settings
from tests import image

ROOT = image.ROOT
FOREIGN = {"PATH", "PYTHONUNBUFFERED"}
"""Variables of the image that are no settings."""
KEPT_OUT = (".git/config", ".env", ".venv/pyvenv.cfg", "tests/conftest.py", "api/__pycache__/x.pyc", "data/x")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """compose.yaml, with its anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def environments(compose: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What our own containers are given, as the composition fills it in for somebody without accounts."""
    for name in ("service", "worker"):
        given = compose["services"][name]["environment"]
        yield {
            variable: re.sub(
                r"\$\{\w+:([-?])[^}]*\}", lambda found: "secret" if found[1] == "?" else "", value
            )
            for variable, value in given.items()
        }


def test_the_image_is_built_from_files_that_are_there_and_sent_to_the_engine() -> None:
    copied = [ROOT / name for name, _ in image.sources()]

    assert [path.name for path in copied if not path.exists()] == []
    assert [path.name for path in copied if not image.is_sent(path)] == []
    assert [name for name in KEPT_OUT if image.is_sent(ROOT / name)] == []


def test_all_that_a_wheel_is_made_of_is_copied(project: dict[str, Any], tmp_path: Path) -> None:
    image.lay(tmp_path)

    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"]
    assert [name for name in (*needed, "constraints.txt") if not (tmp_path / name).exists()] == []
    ours = {
        path.relative_to(ROOT) for name in ("api", "db", "migrations") for path in (ROOT / name).rglob("*")
    }
    laid = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert {path for path in ours if "__pycache__" not in path.parts} <= laid
    assert not {path for path in laid if "__pycache__" in path.parts}


def test_the_image_installs_extras_that_there_are_with_the_versions_that_are_tested(
    project: dict[str, Any],
) -> None:
    extras = set(image.installed().strip(".[]").split(","))
    optional = project["project"]["optional-dependencies"]
    [install] = [one.rest for one in image.instructions() if "pip install" in one.rest]

    assert extras == optional.keys() - {"dev"}, "an image has all that a setting can ask for"
    assert "--constraint constraints.txt" in install


def test_only_base_images_are_needed_and_they_are_new_enough(
    compose: dict[str, Any], project: dict[str, Any]
) -> None:
    bases = {one.rest.split()[0] for one in image.instructions() if one.word == "FROM"}
    foreign = {service["image"] for service in compose["services"].values() if "image" in service}

    [python] = [re.fullmatch(r"python:3\.(\d+)-slim", base) for base in bases]
    [postgres] = [re.fullmatch(r"postgres:(\d+)", base) for base in foreign]
    assert python is not None
    assert int(python[1]) >= int(project["project"]["requires-python"].removeprefix(">=3."))
    assert postgres is not None
    assert int(postgres[1]) >= 15


def test_every_variable_is_a_setting_and_its_value_can_be_used(compose: dict[str, Any]) -> None:
    known = {setting.variable for setting in settings()}
    of_image = {name: value for name, value in image.variables().items() if name not in FOREIGN}

    for given in environments(compose):
        assert set(given) | set(of_image) <= known
        current = load({**of_image, **given}, {})
        assert current.unknown_variables == ()
        assert urlsplit(current.database_url or "").hostname in compose["services"]
        assert current.metrics_token is None, "set to nothing it is not set"


def test_commands_and_their_arguments_are_those_of_the_command_line(
    compose: dict[str, Any], project: dict[str, Any]
) -> None:
    [entry] = image.words_of("ENTRYPOINT")
    commands = [
        image.words_of("CMD"),
        *(compose["services"][name]["command"] for name in ("service", "worker")),
    ]

    assert entry in project["project"]["scripts"]
    for words in commands:
        _parser(words[0]).parse_args(words)
    head = (ROOT / "compose.yaml").read_text()
    for line in re.findall(r"turnledger ([a-z]+ [a-z]+ \w+)", head):
        _parser(line.split()[0]).parse_args(line.split())


def test_ports_and_probes_are_those_of_the_service(compose: dict[str, Any]) -> None:
    [exposed] = [one.rest for one in image.instructions() if one.word == "EXPOSE"]
    current = load({name: value for name, value in image.variables().items() if name not in FOREIGN}, {})
    service, worker = compose["services"]["service"], compose["services"]["worker"]
    probes = [one["healthcheck"]["test"][-1] for one in (service, worker)]
    [of_service, of_worker] = [urlsplit(re.findall(r"http://[^']+", probe)[0]) for probe in probes]

    assert int(exposed) == current.port
    assert service["ports"] == [f"127.0.0.1:{current.port}:{current.port}"], "nobody but this machine gets in"
    assert "ports" not in worker
    assert of_service.port == current.port
    assert of_worker.port == int(worker["environment"]["TURNLEDGER_METRICS_PORT"])
    assert {of_service.path, of_worker.path} <= {operation.path for operation in health.OPERATIONS}
    for probe in probes:
        compile(probe, "healthcheck", "exec")


def test_a_stop_gives_turns_the_time_that_they_are_promised(compose: dict[str, Any]) -> None:
    [stop] = [one.rest for one in image.instructions() if one.word == "STOPSIGNAL"]

    assert stop == "SIGTERM"
    for name in ("service", "worker"):
        grace = compose["services"][name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) >= load({}, {}).shutdown_grace_seconds + 5


def test_the_service_waits_for_a_database_that_takes_connections(compose: dict[str, Any]) -> None:
    database = compose["services"]["database"]
    [volume] = database["volumes"]

    # While its folder is made, the server of the image listens on its socket alone.
    assert "--host 127.0.0.1" in database["healthcheck"]["test"][-1]
    assert volume == "database:/var/lib/postgresql", "from 18 on the data lie below, by version"
    for name in ("service", "worker"):
        assert compose["services"][name]["depends_on"] == {"database": {"condition": "service_healthy"}}
