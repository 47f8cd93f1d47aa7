"""What is told of a routed call: to its client in headers, to operators in the log and metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.certificate import Certificate, FloorCertificate
from router.dispatch import Dispatched, RoutingOptions, Usage
from router.errors import ConfigError
from router.messages import prompt_text
from router.serve.json_body import dump_json
from router.serve.metrics import Metrics
from router.serve.tracing import CallTracer, NullTracer

__all__ = [
    "CallTimes",
    "PromptMark",
    "answer_headers",
    "count_call",
    "log_record",
    "mark_prompt",
    "trace_call",
]

_MAX_HEADER = 500
_NO_FAILURE = frozenset({"answered", "cancelled", "sent"})


@dataclass(slots=True)
class CallTimes:
    """When a call went through its stages.

    Attributes
    ----------
    unix_s : float
        Unix time at which the request came, in seconds.
    first_byte_s, whole_s : float or None
        Seconds from there to the first byte and to the end of the answer.
    """

    unix_s: float
    first_byte_s: float | None = None
    whole_s: float | None = None


@dataclass(frozen=True, slots=True)
class PromptMark:
    """What is kept of a prompt that is not.

    Attributes
    ----------
    sha256 : str
        Hash of its text as the router reads it.
    n_characters : int
        Length of that text.
    """

    sha256: str
    n_characters: int


def mark_prompt(messages: Sequence[Mapping[str, Any]]) -> PromptMark:
    """Return hash and length of a prompt.

    Parameters
    ----------
    messages : sequence of mapping
        Chat messages.
    """
    try:
        text = prompt_text(messages).text
    except ConfigError:  # a role or a part that the router does not know
        text = dump_json(messages).decode()
    return PromptMark(hashlib.sha256(text.encode()).hexdigest(), len(text))


def answer_headers(request_id: str, record: Dispatched | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that say what was decided.

    Parameters
    ----------
    request_id : str
        The proxy's id of the request.
    record : Dispatched or None
        The call so far; None where nothing was decided.

    Returns
    -------
    list of tuple of bytes
        All begin with ``x-wattroute-``.
    """
    headers = [(b"x-wattroute-request-id", request_id.encode())]
    if record is None:
        return headers
    energy = record.energy_j
    numbers = (
        (b"x-wattroute-probability", record.probability),
        (b"x-wattroute-quality", record.quality),
        (b"x-wattroute-energy-j", None if energy is None else energy.value_j),
        (b"x-wattroute-energy-low-j", None if energy is None else energy.low_j),
        (b"x-wattroute-energy-high-j", None if energy is None else energy.high_j),
        (b"x-wattroute-saved-j", record.saved_j),
        (b"x-wattroute-novelty", record.novelty),
    )
    texts = (
        (b"x-wattroute-model", record.model),
        (b"x-wattroute-reference", record.reference),
        (b"x-wattroute-energy-basis", None if energy is None else energy.basis),
        (b"x-wattroute-energy-from", _energy_from(record)),
        (b"x-wattroute-certificate", _shown_promise(_promise(record.certificate))),
        (b"x-wattroute-floor-certificate", _shown_promise(_promise(record.floor_certificate))),
        (b"x-wattroute-session", "kept" if record.kept else None),
        (b"x-wattroute-fallback", record.fallback),
    )
    headers += [(name, b"%.6g" % number) for name, number in numbers if number is not None]
    headers += [(name, _header_text(text)) for name, text in texts if text is not None]
    headers.append((b"x-wattroute-attempts", b"%d" % _n_attempts(record)))
    return headers


