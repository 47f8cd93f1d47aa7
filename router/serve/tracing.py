"""OpenTelemetry spans of routed calls, where OpenTelemetry is set up.

The proxy neither installs nor configures it: started as ``opentelemetry-instrument wattroute
serve ...``, it finds a tracer provider and uses it. Attribute names follow the semantic
conventions for generative AI where these have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["CallTracer", "NullTracer", "call_tracer"]


_FLUSH_MS = 3_000


class CallTracer(Protocol):
    """Keeps one span for each routed call."""

    def call(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Any],
        error: str | None,
    ) -> None:
        """Keep the span of a call.

        Parameters
        ----------
        headers : sequence of tuple of bytes
            The request's headers, which name the span that it belongs to.
        start_ns, end_ns : int
            Unix times in nanoseconds.
        attributes : mapping
            Strings and numbers; None is left out.
        error : str or None
            What went wrong.
        """
        ...

    def flush(self) -> None:
        """Send what is kept, before the process ends."""
        ...


class NullTracer:
    """Keeps nothing."""

    def call(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Any],
        error: str | None,
    ) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


class _OpenTelemetryTracer:
    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("wattroute")

    def call(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Any],
        error: str | None,
    ) -> None:
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        span = self._tracer.start_span(
            "chat auto",
            context=propagate.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={name: value for name, value in attributes.items() if value is not None},
            start_time=start_ns,
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(end_ns)

    def flush(self) -> None:
        force_flush = getattr(self._provider, "force_flush", None)
        if force_flush is not None:
            force_flush(_FLUSH_MS)


def call_tracer() -> CallTracer:
    """Return the tracer to use: one that keeps nothing unless a provider was set up.

    Returns
    -------
    CallTracer
        For the life of the process.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        return NullTracer()
    provider = trace.get_tracer_provider()
    if type(provider).__module__.startswith("opentelemetry.trace"):
        return NullTracer()  # the placeholder that stands for none
    return _OpenTelemetryTracer(provider)
