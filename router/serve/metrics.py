"""Figures for Prometheus, in its text format 0.0.4, summed over all workers."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from router.serve.shared_values import SharedValues

__all__ = ["FAMILIES", "Family", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FAST = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its series.

    Attributes
    ----------
    name : str
        Its name; the unit is part of it.
    kind : {"counter", "gauge", "histogram"}
        What its numbers are.
    help : str
        What it says, in one line.
    buckets : tuple of float
        Upper ends of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    buckets: tuple[float, ...] = ()


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("wattroute_requests_total", "counter", "Requests by endpoint and HTTP status."),
        Family("wattroute_requests_in_flight", "gauge", "Requests being answered."),
        Family("wattroute_decisions_total", "counter", "Routed requests by the model chosen."),
        Family("wattroute_answers_total", "counter", "Routed answers by the model that answered."),
        Family("wattroute_outcomes_total", "counter", "How routed requests ended."),
        Family(
            "wattroute_fallbacks_total",
            "counter",
            "Routed requests not answered by the model chosen first, by reason.",
        ),
        Family(
            "wattroute_failed_attempts_total",
            "counter",
            "Attempts that failed, by model and kind of failure.",
        ),
        Family(
            "wattroute_energy_joules_total",
            "counter",
            "Energy of routed answers by model; from the tokens used where they are known.",
        ),
        Family(
            "wattroute_reference_energy_joules_total",
            "counter",
            "Energy that the reference model was expected to take for the same requests.",
        ),
        Family(
            "wattroute_saved_energy_joules",
            "gauge",
            "Energy saved against the reference model so far; falls when an answer took more.",
        ),
        Family("wattroute_tokens_total", "counter", "Tokens of routed answers by model and kind."),
        Family("wattroute_routing_seconds", "histogram", "Time to choose a model.", _FAST),
        Family(
            "wattroute_first_byte_seconds",
            "histogram",
            "Time from a routed request to the first byte of its answer.",
            _SLOW,
        ),
        Family(
            "wattroute_request_seconds",
            "histogram",
            "Time from a routed request to the end of its answer.",
            _SLOW,
        ),
        Family("wattroute_feedback_total", "counter", "Grades that came in."),
        Family("wattroute_feedback_quality_sum", "counter", "Sum of the grades that came in."),
        Family("wattroute_log_errors_total", "counter", "Lines lost by the decision log."),
        Family("wattroute_reloads_total", "counter", "Reloads of the router by result."),
        Family("wattroute_workers", "gauge", "Worker processes that are ready."),
        Family("process_resident_memory_bytes", "gauge", "Resident memory by worker."),
    )
}
"""Every metric, by name, in the order of the page."""


class Metrics:
    """What one worker counts.

    Parameters
    ----------
    values : SharedValues
        Where the numbers of all workers are.
    worker : int
        Which one this is.

    Examples
    --------
    >>> metrics = Metrics(SharedValues(1), 0)
    >>> metrics.count("wattroute_decisions_total", model="gemma-3-27b")
    >>> print(metrics.render().splitlines()[2])
    wattroute_decisions_total{model="gemma-3-27b"} 1
    """

    def __init__(self, values: SharedValues, worker: int = 0) -> None:
        self._values = values
        self._writer = values.writer(worker)
        self._slots: dict[tuple[str, tuple[str, ...]], int] = {}
        self._histograms: dict[str, tuple[tuple[float, ...], list[int], int]] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter or a gauge.

        Parameters
        ----------
        name : str
            The metric, one of `FAMILIES`.
        amount : float
            What to add.
        **labels : str
            Values of its labels, by name, always in the same order.
        """
        self._writer.add(self._slot(name, labels), amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Change a gauge.

        Parameters
        ----------
        name, **labels
            As for :meth:`count`.
        value : float
            What it is from now on.
        """
        self._writer.set(self._slot(name, labels), value)

    def observe(self, name: str, seconds: float) -> None:
        """Put one duration into a histogram.

        Parameters
        ----------
        name : str
            The metric.
        seconds : float
            The duration.
        """
        known = self._histograms.get(name)
        if known is None:
            ends = FAMILIES[name].buckets
            labels = [*(f"{end:g}" for end in ends), "+Inf"]
            slots = [self._writer.slot(f'{name}_bucket{{le="{label}"}}') for label in labels]
            known = ends, slots, self._writer.slot(f"{name}_sum")
            self._histograms[name] = known
        ends, slots, total = known
        self._writer.add(slots[bisect_left(ends, seconds)], 1.0)
        self._writer.add(total, seconds)

    def render(self) -> str:
        """Return the page that Prometheus reads, with the sums over all workers."""
        by_family: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for key, value in self._values.totals().items():
            name = key.partition("{")[0]
            if name not in FAMILIES:
                name = name.removesuffix("_bucket").removesuffix("_sum")
            by_family[name].append((key, value))
        lines: list[str] = []
        for family in FAMILIES.values():
            series = by_family.get(family.name)
            if series:
                lines.append(f"# HELP {family.name} {family.help}")
                lines.append(f"# TYPE {family.name} {family.kind}")
                shown = _cumulative(family, dict(series)) if family.buckets else series
                lines += (f"{key} {_number(value)}" for key, value in shown)
        return "\n".join([*lines, ""])

    def _slot(self, name: str, labels: dict[str, str]) -> int:
        key = name, tuple(labels.values())
        slot = self._slots.get(key)
        if slot is None:
            if name not in FAMILIES:
                raise ValueError(f"no metric is called {name!r}")
            pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
            slot = self._writer.slot(f"{name}{{{pairs}}}" if pairs else name)
            self._slots[key] = slot
        return slot


def _cumulative(family: Family, counts: dict[str, float]) -> Iterable[tuple[str, float]]:
    total = 0.0
    for end in (*family.buckets, float("inf")):
        label = "+Inf" if end == float("inf") else f"{end:g}"
        key = f'{family.name}_bucket{{le="{label}"}}'
        total += counts.get(key, 0.0)
        yield key, total
    yield f"{family.name}_sum", counts.get(f"{family.name}_sum", 0.0)
    yield f"{family.name}_count", total


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
