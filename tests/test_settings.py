"""The settings: where values come from, what is refused, what is never shown."""

import base64
import itertools
from pathlib import Path

import msgspec
import pytest

from api.setting_values import ModelProvider, ToolFunction
from api.settings import (
    Settings,
    SettingsError,
    Source,
    default_data_dir,
    in_force,
    load,
    settings,
)
from api.settings_page import render_page


def faults_of(environ: dict[str, str], **overrides: object) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, overrides)
    return dict(caught.value.faults)


def test_every_setting_has_a_default() -> None:
    loaded = load({}, {})

    assert loaded.port == 8080
    assert loaded.host == "127.0.0.1"
    assert loaded.database_url is None
    assert loaded.lock_timeout_ms == 2000
    assert loaded.model_providers == ()
    assert loaded.sources == {}
    assert loaded.unknown_variables == ()


def test_the_environment_overrides_a_default_and_a_flag_overrides_both() -> None:
    environ = {"TURNLEDGER_PORT": "9000", "TURNLEDGER_RUNNERS": "2", "TURNLEDGER_LEASE_SECONDS": "30"}

    loaded = load(environ, {"port": 9001, "host": None, "runners": 0})

    assert (loaded.port, loaded.runners, loaded.lease_seconds) == (9001, 0, 30.0)
    assert loaded.sources == {
        "port": Source.FLAG,
        "runners": Source.FLAG,
        "lease_seconds": Source.ENVIRONMENT,
    }


def test_a_flag_with_the_name_of_no_setting_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="colour"):
        load({}, {"colour": "red"})


def test_a_variable_that_is_set_to_nothing_counts_as_not_set() -> None:
    loaded = load({"TURNLEDGER_PORT": " ", "OPENAI_API_KEY": "", "TURNLEDGER_DATABASE_URL": ""}, {})

    assert loaded.port == 8080
    assert loaded.openai_api_key is None
    assert loaded.sources == {}


def test_the_customary_variables_of_providers_are_honoured() -> None:
    environ = {
        "OPENAI_API_KEY": "one",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1/",
        "ANTHROPIC_API_KEY": "two",
    }

    loaded = load(environ, {})

    assert (loaded.openai_api_key, loaded.anthropic_api_key) == ("one", "two")
    assert loaded.openai_base_url == "http://127.0.0.1:9/v1"


def test_every_faulty_value_is_named_at_once() -> None:
    environ = {
        "TURNLEDGER_PORT": "seventy",
        "TURNLEDGER_RUNNERS": "-1",
        "TURNLEDGER_LOG_FORMAT": "xml",
        "TURNLEDGER_DATABASE_URL": "mysql://here",
        "TURNLEDGER_LEASE_SECONDS": "nan",
        "OPENAI_API_KEY": "two words",
    }

    faults = faults_of(environ, lock_timeout_ms="2s")

    assert faults == {
        "TURNLEDGER_PORT": "must be an integer from 0 to 65535, not 'seventy'",
        "TURNLEDGER_RUNNERS": "must be an integer from 0 to 1000, not '-1'",
        "TURNLEDGER_LOG_FORMAT": "must be `pretty` or `json`, not 'xml'",
        "TURNLEDGER_DATABASE_URL": "must be a URL that begins with `postgresql://`",
        "TURNLEDGER_LEASE_SECONDS": "must be a number from 0.2 to 3600, not 'nan'",
        "OPENAI_API_KEY": "must be printable ASCII without spaces",
        "--lock-timeout-ms": "must be an integer from 10 to 600000, not '2s'",
    }


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("lock_timeout_ms", "statement_timeout_ms"),
        ("text_bytes_max", "body_bytes_max"),
        ("context_bytes_max", "body_bytes_max"),
        ("metadata_bytes_max", "body_bytes_max"),
        ("wait_seconds_default", "wait_seconds_max"),
        ("heartbeat_seconds", "lease_seconds"),
    ],
)
def test_values_that_contradict_each_other_are_refused(small: str, large: str) -> None:
    fits = {"heartbeat_seconds": 1000}.get(small, 2000)
    others = dict.fromkeys(("text_bytes_max", "context_bytes_max", "metadata_bytes_max"), 2)

    assert getattr(load({}, {**others, small: fits, large: 2000}), small) == fits
    assert list(faults_of({}, **{**others, small: fits + 1, large: 2000})) == [f"TURNLEDGER_{small.upper()}"]


def test_row_level_security_is_refused_behind_a_pooler_that_knows_no_prepared_statements() -> None:
    both = {"row_level_security": "on", "prepared_statements": "off"}

    assert list(faults_of({}, **both)) == ["TURNLEDGER_ROW_LEVEL_SECURITY"]
    for name in both:
        assert getattr(load({}, {name: both[name]}), name) == both[name]


