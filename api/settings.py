"""Every setting of the service: its name, unit, default, bounds and meaning, and how it is read.

A setting is a field of `Settings`; the field's annotation is the one place that says all of it, and
`docs/configuration.md` is printed from there (`api.settings_page`). A value comes from a command-line
flag, else from the environment (`TURNLEDGER_PORT` for `port`), else from the default.
"""

import os
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from api.setting_values import (
    FUNCTIONS,
    HOSTS,
    MODEL_PROVIDERS,
    SECRETS_KEY,
    SERVERS,
    McpServer,
    ModelProvider,
    ToolFunction,
    read_base_url,
)

PREFIX = "TURNLEDGER_"
MODEL_KEY_PREFIX = "TURNLEDGER_MODEL_KEY_"
"""What precedes a provider's name in the variable that holds its key; see `Settings.model_providers`."""


class Source(StrEnum):
    """Where the value of a setting came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FLAG = "flag"


_Key = Annotated[str, Meta(pattern=r"\A[\x21-\x7e]+\Z")]
_KEY = {"secret": True, "expects": "printable ASCII without spaces"}
_URL = {"read": read_base_url, "expects": "an http or https URL without credentials, query or fragment"}
_PostgresUrl = Annotated[str, Meta(pattern=r"\Apostgres(ql)?://.+")]
_POSTGRES_URL = Meta(extra={"secret": True, "expects": "a URL that begins with `postgresql://`"})


def _read_folder(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text).expanduser().absolute()  # RuntimeError where there is no such home


_DATA_DIR = Meta(
    extra={
        "read": _read_folder,
        "expects": "a path",
        "default": "`/var/lib/turnledger` as root, else `turnledger` in the user's data folder",
    }
)
_MODEL_NAME = Meta(
    pattern=r"\A[\x21-\x7e]{1,180}\Z",
    extra={"expects": "a model's name without `provider:`, printable ASCII without spaces"},
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings in force. Frozen, made by `load`; its repr hides secrets.

    An annotated field is a setting, and its docstring is its line in the documentation.
    """

    host: Annotated[str, Meta(min_length=1, extra={"expects": "an address or a host name"})] = "127.0.0.1"
    """Address that the server listens on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """TCP port that the server listens on; 0 takes a free one."""
    runners: Annotated[int, Meta(ge=0, le=1000)] = 8
    """Turns that this process runs at once; 0 runs none here."""
    organization_turns_max: Annotated[int, Meta(ge=1, le=2_147_483_647)] = 64
    """Turns of one organization that run at once, in all processes; one more for each process at most."""
    shutdown_grace_seconds: Annotated[float, Meta(ge=0, le=600)] = 10
    """Time that open requests and running turns get when the service stops."""
    log_format: Annotated[Literal["pretty", "json"], Meta()] = "pretty"
    """Log lines for people, or one JSON object a line."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta()] = "info"
    """The least severe level that is logged."""

    metrics_token: Annotated[_Key | None, Meta(extra=_KEY)] = None
    """Bearer token with which `/metrics` is read; unset, it is answered on a loopback address alone."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """TCP port on which a worker, which serves nothing else, answers `/metrics` and the probes of its health;
    0: it does not."""
    otlp_endpoint: Annotated[str | None, Meta(extra={**_URL, "variable": "OTEL_EXPORTER_OTLP_ENDPOINT"})] = (
        None
    )
    """OTLP/HTTP receiver that spans are sent to, such as `http://127.0.0.1:4318`; unset, there are none."""

    database_url: Annotated[_PostgresUrl | None, _POSTGRES_URL] = None
    """The Postgres server (15 or newer) to use; unset, the embedded server is started."""
    data_dir: Annotated[Path, _DATA_DIR] = msgspec.field(default_factory=lambda: default_data_dir(os.environ))
    """Folder of the embedded server's data and of the local key."""
    notify_database_url: Annotated[_PostgresUrl | None, _POSTGRES_URL] = None
    """Where the doorbell between processes connects; unset, it is `database_url`. Behind a pooler it
    must be the server itself."""
    doorbell: Annotated[Literal["on", "off"], Meta()] = "on"
    """Whether processes tell one another at once of what they have written; `off`, they look by the clock."""
    pool_size_max: Annotated[int, Meta(ge=2, le=1000)] = 16
    """Database connections that this process opens at most."""
    row_level_security: Annotated[Literal["on", "off"], Meta()] = "off"
    """Whether calls of the API work as a role that sees one organization at a time; they then have a pool of
    their own, of `pool_size_max` as well."""
    prepared_statements: Annotated[Literal["on", "off"], Meta()] = "on"
    """Whether statements are prepared on their connections; `off` is for a pooler in transaction mode that
    does not know them, such as PgBouncer before 1.21: each statement then takes one round trip more."""
    pool_timeout_ms: Annotated[int, Meta(ge=10, le=600_000)] = 5000
    """Time that a call waits for one of these connections to be free; then it gets 503."""
    statement_timeout_ms: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    """Time after which the database gives up a statement."""
    lock_timeout_ms: Annotated[int, Meta(ge=10, le=600_000)] = 2000
    """Time that a statement waits for a lock, and a concurrent twin of an idempotent request for the first;
    at most `statement_timeout_ms`."""

    body_bytes_max: Annotated[int, Meta(ge=1024, le=67_108_864)] = 262_144
    """Size of a request body above which it is refused."""
    import_bytes_max: Annotated[int, Meta(ge=1024, le=1_073_741_824)] = 67_108_864
    """Size of a session file above which it is not imported over HTTP; `turnledger import` has no limit."""
    text_bytes_max: Annotated[int, Meta(ge=1, le=16_777_216)] = 32_768
    """Size of one message's text in UTF-8; at most `body_bytes_max`."""
    context_bytes_max: Annotated[int, Meta(ge=2, le=16_777_216)] = 16_384
    """Size of a session's context in JSON; at most `body_bytes_max`."""
    metadata_bytes_max: Annotated[int, Meta(ge=2, le=16_777_216)] = 16_384
    """Size of a session's metadata in JSON; at most `body_bytes_max`."""
    wait_seconds_default: Annotated[int, Meta(ge=0, le=3600)] = 30
    """Time that a message waits for its answer when the caller names none; at most `wait_seconds_max`."""
    wait_seconds_max: Annotated[int, Meta(ge=0, le=3600)] = 120
    """Longest wait that `Prefer: wait=` can ask for."""
    idempotency_hours: Annotated[int, Meta(ge=1, le=8760)] = 72
    """Time that the answer to an `Idempotency-Key` is kept."""
    steps_kept_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    """Days that it is kept how turns came about: prompts and answers of model calls, arguments and results of
    tool calls; 0: as long as their session."""
    events_kept_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    """Days that the events of sessions are kept; a reader that is further behind reads the session anew; 0:
    as long as their session."""
    key_cache_seconds: Annotated[float, Meta(ge=0, le=5)] = 5
    """Time for which a revoked API key may still be accepted, by this process."""
    idle_sweep_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 60
    """Time between two looks for sessions that end by inactivity (`limits.idle_seconds` of their agent)."""

    streams_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    """Event streams that this process serves at once; further ones get 503."""
    stream_comment_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 15
    """Silence on an event stream after which a comment line shows that it is alive."""
    stream_send_seconds_max: Annotated[float, Meta(ge=0.1, le=3600)] = 30
    """Time in which a reader of an event stream must take what it is sent; then it is dropped."""
    stream_poll_seconds: Annotated[float, Meta(ge=0.01, le=3600)] = 2
    """Interval at which an event stream looks for what no doorbell told of; without a doorbell it looks
    every `poll_interval_ms` if that is sooner."""

    turn_seconds_max: Annotated[float, Meta(ge=0.1, le=86_400)] = 120
    """Time that one turn may run, all its model calls together."""
    lease_seconds: Annotated[float, Meta(ge=0.2, le=3600)] = 15
    """Time without a heartbeat after which another runner takes a turn over."""
    heartbeat_seconds: Annotated[float, Meta(ge=0.1, le=1200)] = 5
    """Interval at which a runner renews its leases; at most half of `lease_seconds`."""
    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 500
    """Interval at which an idle runner looks for turns that no doorbell told of."""
    delta_flush_ms: Annotated[int, Meta(ge=10, le=5000)] = 150
    """Interval at which streamed text is written to the database."""

    openai_api_key: Annotated[_Key | None, Meta(extra={**_KEY, "variable": "OPENAI_API_KEY"})] = None
    """Key for models named `openai:...`."""
    openai_base_url: Annotated[str | None, Meta(extra={**_URL, "variable": "OPENAI_BASE_URL"})] = None
    """Server for models named `openai:...`; unset, it is OpenAI's own."""
    anthropic_api_key: Annotated[_Key | None, Meta(extra={**_KEY, "variable": "ANTHROPIC_API_KEY"})] = None
    """Key for models named `anthropic:...`."""
    demo_openai_model: Annotated[str, _MODEL_NAME] = "gpt-5-mini"
    """Model of the demo agent that the embedded service makes when `OPENAI_API_KEY` is set."""
    demo_anthropic_model: Annotated[str, _MODEL_NAME] = "claude-haiku-4-5"
    """Model of the demo agent that the embedded service makes when `ANTHROPIC_API_KEY` is set."""
    model_providers: Annotated[tuple[ModelProvider, ...], MODEL_PROVIDERS] = ()
    """Further servers that speak the chat-completions protocol, for models named `name:...`; the key of
    `name` is read from `TURNLEDGER_MODEL_KEY_NAME` (`-` becomes `_`)."""
    model_connect_seconds: Annotated[float, Meta(ge=0.1, le=600)] = 10
    """Time in which a provider must accept the connection."""
    model_stall_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 60
    """Silence within an answer after which the call is given up."""
    model_call_seconds_max: Annotated[float, Meta(ge=0.1, le=86_400)] = 120
    """Time that one model call may take, from request to last byte."""
    model_retries_max: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often a call that failed for a passing reason is made again."""
    model_stream_breaks_max: Annotated[int, Meta(ge=0, le=10)] = 1
    """Times that a call whose stream broke in the middle is made again, as a call of its own."""
    model_circuit_failures_max: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Failures of a provider in a row after which it is not called for a while; 0 always calls."""
    model_circuit_open_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 15
    """Time that a provider is left alone after failures in a row."""
    context_tokens_default: Annotated[int, Meta(ge=256, le=10_000_000)] = 32_000
    """Tokens of conversation sent to a model whose window is not known, unless the agent's limits say
    otherwise."""

    tool_functions: Annotated[tuple[ToolFunction, ...], FUNCTIONS] = ()
    """Python functions that agents may call as tools, by the names that definitions use."""
    tool_threads_max: Annotated[int, Meta(ge=1, le=1000)] = 16
    """Tool functions that are not asynchronous and run at once in this process."""
    tool_hosts_allowed: Annotated[tuple[str, ...], HOSTS] = ()
    """Hosts that the tools of every organization, and MCP servers, may be on although their addresses are
    not public; for one organization alone, see `turnledger tools allow`."""
    tool_connect_seconds: Annotated[float, Meta(ge=0.1, le=600)] = 10
    """Time in which the server of a tool must accept the connection."""
    tool_answer_bytes_max: Annotated[int, Meta(ge=1024, le=67_108_864)] = 1_048_576
    """Size up to which the answer to an HTTP tool is read."""
    tool_result_bytes_max: Annotated[int, Meta(ge=256, le=1_048_576)] = 32_768
    """Size to which the result of any tool is cut before the model gets it."""
    mcp_servers: Annotated[tuple[McpServer, ...], SERVERS] = ()
    """MCP servers whose tools agents may call, by the names that definitions use."""
    mcp_start_seconds: Annotated[float, Meta(ge=0.1, le=600)] = 15
    """Time in which an MCP server must start, or be reached, and list its tools."""
    mcp_calls_max: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Calls that one connection to an MCP server carries at once; as many again wait for a place."""
    secrets_key: Annotated[tuple[bytes, ...], SECRETS_KEY] = ()
    """Encrypts the secrets of organizations; the first encrypts, all decrypt: see `turnledger secrets
    rotate`."""

    sources: dict[str, Source] = {}
    """Where each value came from, by name of the setting; what is missing here is the default."""
    unknown_variables: tuple[str, ...] = ()
    """Variables that begin with `TURNLEDGER_` and mean nothing, probably typos: the caller warns of them."""

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={shown}' for name, shown, _ in in_force(self))})"

    def __rich_repr__(self) -> Any:
        for name, shown, _ in in_force(self):
            yield name, shown


class SettingsError(Exception):
    """Some settings cannot be used. `faults` holds one (variable or flag, sentence) for each, all at once."""

    def __init__(self, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__("\n".join(f"{variable}: {sentence}" for variable, sentence in faults))
        self.faults = faults


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one setting, read from the annotation of its field."""

    name: str
    variable: str
    type: Any
    """The field's annotation, which msgspec checks values against."""
    expects: str
    """What a value must be, as words that complete "must be"."""
    default: str
    """The default as the documentation shows it."""
    is_secret: bool
    read: Callable[[str], Any] | None
    """Reads the text of a value; raises ValueError or RuntimeError. None leaves it to msgspec."""
    is_quotable: bool
    """Whether an error may repeat a faulty value: not where a secret may stand in it."""


