"""How far could a router go? Train it where the truth is known, and compare.

``python -m router.training.simulate_redrawn POOL.toml...`` trains a router on each split of the
benchmark protocol and takes the probabilities that it then expects of every prompt and model, out
of fold on the training prompts, for the truth: all grades are drawn anew from them, each right or
wrong, and a second router is trained on the new grades (parametric bootstrap: Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 6). Three figures come of it: that of
the router on the real grades, that of the second router on the new ones, and that of a router
which need not learn because it knows the probabilities. What lies between the last two is the
price of learning from so many grades.

The world of the second router is a friendly one: the features hold all that can be known of a
prompt, and chance patterns in the first router's expectations are real. A router that does as well
on the real grades lacks grades or features rather than a better way to learn. Models outside the
pool have no part in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import click
import numpy as np
from numpy.typing import NDArray

from router.cli.table import render_table
from router.dial import dial_sweep
from router.errors import WattRouteError
from router.eval.intervals import interval95
from router.eval.json_types import json_types
from router.eval.protocol import split_prompts
from router.eval.result import HEADLINE
from router.eval.scoring import score
from router.eval.splits import PoolPrompts
from router.pool import Pool
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    progress_printer,
)
from router.training.split_fit import SplitFit, fit_split

__all__ = ["Redrawn", "main", "redrawn_figures"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Redrawn:
    """``log_energy_ratio`` of one split.

    Attributes
    ----------
    real : float
        Of the router, on the real grades.
    redrawn : float
        Of a router that learned from grades drawn from the first one's probabilities.
    known : float
        Of a router that knows these probabilities.
    """

    real: float
    redrawn: float
    known: float


def redrawn_figures(prompts: PoolPrompts, pool: Pool, seed: int, *, n_jobs: int = 2) -> Redrawn:
    """Train on the real grades of a split and on grades that are drawn anew.

    Parameters
    ----------
    prompts : PoolPrompts
        Prompts with outcomes and features.
    pool : Pool
        The candidates.
    seed : int
        Seed of the split and of the draw.
    n_jobs : int
        Fits at a time.

    Returns
    -------
    Redrawn
        Its three figures.

    Raises
    ------
    DataError
        If there are too few training prompts.
    """
    train, test = split_prompts(prompts.cells.groups, seed)
    split = prompts.split(train, test, seed)
    found = fit_split(split, pool, n_jobs=n_jobs)
    real = score(found.outcome, prompts.truth(split, test), seed).figures[HEADLINE]

    probability = _probabilities(found, train, test, len(prompts))
    drawn = np.random.default_rng([seed, 1]).random(probability.shape) < probability
    cells = replace(prompts.cells, quality=drawn.astype(np.float64))
    prompts = replace(prompts, cells=cells, extra=None)
    split = prompts.split(train, test, seed)
    truth = prompts.truth(split, test)
    second = fit_split(split, pool, n_jobs=n_jobs)
    assert second.outcome.energy_j is not None
    knowing = replace(
        second.outcome,
        choices=dial_sweep(
            probability[test],
            second.outcome.energy_j,
            second.fitted.dial.means,
            second.fitted.reference,
        ),
    )
    return Redrawn(
        real=real,
        redrawn=score(second.outcome, truth, seed).figures[HEADLINE],
        known=score(knowing, truth, seed).figures[HEADLINE],
    )


def _probabilities(
    found: SplitFit, train: NDArray[np.int64], test: NDArray[np.int64], n: int
) -> _Floats:
    """Return what a router expects of all prompts, none of which it has seen."""
    assert found.outcome.quality is not None
    recalibration = found.fitted.model.recalibration
    probability = np.empty((n, found.outcome.quality.shape[1]))
    probability[train] = recalibration.probability(found.fitted.evidence.quality)
    probability[test] = found.outcome.quality
    return probability


@click.command()
@click.argument("pool_files", nargs=-1, required=True, metavar="POOL.toml...")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Splits.")
@jobs_option
@json_option
def main(pool_files: tuple[str, ...], seeds: int, jobs: int, as_json: bool) -> None:
    """Say how far a router could go if the world were as it believes.

    Pools have the format of `wattroute train`, with the runs that they name.
    """
    say = progress_printer()
    found: list[tuple[str, list[Redrawn]]] = []
    try:
        for file in pool_files:
            loaded = load_pool_runs((), file, "error", say)
            prompts = PoolPrompts.prepare(
                loaded.matrix,
                loaded.pool,
                extractor=make_extractor("static", loaded.matrix),
                progress=say,
            )
            rows = []
            for seed in range(seeds):
                rows.append(redrawn_figures(prompts, loaded.pool, seed, n_jobs=jobs))
                say(f"{loaded.pool.name}, seed {seed}")
            found.append((loaded.pool.name, rows))
    except (WattRouteError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        plain = {name: [json_types(asdict(row)) for row in rows] for name, rows in found}
        click.echo(json.dumps(plain, indent=1))
    else:
        click.echo(_render(found))


def _render(found: Sequence[tuple[str, Sequence[Redrawn]]]) -> str:
    table = []
    for name, rows in found:
        cells = [name]
        for figure in ("real", "redrawn", "known"):
            values = interval95([getattr(row, figure) for row in rows])
            cells += [f"{values.mean:.3f}", values.ends(3)]
        table.append(cells)
    headers = ("pool", "real grades", "95 %", "redrawn", "95 %", "known", "95 %")
    return render_table(headers, table, "<>>>>>>")


if __name__ == "__main__":
    main()