def test_a_choice_is_read_in_either_case() -> None:
    assert load({"TURNLEDGER_LOG_LEVEL": "INFO"}, {}).log_level == "info"


def test_providers_are_read_with_the_keys_that_belong_to_them() -> None:
    environ = {
        "TURNLEDGER_MODEL_PROVIDERS": "local=http://127.0.0.1:8000/v1, far-away=https://models.example/v1/",
        "TURNLEDGER_MODEL_KEY_FAR_AWAY": "secret-of-far-away",
    }

    loaded = load(environ, {})

    assert loaded.model_providers == (
        ModelProvider(name="local", base_url="http://127.0.0.1:8000/v1"),
        ModelProvider(name="far-away", base_url="https://models.example/v1", api_key="secret-of-far-away"),
    )
    assert loaded.unknown_variables == ()


@pytest.mark.parametrize(
    "value",
    [
        "local",
        "local=",
        "=http://models.example",
        "Local=http://models.example",
        "openai=http://models.example",
        "local=ftp://models.example",
        "local=http://person:password@models.example",
        "local=http://models.example?key=1",
        "local=http://models.example:port",
        "local=http://models.example,local=http://other.example",
        "local=http://models.example,",
    ],
)
def test_providers_that_cannot_be_used_are_refused_and_not_repeated(value: str) -> None:
    faults = faults_of({"TURNLEDGER_MODEL_PROVIDERS": value})

    assert list(faults) == ["TURNLEDGER_MODEL_PROVIDERS"]
    assert "example" not in faults["TURNLEDGER_MODEL_PROVIDERS"]


def test_a_provider_key_that_no_header_can_carry_is_refused() -> None:
    environ = {
        "TURNLEDGER_MODEL_PROVIDERS": "local=http://models.example",
        "TURNLEDGER_MODEL_KEY_LOCAL": "a\nb",
    }

    assert faults_of(environ) == {"TURNLEDGER_MODEL_KEY_LOCAL": "must be printable ASCII without spaces"}


def test_variables_that_mean_nothing_are_listed_for_a_warning() -> None:
    environ = {"TURNLEDGER_PROT": "80", "TURNLEDGER_MODEL_KEY_NOBODY": "x", "PATH": "/bin"}

    assert load(environ, {}).unknown_variables == ("TURNLEDGER_MODEL_KEY_NOBODY", "TURNLEDGER_PROT")


def test_secrets_are_shown_nowhere() -> None:
    environ = {
        "OPENAI_API_KEY": "hush-1",
        "ANTHROPIC_API_KEY": "hush-2",
        "TURNLEDGER_DATABASE_URL": "postgresql://person:hush-3@db.example/turnledger",
        "TURNLEDGER_MODEL_PROVIDERS": "local=http://models.example",
        "TURNLEDGER_MODEL_KEY_LOCAL": "hush-4",
    }

    loaded = load(environ, {})

    rich = list(loaded.__rich_repr__()) + list(loaded.model_providers[0].__rich_repr__())
    assert "hush" not in f"{loaded} {loaded!r} {loaded.model_providers!r} {rich} {in_force(loaded)}"
    assert ("database_url", "(set)", Source.ENVIRONMENT) in in_force(loaded)
    assert ("model_providers", "local=http://models.example (key set)", Source.ENVIRONMENT) in in_force(
        loaded
    )


def test_what_is_in_force_lists_every_setting_with_its_source() -> None:
    rows = in_force(load({"TURNLEDGER_HEARTBEAT_SECONDS": "2.5"}, {}))

    assert [name for name, _, _ in rows] == [setting.name for setting in settings()]
    assert ("heartbeat_seconds", "2.5", Source.ENVIRONMENT) in rows
    assert ("port", "8080", Source.DEFAULT) in rows
    assert ("database_url", "(not set)", Source.DEFAULT) in rows


def test_the_data_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load({"TURNLEDGER_DATA_DIR": "here"}, {}).data_dir == tmp_path / "here"
    assert list(faults_of({}, data_dir="~no-such-account-7/x")) == ["--data-dir"]
    assert list(faults_of({}, data_dir="")) == ["--data-dir"]