def log_record(
    request_id: str,
    record: Dispatched,
    mark: PromptMark,
    times: CallTimes,
    outcome: str,
    status: int,
    *,
    asked: RoutingOptions,
    stream: bool,
    run_name: str | None,
    prompt: object = None,
) -> dict[str, Any]:
    """Return the line of the decision log.

    Parameters
    ----------
    request_id : str
        The proxy's id of the request.
    record : Dispatched
        The call.
    mark : PromptMark
        Of its prompt.
    times : CallTimes
        When it came and how long it took.
    outcome : {"answered", "broken", "disconnected", "failed"}
        How it ended.
    status : int
        HTTP status that the client got; 0 for none.
    asked : RoutingOptions
        What was asked of the router.
    stream : bool
        Whether the answer was streamed.
    run_name : str or None
        Name of the model in evaluation runs.
    prompt : object
        The messages, where they may be logged.

    Returns
    -------
    dict
        JSON types, but that a number may not be finite.
    """
    decision = record.decision
    chosen = record.model if decision is None else decision.model
    predicted = record.expected_energy_j
    used, reference, usage = record.actual_energy_j, record.reference_energy_j, record.usage
    line: dict[str, Any] = {
        "kind": "decision",
        "request_id": request_id,
        "time": round(times.unix_s, 3),
        "model": record.model or chosen,  # null where nothing was chosen and nothing tried
        "run_name": run_name,
        "chosen": chosen,
        "probability": record.probability,
        "novelty": record.novelty,
        "quality_bar": asked.quality,
        "min_probability": asked.min_probability,
        "energy_j": None if predicted is None else predicted.value_j,
        "energy_low_j": None if predicted is None else predicted.low_j,
        "energy_high_j": None if predicted is None else predicted.high_j,
        "energy_basis": None if predicted is None else predicted.basis,
        "energy_used_j": None if used is None else used.value_j,
        "reference": record.reference,
        "reference_energy_j": None if reference is None else reference.value_j,
        "prompt_sha256": mark.sha256,
        "n_characters": mark.n_characters,
        "usage": None if usage is None else _usage(usage),
        "session": record.session_key,
        "kept": record.kept,
        "attempts": _n_attempts(record),
        "fallback": _fallback_kind(record) if prompt is None else record.fallback,
        "certificate": _promise(record.certificate),
        "floor_certificate": _promise(record.floor_certificate),
        "finish_reason": record.finish_reason,
        "status": status,
        "outcome": outcome,
        "stream": stream,
        "routing_s": round(record.routing_s, 6),
        "first_byte_s": _rounded(times.first_byte_s),
        "latency_s": _rounded(times.whole_s),
    }
    if prompt is not None:
        line["prompt"] = prompt
    return line


def count_call(metrics: Metrics, record: Dispatched, times: CallTimes, outcome: str) -> None:
    """Count a call that has ended.

    Parameters
    ----------
    metrics : Metrics
        Where to.
    record : Dispatched
        The call.
    times : CallTimes
        How long it took.
    outcome : str
        How it ended.
    """
    if record.decision is not None:
        metrics.count("wattroute_decisions_total", model=record.decision.model)
    metrics.count("wattroute_outcomes_total", outcome=outcome)
    metrics.observe("wattroute_routing_seconds", record.routing_s)
    if times.first_byte_s is not None:
        metrics.observe("wattroute_first_byte_seconds", times.first_byte_s)
    if times.whole_s is not None:
        metrics.observe("wattroute_request_seconds", times.whole_s)
    for attempt in record.attempts:
        if attempt.outcome not in _NO_FAILURE and attempt.outcome != "skipped":
            metrics.count(
                "wattroute_failed_attempts_total", model=attempt.model, kind=attempt.outcome
            )
    if record.fallback is not None:
        kind = "router" if record.decision is None else "attempt"
        metrics.count("wattroute_fallbacks_total", reason=kind)
    if outcome != "answered" or record.model is None:
        return
    metrics.count("wattroute_answers_total", model=record.model)
    if record.usage is not None:
        for kind in ("prompt", "completion"):
            tokens = getattr(record.usage, f"{kind}_tokens")
            metrics.count("wattroute_tokens_total", tokens, model=record.model, kind=kind)
    energy, reference = record.energy_j, record.reference_energy_j
    if energy is not None:
        metrics.count("wattroute_energy_joules_total", energy.value_j, model=record.model)
    if energy is not None and reference is not None:
        metrics.count("wattroute_reference_energy_joules_total", reference.value_j)
        metrics.count("wattroute_saved_energy_joules", reference.value_j - energy.value_j)


