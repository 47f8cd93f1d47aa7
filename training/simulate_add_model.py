"""Measure what a model that is added with few graded prompts is worth, on real runs.

``python -m router.training.simulate_add_model POOL.toml...`` leaves each model of each pool out in
turn, as :mod:`router.training.leave_one_model_out` says. With ``--rows`` what was measured is kept
in a file, so that a long run can be interrupted and extended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from router.cli.table import render_table
from router.errors import ConfigError, WattRouteError
from router.eval.intervals import Interval, interval95
from router.eval.json_types import json_types
from router.features import FeatureExtractor
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    progress_printer,
)
from router.training.leave_one_model_out import BARS, Addition, LeaveOneOut, full_share

__all__ = ["AdditionTable", "main"]

_Floats = NDArray[np.float64]

_GOAL = 0.9
_CHOSEN = ("random", "selected")


@dataclass(frozen=True, slots=True)
class AdditionTable:
    """All additions that were measured, with the pools that they belong to.

    Attributes
    ----------
    rows : tuple of (str, Addition)
        Name of the pool, and what was measured.
    """

    rows: tuple[tuple[str, Addition], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of graded prompts, ascending."""
        return tuple(sorted({addition.n for _, addition in self.rows}))

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools, in the order measured."""
        return tuple(dict.fromkeys(pool for pool, _ in self.rows))

    def models(self, pools: Sequence[str]) -> list[tuple[str, str]]:
        """Return pool and name of each model of some pools."""
        return list(dict.fromkeys((p, a.model) for p, a in self.rows if p in pools))

    def grid(
        self, pools: Sequence[str], n: int, chosen: str, value: Callable[[Addition], float]
    ) -> _Floats:
        """Return a figure of shape (n_models, n_seeds), the mean over draws; NaN where missing."""
        models = self.models(pools)
        seeds = sorted({addition.seed for _, addition in self.rows})
        cells: dict[tuple[int, int], list[float]] = {}
        for pool, addition in self.rows:
            if pool in pools and (addition.n, addition.chosen) == (n, chosen):
                place = models.index((pool, addition.model)), seeds.index(addition.seed)
                cells.setdefault(place, []).append(value(addition))
        found = np.full((len(models), len(seeds)), np.nan)
        for place, values in cells.items():
            found[place] = np.mean(values)
        return found[:, ~np.isnan(found).any(axis=0)]

    def summary(self, pools: Sequence[str], n: int) -> dict[str, Any]:
        """Return the figures of one number of prompts.

        Parameters
        ----------
        pools : sequence of str
            Pools whose models count.
        n : int
            Graded prompts.

        Returns
        -------
        dict
            For each way to choose: ``full`` and ``told``, the medians over models of the share of
            the gain of full data by both yardsticks; ``reached``, how many models have a share of
            at least 0.9 of the gain of full training in the mean over seeds; ``total``, the sum of
            all gains over that of full training. Beside them what
            selection gains over chance: ``gain`` in ``log_energy_ratio`` and ``brier``, means over
            models. Intervals are over seeds.
        """
        found: dict[str, Any] = {"n": n, "n_models": len(self.models(pools))}
        over_models = {}
        for chosen in _CHOSEN:
            full = self.grid(pools, n, chosen, lambda a: a.full_gain)
            told = self.grid(pools, n, chosen, lambda a: a.told_gain)
            gain = self.grid(pools, n, chosen, lambda a: a.gain)
            brier = self.grid(pools, n, chosen, lambda a: a.brier)
            found[chosen] = {
                "full": _median_share(full, gain),
                "told": _median_share(told, gain),
                "reached": sum(
                    full_share(*means) >= _GOAL
                    for means in zip(
                        full.mean(axis=1).tolist(), gain.mean(axis=1).tolist(), strict=True
                    )
                ),
                "total": interval95(gain.sum(axis=0) / full.sum(axis=0)),
            }
            over_models[chosen] = gain.mean(axis=0), brier.mean(axis=0)
        (gain_0, brier_0), (gain_1, brier_1) = (over_models[chosen] for chosen in _CHOSEN)
        return found | {
            "gain": interval95(gain_1 - gain_0),
            "brier": interval95(brier_1 - brier_0),
        }

    def broken(self, n: int) -> list[tuple[float, float, float, float]]:
        """Return bar, share of routers that kept it, and mean quality kept before and after."""
        return [
            (
                bar,
                float(np.mean([a.kept[i] >= bar for _, a in self.rows if a.n == n])),
                float(np.mean([a.kept_before[i] for _, a in self.rows if a.n == n])),
                float(np.mean([a.kept[i] for _, a in self.rows if a.n == n])),
            )
            for i, bar in enumerate(BARS)
        ]


@click.command()
@click.argument("pool_files", nargs=-1, required=True, metavar="POOL.toml...")
@click.option("--seeds", default=1, show_default=True, help="Splits, each with its own routers.")
@click.option("--sizes", default="50,100,200,300", show_default=True, help="Graded prompts.")
@click.option("--draws", default=2, show_default=True, help="Random choices of prompts a split.")
@click.option("--rows", "rows_file", metavar="FILE.jsonl", help="Keeps what was measured.")
@jobs_option
@json_option
def main(
    pool_files: tuple[str, ...],
    seeds: int,
    sizes: str,
    draws: int,
    rows_file: str | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Leave each model of the pools out, add it with few graded prompts, and say what that gains.

    Pools have the format of `wattroute train`, with the runs that they name.
    """
    say = progress_printer()
    try:
        counts = sorted({int(part) for part in sizes.split(",")})
        kept = _Kept(None if rows_file is None else Path(rows_file))
        for file in pool_files:
            _measure(file, range(seeds), counts, draws, jobs, kept, say)
    except ValueError as error:
        click.echo(f"error: --sizes {sizes}: {error}", err=True)
        sys.exit(2)
    except (WattRouteError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    table = AdditionTable(tuple(kept.rows))
    groups: dict[str, tuple[str, ...]] = {pool: (pool,) for pool in table.pools}
    if len(groups) > 1:
        groups["all"] = table.pools
    summaries = {
        name: [table.summary(pools, n) for n in table.sizes] for name, pools in groups.items()
    }
    if as_json:
        rows = [{"pool": pool, **addition.to_dict()} for pool, addition in table.rows]
        plain = {
            name: [_plain(figures) for figures in of_pool] for name, of_pool in summaries.items()
        }
        click.echo(json.dumps({"summary": plain, "rows": rows}, indent=1))
    else:
        click.echo(_render(table, summaries))


class _Kept:
    """Rows that were measured, in memory and in a file."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.rows: list[tuple[str, Addition]] = []
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                stored = json.loads(line)
                self.rows.append((stored.pop("pool"), Addition.from_dict(stored)))

    def has(self, pool: str, seed: int, model: str, counts: Sequence[int]) -> bool:
        """Whether a model was measured with all these numbers of prompts."""
        found = {a.n for p, a in self.rows if (p, a.seed, a.model) == (pool, seed, model)}
        return found >= set(counts)

    def add(self, pool: str, additions: Sequence[Addition]) -> None:
        """Keep the rows of one model."""
        self.rows += [(pool, addition) for addition in additions]
        if self.file is None:
            return
        with self.file.open("a", encoding="utf-8") as out:
            for addition in additions:
                out.write(json.dumps({"pool": pool, **addition.to_dict()}) + "\n")


def _measure(
    file: str,
    seeds: Sequence[int],
    counts: Sequence[int],
    draws: int,
    jobs: int,
    kept: _Kept,
    say: Callable[[str], None],
) -> None:
    loaded = load_pool_runs((), file, "error", say)
    pool = loaded.pool
    extractor = FeatureExtractor()
    say(f"{pool.name}: features of {len(loaded.matrix):,} prompts")
    features = extractor.extract(loaded.matrix.prompts)
    for seed in seeds:
        missing = [
            j for j, name in enumerate(pool.names) if not kept.has(pool.name, seed, name, counts)
        ]
        if not missing:
            continue
        say(f"{pool.name}, seed {seed}: fitting")
        routers = LeaveOneOut(
            loaded.matrix, pool, extractor, features=features, seed=seed, n_jobs=jobs
        )
        if max(counts) > len(routers.cells):
            raise ConfigError(f"{max(counts)} of {len(routers.cells)} training prompts")
        for j in missing:
            found = list(routers.additions(j, counts, draws))
            kept.add(pool.name, found)
            say(f"{pool.name}, seed {seed}: {pool.names[j]}, full gain {found[0].full_gain:+.3f}")


_HEADERS = ("pool", "n", "chosen", "full", "95 %", "told", "95 %", "full >= 0.9", "sum of gains")


def _median_share(full: _Floats, gain: _Floats) -> Interval:
    """Median over models of the share of the gain of full data, over seeds."""
    return interval95(np.median(np.vectorize(full_share)(full, gain), axis=0))


def _render(table: AdditionTable, summaries: dict[str, list[dict[str, Any]]]) -> str:
    shares, pairs = [], []
    for name, rows in summaries.items():
        for row in rows:
            for chosen in _CHOSEN:
                full, told = row[chosen]["full"], row[chosen]["told"]
                shares.append(
                    (
                        name,
                        row["n"],
                        chosen,
                        f"{full.mean:.2f}",
                        full.ends(2),
                        f"{told.mean:.2f}",
                        told.ends(2),
                        f"{row[chosen]['reached']} of {row['n_models']}",
                        f"{row[chosen]['total'].mean:.2f}",
                    )
                )
            gain, brier = row["gain"], row["brier"]
            pairs.append(
                (
                    name,
                    row["n"],
                    f"{gain.mean:+.3f}",
                    gain.ends(3),
                    f"{brier.mean:+.4f}",
                    brier.ends(4),
                )
            )
    models = [
        (pool, model, *(f"{value:+.3f}" for value in _of_model(table, pool, model)))
        for pool, model in table.models(table.pools)
    ]
    middle = table.sizes[len(table.sizes) // 2]
    kept = [
        (f"{bar:.2f}", f"{share:.2f}", f"{before:.3f}", f"{after:.3f}")
        for bar, share, before, after in table.broken(middle)
    ]
    return "\n\n".join(
        [
            "Median over models of the share of the gain of full training, and of being told:",
            render_table(_HEADERS, shares, "<><>>>>>>"),
            "Selected prompts less random ones (gain in log_energy_ratio, squared error):",
            render_table(("pool", "n", "gain", "95 %", "brier", "95 %"), pairs, "<>>>>>"),
            f"Gain of each model, and with {middle} prompts:",
            render_table(("pool", "model", "full", "told", *_CHOSEN), models, "<<>>>>"),
            f"Quality kept by the dial's estimate, with {middle} prompts:",
            render_table(("bar", "kept by", "mean before", "mean after"), kept, ">>>>"),
        ]
    )


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures as JSON types."""
    found = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            found[key] = _plain(value)
        else:
            found[key] = json_types(asdict(value)) if isinstance(value, Interval) else value
    return found


def _of_model(table: AdditionTable, pool: str, model: str) -> tuple[float, ...]:
    middle = table.sizes[len(table.sizes) // 2]
    place = table.models((pool,)).index((pool, model))
    yardsticks = (
        table.grid((pool,), middle, _CHOSEN[0], value)[place].mean()
        for value in (lambda a: a.full_gain, lambda a: a.told_gain)
    )
    gains = (table.grid((pool,), middle, c, lambda a: a.gain)[place].mean() for c in _CHOSEN)
    return tuple(float(value) for value in (*yardsticks, *gains))


if __name__ == "__main__":
    main()