@pytest.mark.parametrize(
    ("account", "platform", "environ", "expected"),
    [
        (0, "linux", {"HOME": "/root"}, "/var/lib/turnledger"),
        (1000, "linux", {"HOME": "/home/ada"}, "/home/ada/.local/share/turnledger"),
        (1000, "linux", {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, "/data/turnledger"),
        (1000, "darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Application Support/turnledger"),
        (1000, "win32", {"HOME": "/ada"}, "/ada/AppData/Local/turnledger"),
        (1000, "linux", {"HOME": "~"}, "/var/lib/turnledger"),
    ],
)
def test_the_data_folder_is_where_the_account_keeps_data(
    account: int, platform: str, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: account, raising=False)
    monkeypatch.setattr("sys.platform", platform)

    assert default_data_dir(environ) == Path(expected)


def test_every_default_lies_within_its_bounds() -> None:
    loaded = load({}, {})

    for setting in settings():
        msgspec.convert(getattr(loaded, setting.name), setting.type)


def test_every_number_has_a_lower_and_an_upper_bound() -> None:
    numbers = [setting for setting in settings() if " from " in setting.expects]

    assert len(numbers) > 20
    assert not [setting.name for setting in numbers if "None" in setting.expects]


def test_every_variable_stands_once_on_the_page_with_a_sentence() -> None:
    page = render_page()

    for setting in settings():
        rows = [line for line in page.splitlines() if line.startswith(f"| `{setting.variable}` |")]
        assert len(rows) == 1
        assert rows[0].endswith(". |")


def test_no_two_settings_read_one_variable() -> None:
    variables = [setting.variable for setting in settings()]

    assert not [a for a, b in itertools.combinations(variables, 2) if a == b]


def test_settings_made_directly_know_no_sources() -> None:
    made = Settings(port=1)

    assert ("port", "1", Source.DEFAULT) in in_force(made)


def test_tools_are_declared_by_name() -> None:
    environ = {
        "TURNLEDGER_TOOL_FUNCTIONS": "greet=shop.tools:greet, quote=shop.tools:Prices.quote",
        "TURNLEDGER_TOOL_HOSTS_ALLOWED": "crm.internal:8443, 10.0.0.0/8,fd00::/8",
        "TURNLEDGER_MCP_SERVERS": '{"files": {"command": "files", "args": ["-r"], "env": ["FILES"]},'
        ' "crm": {"url": "https://crm.example/mcp", "headers": {"X-Key": "hidden {{environ.CRM}}"}}}',
    }

    loaded = load(environ, {})

    assert loaded.tool_functions == (
        ToolFunction(name="greet", target="shop.tools:greet"),
        ToolFunction(name="quote", target="shop.tools:Prices.quote"),
    )
    assert loaded.tool_hosts_allowed == ("crm.internal:8443", "10.0.0.0/8", "fd00::/8")
    assert [server.name for server in loaded.mcp_servers] == ["files", "crm"]
    shown = {name: value for name, value, _ in in_force(loaded)}
    assert shown["mcp_servers"] == "files=files,crm=https://crm.example/mcp"
    assert shown["tool_functions"] == "greet=shop.tools:greet,quote=shop.tools:Prices.quote"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TURNLEDGER_TOOL_FUNCTIONS", "greet"),
        ("TURNLEDGER_TOOL_FUNCTIONS", "greet=shop.tools"),
        ("TURNLEDGER_TOOL_FUNCTIONS", "a=b:c,a=b:d"),
        ("TURNLEDGER_TOOL_HOSTS_ALLOWED", "http://x y"),
        ("TURNLEDGER_MCP_SERVERS", "{"),
        ("TURNLEDGER_MCP_SERVERS", "[]"),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a b": {"command": "x"}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {"command": "x", "url": "http://x"}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {"url": "ftp://x"}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {"url": "http://x", "args": ["y"]}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {"command": "x", "headers": {"A": "b"}}}'),
        ("TURNLEDGER_MCP_SERVERS", '{"a": {"command": "x", "more": 1}}'),
        ("TURNLEDGER_SECRETS_KEY", "short"),
        ("TURNLEDGER_SECRETS_KEY", "c2hvcnQ="),
    ],
)
def test_tools_that_cannot_be_declared_so_are_refused(variable: str, text: str) -> None:
    faults = faults_of({variable: text})

    assert list(faults) == [variable]
    assert f"not {text!r}" not in faults[variable]


def test_the_keys_of_secrets_are_read_in_order_and_never_shown() -> None:
    keys = [bytes([number]) * 32 for number in (1, 2)]
    text = ", ".join(base64.b64encode(key).decode() for key in keys)

    loaded = load({"TURNLEDGER_SECRETS_KEY": text}, {})

    assert loaded.secrets_key == tuple(keys)
    assert ("secrets_key", "(set)", Source.ENVIRONMENT) in in_force(loaded)
    assert "\\x01" not in repr(loaded)