def trace_call(
    tracer: CallTracer,
    headers: Sequence[tuple[bytes, bytes]],
    record: Dispatched,
    times: CallTimes,
    outcome: str,
) -> None:
    """Keep the span of a call that has ended.

    Parameters
    ----------
    tracer : CallTracer
        Where to.
    headers : sequence of tuple of bytes
        The request's headers.
    record : Dispatched
        The call.
    times : CallTimes
        When it came and how long it took.
    outcome : str
        How it ended.
    """
    if isinstance(tracer, NullTracer):
        return
    start_ns = int(times.unix_s * 1e9)
    energy, usage, promise = record.energy_j, record.usage, record.certificate
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": record.requested,
        "gen_ai.response.model": record.model,
        "gen_ai.usage.input_tokens": None if usage is None else usage.prompt_tokens,
        "gen_ai.usage.output_tokens": None if usage is None else usage.completion_tokens,
        "wattroute.probability": record.probability,
        "wattroute.quality": record.quality,
        "wattroute.energy_j": None if energy is None else energy.value_j,
        "wattroute.saved_j": record.saved_j,
        "wattroute.attempts": _n_attempts(record),
        "wattroute.novelty": record.novelty,
        "wattroute.certified": None if promise is None else promise.holds,
        "wattroute.fallback": _fallback_kind(record),
        "wattroute.routing_s": record.routing_s,
        "wattroute.outcome": outcome,
    }
    end_ns = start_ns + int((times.whole_s or 0.0) * 1e9)
    tracer.call(headers, start_ns, end_ns, attributes, None if outcome == "answered" else outcome)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "estimated": usage.estimated,
    }


def _energy_from(record: Dispatched) -> str | None:
    if record.energy_j is None:
        return None
    return "prediction" if record.actual_energy_j is None else "usage"


def _header_text(text: str) -> bytes:
    if not (text.isascii() and text.isprintable()):
        text = "".join(c for c in text if c.isprintable())
    return text[:_MAX_HEADER].encode("ascii", "replace")


def _promise(certificate: Certificate | FloorCertificate | None) -> dict[str, Any] | None:
    """Return what is told of a certificate."""
    if certificate is None:
        return None
    names = ("holds", "bar", "floor", "confidence", "n", "group")
    return {name: getattr(certificate, name) for name in names if hasattr(certificate, name)}


def _shown_promise(promise: Mapping[str, Any] | None) -> str | None:
    if promise is None:
        return None
    shown = ["holds" if promise["holds"] else "none"]
    for key, value in promise.items():
        if key != "holds" and value is not None:
            shown.append(f"{key}={value}" if isinstance(value, str) else f"{key}={value:g}")
    return "; ".join(shown)


def _fallback_kind(record: Dispatched) -> str | None:
    """Return the fallback without what upstreams said, which may repeat the prompt."""
    if record.fallback is None:
        return None
    if record.decision is None:
        what, _, why = record.fallback.partition(": ")
        error = why.partition(":")[0]  # such as "the router failed: ConfigError: ..."
        return f"{what}: {error}" if error.endswith("Error") else what
    failed = dict.fromkeys(
        f"{attempt.model}: {attempt.outcome}"
        for attempt in record.attempts
        if attempt.model != record.model and attempt.outcome not in _NO_FAILURE
    )
    return "; ".join(failed) or None


def _n_attempts(record: Dispatched) -> int:
    return sum(attempt.outcome != "skipped" for attempt in record.attempts)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