def settings() -> tuple[Setting, ...]:
    """List every setting, in the order of the documentation."""
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        _setting(field, hints[field.name])
        for field in msgspec.structs.fields(Settings)
        if _is_setting(hints[field.name])
    )


def load(environ: Mapping[str, str], overrides: Mapping[str, object | None]) -> Settings:
    """Read the settings from the environment and, over it, from command-line flags.

    `overrides` is keyed by the name of the setting (`data_dir`); None is a flag that was not given. A
    variable that is set to nothing counts as not set.

    Raises:
        SettingsError: some values cannot be used; names every one of them.
    """
    known = settings()
    if strangers := overrides.keys() - {setting.name for setting in known}:
        raise TypeError(f"no such setting: {', '.join(sorted(strangers))}")

    faults: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for setting in known:
        text, source = _find(setting, environ, overrides)
        if source is Source.DEFAULT:
            continue
        told_as = _flag(setting.name) if source is Source.FLAG else setting.variable
        try:
            values[setting.name] = _read(setting, text)
            sources[setting.name] = source
        except (ValueError, RuntimeError, msgspec.ValidationError):
            got = f", not {text[:60]!r}" if setting.is_quotable else ""
            faults.append((told_as, f"must be {setting.expects}{got}"))

    providers, key_variables, key_faults = _with_keys(values.get("model_providers", ()), environ)
    values["model_providers"] = providers
    faults += key_faults
    values.setdefault("data_dir", default_data_dir(environ))
    if not faults:
        faults += _contradictions(Settings(**values))
    if faults:
        raise SettingsError(tuple(faults))

    recognised = {setting.variable for setting in known} | key_variables
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in recognised)
    return Settings(**values, sources=sources, unknown_variables=tuple(unknown))


