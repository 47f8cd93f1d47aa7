"""How well the formula predicts measured energy, and whether that is as documented.

Each model is predicted with a serving factor fitted without its own measurements (leave one
model out), on the text configurations of the ML.ENERGY leaderboard on H100. The bare kernels
are those that the inner coefficients were fitted on, so their ratios are residuals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.energy.csv_rows import read_csv_rows
from router.energy.measurements import Measurement, kernel_measurements, measurements
from router.energy.serving_fit import fit_serving

__all__ = ["STATISTICS", "Documented", "Group", "Ratio", "documented", "validate"]

STATISTICS = (
    "n",
    "median_error",
    "p90_error",
    "spearman",
    "pairs_in_order",
    "pair_ratio_error",
    "ratio_p10",
    "ratio_median",
    "ratio_p90",
)
"""Names of the statistics of a `Group`."""

_FIT_BATCHES = (16, 1024)
_SAME = 1.2
_NUMBERS = ("documented", "low", "high")
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Prediction over measurement of one configuration.

    Attributes
    ----------
    name : str
        The configuration.
    predicted_j, measured_j : float
        Joules per token.
    """

    name: str
    predicted_j: float
    measured_j: float

    @property
    def ratio(self) -> float:
        """Predicted over measured joules."""
        return self.predicted_j / self.measured_j


@dataclass(frozen=True, slots=True)
class Group:
    """The configurations of one operating point and task.

    Attributes
    ----------
    name : str
        Operating point and task.
    rows : tuple of Ratio
        One a configuration, at least one.
    """

    name: str
    rows: tuple[Ratio, ...]

    def statistics(self) -> dict[str, float]:
        """Return the statistics of the group.

        Returns
        -------
        dict of str to float
            ``n`` configurations; ``median_error`` and ``p90_error`` of abs(ratio - 1);
            ``spearman`` rank correlation; ``pairs_in_order``, the share of pairs that
            measurement tells apart by more than 20 % and the prediction orders as measured;
            ``pair_ratio_error``, the median factor by which the ratio of two configurations
            is off; the 10, 50 and 90 % quantiles of the ratio. Statistics of pairs are NaN
            for a single configuration.
        """
        predicted = np.array([row.predicted_j for row in self.rows])
        measured = np.array([row.measured_j for row in self.rows])
        ratio = predicted / measured
        error = np.abs(ratio - 1)
        first, second = np.triu_indices(len(ratio), 1)
        apart = np.abs(np.log(measured[first] / measured[second])) > math.log(_SAME)
        right = (predicted[first] - predicted[second]) * (measured[first] - measured[second]) > 0
        off = np.abs(np.log(ratio[first] / ratio[second]))
        low, middle, high = np.quantile(ratio, [0.1, 0.5, 0.9])
        values = (
            len(ratio),
            np.median(error),
            np.quantile(error, 0.9),
            _spearman(predicted, measured),
            right[apart].mean() if apart.any() else math.nan,
            math.exp(np.median(off)) if len(off) else math.nan,
            low,
            middle,
            high,
        )
        return dict(zip(STATISTICS, map(float, values), strict=True))


@dataclass(frozen=True, slots=True)
class Documented:
    """What is documented of one statistic of one group.

    Attributes
    ----------
    group, statistic : str
        Which one.
    documented : float
        The figure in the documentation.
    low, high : float
        The range within which it is as documented.
    date, source : str
        From when the figure is, and where it comes from.
    """

    group: str
    statistic: str
    documented: float
    low: float
    high: float
    date: str
    source: str

    def holds(self, value: float) -> bool:
        """Return whether a value lies in the range; NaN does not."""
        return self.low <= value <= self.high


@cache
def documented() -> tuple[Documented, ...]:
    """Return the documented statistics, read once."""
    path = Path(__file__).with_name("data") / "validation.csv"
    return tuple(Documented(**row) for _, row in read_csv_rows(path, _NUMBERS))  # type: ignore[arg-type]


def validate(rows: Sequence[Measurement] | None = None) -> tuple[Group, ...]:
    """Predict measured configurations and return them in groups.

    Parameters
    ----------
    rows : sequence of Measurement, optional
        Measurements of serving engines; the shipped ones when not given.

    Returns
    -------
    tuple of Group
        The groups of the documented table and those of the bare kernels.
    """
    rows = measurements() if rows is None else rows
    known = [row for row in rows if row.gpu == "H100" and row.task in {"chat", "gpqa"}]
    predicted = _leave_one_model_out(known)

    def at_reference(name: str, task: str) -> Group:
        """Return each model on the fewest GPUs."""
        found = [row for row in known if row.task == task and row.batch == 64]
        fewest = [min(rows, key=lambda row: row.gpus) for rows in _by_model(found)]
        return Group(
            name,
            tuple(
                Ratio(row.hf_id, predicted[row], row.joules_per_completion_token) for row in fewest
            ),
        )

    def least_energy(name: str, task: str, limit_ms: float) -> Group:
        """Return the least energy of each model, predicted and measured."""
        found = [row for row in known if row.task == task and row.inter_token_ms <= limit_ms]
        return Group(
            name,
            tuple(
                Ratio(
                    rows[0].hf_id,
                    min(predicted[row] for row in rows),
                    min(row.joules_per_completion_token for row in rows),
                )
                for rows in _by_model(found)
            ),
        )

    return (
        at_reference("B = 64, chat", "chat"),
        at_reference("B = 64, GPQA", "gpqa"),
        least_energy("least energy with ITL <= 500 ms, chat", "chat", 500.0),
        _kernels("decode"),
        _kernels("prefill"),
    )


def _leave_one_model_out(rows: Sequence[Measurement]) -> dict[Measurement, float]:
    """Return the prediction of each row by a fit without its model."""
    low, high = _FIT_BATCHES
    fitted = {
        model: fit_serving([r for r in rows if r.model != model and low <= r.batch <= high])
        for model in _unique(row.model for row in rows)
    }
    return {row: row.predict(fitted[row.model]) for row in rows}


def _kernels(phase: str) -> Group:
    return Group(
        f"bare kernels, {phase}",
        tuple(
            Ratio(
                f"{row.model} B={row.batch:g} context={row.context:g}",
                row.predict(),
                row.joules_per_token,
            )
            for row in kernel_measurements()
            if row.phase == phase
        ),
    )


def _spearman(first: _Floats, second: _Floats) -> float:
    if len(first) < 2:
        return math.nan
    ranks = [_ranks(first), _ranks(second)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return math.nan
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def _ranks(values: _Floats) -> _Floats:
    """Return ranks, equal values sharing their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.asarray(np.cumsum(count) - (count - 1) / 2, np.float64)
    ranks: _Floats = np.take(mean_rank, place)
    return ranks


def _by_model(rows: Iterable[Measurement]) -> list[list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for row in rows:
        found.setdefault(row.hf_id, []).append(row)
    return list(found.values())


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
