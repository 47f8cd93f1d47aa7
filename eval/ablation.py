"""What each part of a router is worth: figures of routers from which one part was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from router.eval.intervals import Interval, interval95, paired_interval95
from router.eval.json_types import json_types
from router.eval.report.figures import NONE
from router.eval.report.sections import Section, Table

__all__ = ["ALL_PARTS", "OUT_OF_FOLD", "TEST", "PoolAblation", "ablation_sections"]

ALL_PARTS = "all parts"
"""The router as it is, that the others are compared with."""

TEST = "test"
"""``log_energy_ratio`` on the test prompts."""

OUT_OF_FOLD = "out of fold"
"""``log_energy_ratio`` on the training prompts, by heads that had not seen them."""


@dataclass(frozen=True, slots=True)
class PoolAblation:
    """What leaving out each part changed on one pool.

    Attributes
    ----------
    pool : str
        Name of the pool.
    n_prompts : int
        Its prompts.
    seeds : tuple of int
        Seeds of the splits.
    figures : mapping of str to mapping of str to tuple of float
        For each variant of the router, and :data:`ALL_PARTS`: the figures :data:`TEST` and
        :data:`OUT_OF_FOLD`, seed by seed; NaN where one does not apply.
    """

    pool: str
    n_prompts: int
    seeds: tuple[int, ...]
    figures: Mapping[str, Mapping[str, tuple[float, ...]]]

    def interval(self, variant: str, figure: str) -> Interval:
        """Return mean and 95 % interval of a figure."""
        return interval95(self.figures[variant][figure])

    def change(self, variant: str, figure: str) -> Interval:
        """Return the paired interval of the figure of a variant less that of the whole router."""
        return paired_interval95(self.figures[variant][figure], self.figures[ALL_PARTS][figure])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; NaN becomes None."""
        found: dict[str, Any] = json_types(
            {
                "pool": self.pool,
                "n_prompts": self.n_prompts,
                "seeds": self.seeds,
                "variants": {
                    variant: {
                        figure: {
                            "mean": self.interval(variant, figure).mean,
                            "change": asdict(self.change(variant, figure)),
                            "per_seed": values,
                        }
                        for figure, values in figures.items()
                    }
                    for variant, figures in self.figures.items()
                },
            }
        )
        return found


def ablation_sections(pools: Sequence[PoolAblation]) -> tuple[Section, ...]:
    """Return a table of changes on test prompts, one out of fold, and the figures themselves.

    Parameters
    ----------
    pools : sequence of PoolAblation
        With the same variants in the same order.

    Returns
    -------
    tuple of Section
        Rows are variants, columns pools and their mean.
    """
    return (
        Section(
            "Change on test prompts",
            (
                "Change of log_energy_ratio where a part is left out or replaced: above 0 the part "
                "saves energy. Half the width of the paired 95 % interval over the seeds follows; "
                "the last column is the mean over the pools with an interval over the pools.",
            ),
            _changes(pools, TEST),
        ),
        Section(
            "Change out of fold",
            (
                "The same on the training prompts, by heads that had not seen them. Choices may "
                "rest on this table, and on this one alone.",
            ),
            _changes(pools, OUT_OF_FOLD),
        ),
        Section(
            "Figures",
            ("log_energy_ratio itself, on test prompts and out of fold.",),
            Table(
                ("router", *(f"{found.pool} ({len(found.seeds)} seeds)" for found in pools)),
                tuple(
                    (
                        variant,
                        *(
                            f"{_signed(found.interval(variant, TEST).mean)} / "
                            f"{_signed(found.interval(variant, OUT_OF_FOLD).mean)}"
                            for found in pools
                        ),
                    )
                    for variant in pools[0].figures
                ),
                "<" + ">" * len(pools),
            ),
        ),
    )


def _changes(pools: Sequence[PoolAblation], figure: str) -> Table:
    rows = []
    for variant in pools[0].figures:
        if variant == ALL_PARTS:
            continue
        changes = [found.change(variant, figure) for found in pools]
        means = np.array([change.mean for change in changes])
        if np.isnan(means).all():
            continue
        rows.append((variant, *map(_change, changes), _change(interval95(means))))
    return Table(
        ("router", *(found.pool for found in pools), "mean"),
        tuple(rows),
        "<" + ">" * (len(pools) + 1),
    )


def _change(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return NONE
    if math.isnan(interval.low):
        return _signed(interval.mean)
    return f"{_signed(interval.mean)} ± {interval.high - interval.mean:.3f}"


def _signed(value: float) -> str:
    # A change that rounds to nothing has no sign.
    return NONE if math.isnan(value) else f"{value:+.3f}".replace("-0.000", "+0.000")
