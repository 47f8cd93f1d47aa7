"""Spans, where OpenTelemetry is set up; nothing where it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from router.serve.tracing import NullTracer, call_tracer


class Span:
    def __init__(self, kept: list[dict[str, Any]], **fields: Any) -> None:
        self.fields = fields
        self._kept = kept

    def set_status(self, status: Any) -> None:
        self.fields["status"] = status

    def end(self, end_ns: int) -> None:
        self._kept.append(self.fields | {"end": end_ns})


class Provider:
    """Stands for a tracer provider of the SDK."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def get_tracer(self, name: str) -> Provider:
        assert name == "wattroute"
        return self

    def start_span(self, name: str, **fields: Any) -> Span:
        return Span(self.kept, name=name, **fields)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """Install the little of OpenTelemetry's API that is used."""
    provider = Provider()
    package, trace, propagate = (
        ModuleType(name)
        for name in ("opentelemetry", "opentelemetry.trace", "opentelemetry.propagate")
    )
    names: dict[str, Any] = {
        "get_tracer_provider": lambda: provider,
        "SpanKind": type("SpanKind", (), {"SERVER": "server"}),
        "StatusCode": type("StatusCode", (), {"ERROR": "error"}),
        "Status": lambda code, text: (code, text),
    }
    for name, value in names.items():
        setattr(trace, name, value)
    propagate.extract = lambda carrier: carrier.get("traceparent")  # type: ignore[attr-defined]
    package.trace, package.propagate = trace, propagate  # type: ignore[attr-defined]
    for module in (package, trace, propagate):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return provider


def test_a_routed_call_is_one_span(provider: Provider, make_proxy: Callable[..., Any]):
    proxy = make_proxy()
    headers = {"traceparent": "00-aa-bb-01"}
    model = proxy.chat(headers=headers).headers["x-wattroute-model"]
    proxy.log_lines(1)
    (span,) = provider.kept
    assert span["context"] == "00-aa-bb-01"
    assert span["end"] > span["start_time"]
    attributes = span["attributes"]
    assert attributes["gen_ai.request.model"] == "auto"
    assert attributes["gen_ai.response.model"] == model
    assert attributes["gen_ai.usage.output_tokens"] == 7
    assert attributes["wattroute.energy_j"] > 0
    assert None not in attributes.values()
    assert "status" not in span


def test_a_failed_call_is_an_error(
    provider: Provider, make_proxy: Callable[..., Any], fault_server: Any, faults: Any
):
    fault_server.always(faults.status(401))
    proxy = make_proxy()
    proxy.chat()
    proxy.log_lines(1)
    assert provider.kept[0]["status"] == ("error", "failed")


def test_without_a_provider_nothing_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert isinstance(call_tracer(), NullTracer)