def in_force(current: Settings) -> tuple[tuple[str, str, Source], ...]:
    """List name, shown value and source of every setting; a secret is shown as `(set)`."""
    return tuple(
        (
            setting.name,
            _shown(setting, getattr(current, setting.name)),
            current.sources.get(setting.name, Source.DEFAULT),
        )
        for setting in settings()
    )


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Find the folder for data where none is set; it is not made here."""
    # Unlike its sibling in pathlib, this leaves `~` as it is for an account without a home.
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if (hasattr(os, "geteuid") and os.geteuid() == 0) or not home.is_absolute():
        return Path("/var/lib/turnledger")
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "turnledger"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "turnledger"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "turnledger"


def _is_setting(hint: Any) -> bool:
    """Tell a setting from the two fields about them: a setting is annotated with its meaning."""
    return get_origin(hint) is Annotated


def _setting(field: msgspec.structs.FieldInfo, hint: Any) -> Setting:
    kind, meta = get_args(hint)
    extra = meta.extra or {}
    if "expects" in extra:
        expects = extra["expects"]
    elif get_origin(kind) is Literal:
        expects = " or ".join(f"`{choice}`" for choice in get_args(kind))
    else:
        expects = f"{'an integer' if kind is int else 'a number'} from {meta.ge} to {meta.le}"
    default = extra.get("default") or ("unset" if field.default in (None, ()) else f"`{field.default}`")
    return Setting(
        name=field.name,
        variable=extra.get("variable", PREFIX + field.name.upper()),
        type=hint,
        expects=expects,
        default=default,
        is_secret=extra.get("secret", False),
        read=extra.get("read"),
        is_quotable="expects" not in extra,
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _find(
    setting: Setting, environ: Mapping[str, str], overrides: Mapping[str, object | None]
) -> tuple[str, Source]:
    """Find the text of a value and where it came from; the text of a default is empty."""
    given = overrides.get(setting.name)
    if given is not None:
        return str(given).strip(), Source.FLAG
    text = environ.get(setting.variable, "").strip()
    return text, Source.ENVIRONMENT if text else Source.DEFAULT


def _read(setting: Setting, text: str) -> Any:
    """Turn the text of one value into the value; raises one of what `load` catches."""
    if setting.read is not None:
        return setting.read(text)
    if get_origin(get_args(setting.type)[0]) is Literal:
        text = text.lower()
    return msgspec.convert(text, setting.type, strict=False)


def _with_keys(
    providers: tuple[ModelProvider, ...], environ: Mapping[str, str]
) -> tuple[tuple[ModelProvider, ...], set[str], list[tuple[str, str]]]:
    """Give each provider its key; also returns the variables looked at, and their faults."""
    with_keys, variables, faults = [], set(), []
    for provider in providers:
        variable = MODEL_KEY_PREFIX + provider.name.upper().replace("-", "_")
        variables.add(variable)
        key = environ.get(variable, "").strip() or None
        try:
            msgspec.convert(key, _Key | None)
        except msgspec.ValidationError:
            faults.append((variable, f"must be {_KEY['expects']}"))
        with_keys.append(msgspec.structs.replace(provider, api_key=key))
    return tuple(with_keys), variables, faults


def _contradictions(current: Settings) -> list[tuple[str, str]]:
    """List the pairs of values, each possible alone, that cannot both hold."""
    pairs = [
        ("lock_timeout_ms", 1, "statement_timeout_ms"),
        ("text_bytes_max", 1, "body_bytes_max"),
        ("context_bytes_max", 1, "body_bytes_max"),
        ("metadata_bytes_max", 1, "body_bytes_max"),
        ("wait_seconds_default", 1, "wait_seconds_max"),
        ("heartbeat_seconds", 2, "lease_seconds"),
    ]
    faults = []
    for small, times, large in pairs:
        bound = getattr(current, large)
        if getattr(current, small) * times > bound:
            half = "half of " if times == 2 else ""
            faults.append(
                (PREFIX + small.upper(), f"must be at most {half}{PREFIX}{large.upper()} ({bound:g})")
            )
    if current.row_level_security == "on" and current.prepared_statements == "off":
        because = "a pooler in transaction mode does not keep what a connection was told"
        faults.append(
            (f"{PREFIX}ROW_LEVEL_SECURITY", f"must be off with {PREFIX}PREPARED_STATEMENTS=off: {because}")
        )
    return faults


def _shown(setting: Setting, value: Any) -> str:
    if value in (None, ()):
        return "(not set)"
    if setting.is_secret:
        return "(set)"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
