"""Spans of requests, turns, model calls and tool calls, for those who have configured where to send them.

Off, nothing of OpenTelemetry is imported and a span costs a function call. On, attributes follow the
conventions for generative AI: names of models, counts of tokens, ids. Never what anybody said, never a key.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from loguru import logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

Value = str | int | float | bool | tuple[str, ...]
Kind = Literal["internal", "server", "client"]

_SHUTDOWN_MS = 3000


class Span(Protocol):
    """One piece of work, while it goes on."""

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Note more about it; what is None is left out."""

    def fail(self, code: str) -> None:
        """Note that it came to nothing, and as what; the message stays with us."""


class _NoSpan:
    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Note nothing."""

    def fail(self, code: str) -> None:
        """Note nothing."""


_NO_SPAN = _NoSpan()


class _Tracing:
    """The tracer of this process; None while spans go nowhere."""

    tracer: "Tracer | None" = None


@contextlib.contextmanager
def sending_spans(endpoint: str | None) -> Iterator[None]:
    """Send spans to an OTLP/HTTP receiver, such as `http://127.0.0.1:4318`, for the length of the block.

    None sends none, and so does a service without the packages for it: being watched is not what it is for.
    What is not sent by the end is sent then, for a few seconds at most.
    """
    provider = None if endpoint is None else _provider(endpoint)
    if provider is None:
        yield
        return
    _Tracing.tracer = provider.get_tracer("turnledger")
    try:
        yield
    finally:
        _Tracing.tracer = None
        provider.force_flush(_SHUTDOWN_MS)
        provider.shutdown()


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value | None],
    *,
    kind: Kind = "internal",
    parent: str | None = None,
) -> Iterator[Span]:
    """Trace the block. `parent` is a `traceparent` (W3C Trace Context) from outside.

    An exception that leaves the block is noted by its class alone: its message may quote what was said.
    """
    tracer = _Tracing.tracer
    if tracer is None:
        yield _NO_SPAN
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None
    if parent is not None:
        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=trace.SpanKind[kind.upper()],
        attributes=_given(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        told = _Span(opened)
        try:
            yield told
        except BaseException as error:
            if not told.has_failed:
                told.fail(type(error).__name__)
            raise


class _Span:
    def __init__(self, opened: object) -> None:
        self._opened = opened
        self.has_failed = False

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        """Note more about it."""
        self._opened.set_attributes(_given(attributes))  # type: ignore[attr-defined]

    def fail(self, code: str) -> None:
        """Note that it came to nothing."""
        from opentelemetry.trace import Status, StatusCode

        self.has_failed = True
        self._opened.set_attribute("error.type", code)  # type: ignore[attr-defined]
        self._opened.set_status(Status(StatusCode.ERROR))  # type: ignore[attr-defined]


def _given(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}


def _provider(endpoint: str) -> "TracerProvider | None":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("no spans are sent: the extra `tracing` is not installed")
        return None
    provider = TracerProvider(
        resource=Resource.create({"service.name": "turnledger"}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    return provider
