"""Watching a router at work, to see whether its quality promise still holds.

>>> from router.monitor import Baseline, Monitor
>>> baseline = Baseline.of_answers(["small"], ["small"] * 100, [0.8] * 100, [1] * 80 + [0] * 20)
>>> monitor = Monitor(baseline, delta=0.1)
>>> monitor.add_grade("small", 0.8, 1.0, request_id="request-1")
True
>>> monitor.alarm
False

Only numpy is needed, and an observation takes less than 0.1 ms: a serving process can hold a
monitor and feed it as grades come in. The modules, from the data inwards:

``feedback``, ``feed``, ``baseline``
    reading logs, feeding them to a monitor, and what they are compared with
``drift``, ``stream``, ``report``, ``state``, ``seen``
    the monitor, its streams, what it says, its state in a file, and which requests counted
``conformal``, ``bets``, ``martingale``
    ranks that are uniform without drift, and the evidence that they are not
``shortfall``
    how much was lost, and since when
"""

from __future__ import annotations

from router.monitor.baseline import Baseline, Baselines
from router.monitor.drift import Monitor
from router.monitor.report import Alarm, DriftReport, StreamReport
from router.monitor.shortfall import Shortfall

__all__ = [
    "Alarm",
    "Baseline",
    "Baselines",
    "DriftReport",
    "Monitor",
    "Shortfall",
    "StreamReport",
]
