"""Spans, where OpenTelemetry is set up; nothing where it is not. The SDK is the real one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import fault_server as faults
from router.serve.tracing import NullTracer, call_tracer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """Set a provider up for this test; OpenTelemetry itself sets one up for a process."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


@pytest.fixture
def exporter(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def spans_of(exporter: InMemorySpanExporter, n: int = 1) -> tuple[ReadableSpan, ...]:
    """Wait for n spans: they are made after the answers and the lines of the log."""
    end = time.monotonic() + 10
    while len(exporter.get_finished_spans()) < n:
        assert time.monotonic() < end
        time.sleep(0.01)
    found: tuple[ReadableSpan, ...] = exporter.get_finished_spans()
    assert len(found) == n
    return found


def test_a_routed_call_is_one_span(
    exporter: InMemorySpanExporter, make_proxy: Callable[..., Any], promising_router: Any
):
    proxy = make_proxy(use=promising_router)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    response = proxy.chat(headers=headers, model="auto:0.8")
    (span,) = spans_of(exporter)
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time > span.start_time
    attributes = dict(span.attributes or {})
    assert attributes["gen_ai.request.model"] == "auto:0.8"
    assert attributes["gen_ai.response.model"] == response.headers["x-wattroute-model"]
    assert attributes["gen_ai.usage.output_tokens"] == 7
    assert attributes["wattroute.certified"] is True
    energy = attributes["wattroute.energy_j"]
    assert isinstance(energy, float)
    assert energy > 0
    assert span.status.is_unset


def test_a_failed_call_is_an_error(
    exporter: InMemorySpanExporter, make_proxy: Callable[..., Any], fault_server: Any
):
    fault_server.always(faults.status(401))
    proxy = make_proxy()
    proxy.chat()
    status = spans_of(exporter)[0].status
    assert (status.is_ok, status.description) == (False, "failed")


def test_no_prompt_and_no_key_is_in_a_span(
    exporter: InMemorySpanExporter,
    make_proxy: Callable[..., Any],
    fault_server: Any,
):
    """Not even where the upstream repeats them, or the router stumbles over them."""
    said = {"error": {"message": "what is a topsecret prompt with topsecret-key"}}
    proxy = make_proxy(key="topsecret-key", log_prompts=True)
    messages = [{"role": "topsecret", "content": "a topsecret prompt"}]
    asks: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"messages": messages},
        {"user": "topsecret"},
    ]
    for fields in asks:
        fault_server.script(faults.status(403, said))
        proxy.chat("a topsecret prompt", headers={"x-wattroute-session": "topsecret"}, **fields)
    fault_server.always(faults.status(400, said))
    proxy.chat("a topsecret prompt")
    spans = spans_of(exporter, len(asks) + 1)
    assert not [span for span in spans if "topsecret" in span.to_json()]


def test_spans_that_wait_are_sent_before_the_end(
    provider: TracerProvider, make_proxy: Callable[..., Any]
):
    exporter = InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))
    proxy = make_proxy()
    proxy.chat()
    proxy.log_lines(1)
    assert exporter.get_finished_spans() == ()
    proxy.stop()
    assert len(exporter.get_finished_spans()) == 1


def test_an_exporter_that_fails_fails_no_call(
    provider: TracerProvider, make_proxy: Callable[..., Any]
):
    class Broken(SpanExporter):
        def export(self, spans: Any) -> Any:
            raise RuntimeError("nobody there")

    provider.add_span_processor(SimpleSpanProcessor(Broken()))
    proxy = make_proxy()
    assert proxy.chat().status_code == 200
    assert proxy.log_lines(1)[0]["outcome"] == "answered"


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_provider_nothing_is_kept(installed: bool, monkeypatch: pytest.MonkeyPatch):
    if not installed:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert isinstance(call_tracer(), NullTracer)
