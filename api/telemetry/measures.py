"""The figures of this process, as Prometheus reads them.

Labels take a handful of values each: no organization, no session, no name that a customer has given. Each
process counts what it has done itself; sums over processes are the reader's.
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry()
"""Of our own: libraries that count in the default one would show up here."""

_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

QUEUE_WAIT = Histogram(
    "turnledger_queue_wait_seconds",
    "From the moment a turn was appended to the moment a runner of this process took it up first.",
    buckets=(*_SHORT, 60, 300),
    registry=REGISTRY,
)
RUN_TIME = Histogram(
    "turnledger_run_seconds",
    "From taking a turn up to its end, or to the questions that it waits for, by how the run ended.",
    ("outcome",),
    buckets=_LONG,
    registry=REGISTRY,
)
FIRST_TOKEN = Histogram(
    "turnledger_first_token_seconds",
    "From the start of a model call to its first piece of text.",
    buckets=_SHORT,
    registry=REGISTRY,
)
LEDGER_LAG = Histogram(
    "turnledger_ledger_lag_seconds",
    "From the end of a model call to the commit of its ledger entry.",
    buckets=_SHORT,
    registry=REGISTRY,
)
TAKE_OVERS = Counter(
    "turnledger_take_overs_total",
    "Turns that a runner of this process took from one whose lease had run out.",
    registry=REGISTRY,
)
LOST_RACES_SETTLED = Counter(
    "turnledger_lost_races_settled_total",
    "Model calls that were settled after their turn was cancelled or taken over.",
    registry=REGISTRY,
)
MODEL_CALLS = Counter(
    "turnledger_model_calls_total",
    "Model calls that were settled, by how they ended.",
    ("outcome",),
    registry=REGISTRY,
)
CONFLICTS = Counter(
    "turnledger_conflicts_total",
    "Writes that were refused because somebody else had written since.",
    registry=REGISTRY,
)
ERRORS = Counter(
    "turnledger_errors_total",
    "What went wrong, by where and as what: `http` by problem code, `turn` and `model` by error code.",
    ("where", "code"),
    registry=REGISTRY,
)
STREAM_READERS = Gauge(
    "turnledger_stream_readers",
    "Event streams and downloads that this process serves now.",
    registry=REGISTRY,
)
POOL_CONNECTIONS = Gauge(
    "turnledger_pool_connections",
    "Database connections of this process: in use, idle, and the most that it may open.",
    ("state",),
    registry=REGISTRY,
)


def show() -> bytes:
    """Write all figures in the text format of Prometheus."""
    return generate_latest(REGISTRY)
