"""The share of prompts that is best held out of training to certify the router.

``python -m router.training.certify.share POOL.toml`` trains on what is left of the training prompts
of the benchmark protocol, certifies on the others, and looks at the energy and the quality of what
is then served on the test prompts. Fewer calibration prompts certify more careful settings; fewer
training prompts make a worse router.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click
import numpy as np

from router.cli.table import render_table
from router.errors import WattRouteError
from router.eval.intervals import interval95
from router.eval.protocol import reference_model, split_prompts
from router.training.calibration import hold_out
from router.training.certify.paired import gather
from router.training.certify.population import GradedRuns, Population
from router.training.certify.sequence import certified_steps
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    progress_printer,
)

__all__ = ["ShareCell", "main", "share_cells"]

_BARS = (0.90, 0.95, 0.98)
_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True)
class ShareCell:
    """What came of holding out a share of the training prompts.

    Attributes
    ----------
    seed : int
        Seed of the split and of the training.
    share : float
        Share that was held out.
    n_training, n_calibration : int
        Prompts that trained and that certified.
    bar : float
        Share of the reference model's mean quality.
    energy, quality : float
        What is served on the test prompts, relative to the best single model of all training
        prompts: what is left after some are held out may show another one as the best.
    own : float
        Energy of the setting that the test prompts themselves would allow, relative to the same.
    """

    seed: int
    share: float
    n_training: int
    n_calibration: int
    bar: float
    energy: float
    quality: float
    own: float


def share_cells(
    runs: GradedRuns,
    shares: Sequence[float],
    *,
    seed: int = 0,
    draws: int = 40,
    n_jobs: int = 2,
) -> Iterator[ShareCell]:
    """Train, certify and serve with each share, on one split.

    Parameters
    ----------
    runs : GradedRuns
        Evaluation runs.
    shares : sequence of float
        Shares of the training prompts to hold out.
    seed : int
        Seed of the split, of what is held out and of the training.
    draws : int
        Samples that are drawn again from the prompts held out, to even out their luck.
    n_jobs : int
        Fits at a time.

    Yields
    ------
    ShareCell
        By share and bar; none for a share of fewer than 100 prompts.
    """
    groups = runs.cells.groups
    training, test = split_prompts(groups, seed)
    best = reference_model(runs.cells.quality[training], runs.energy_j[training])
    for share in shares:
        every = np.ones(len(training), bool)
        part, held = hold_out(groups[training], every, share, seed)
        if not len(held):
            continue
        rest = np.concatenate([training[held], test])
        population = runs.population(training[part], rest, seed=seed, n_jobs=n_jobs)
        calibration = population.rows(np.arange(len(held)))
        served = population.rows(np.arange(len(held), len(rest)))
        reference_j, best_j = served.energy_j[:, [served.reference, best]].mean(axis=0).tolist()
        for bar in _BARS:
            energy, quality = _served(calibration, served, bar, draws, seed)
            yield ShareCell(
                seed=seed,
                share=share,
                n_training=len(part),
                n_calibration=len(held),
                bar=bar,
                energy=energy / best_j,
                quality=quality / float(served.quality[:, best].mean()),
                own=served.least_energy(bar) * reference_j / best_j,
            )


def _served(
    calibration: Population, served: Population, bar: float, draws: int, seed: int
) -> tuple[float, float]:
    """Return mean energy in joules and mean quality of what serves."""
    n = len(calibration.quality)
    path = calibration.path(n)
    quality, energy_j = calibration.outcomes(path)
    reference = calibration.quality[:, calibration.reference]
    kept, spent = (outcome.mean(axis=1) for outcome in served.outcomes(path))
    alone = served.energy_j[:, served.reference].mean(), served.quality[:, served.reference].mean()
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        rows = rng.integers(0, n, n)
        evidence = gather("exact", quality[:, rows], reference[rows], rng.random(n))
        steps = certified_steps(evidence, bar, 1.0 - _CONFIDENCE)
        if not steps:
            found.append(alone)
            continue
        step = int(energy_j[:steps, rows].mean(axis=1).argmin())
        found.append((spent[step], kept[step]))
    energy, mean_quality = np.mean(found, axis=0).tolist()
    return energy, mean_quality


@click.command()
@click.argument("pool_file", metavar="POOL.toml")
@click.option(
    "--share",
    "shares",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    multiple=True,
    default=(0.15, 0.25, 0.4),
    show_default=True,
    help="Share of the training prompts to hold out; repeat for more.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Splits.")
@jobs_option
@json_option
def main(pool_file: str, shares: tuple[float, ...], seeds: int, jobs: int, as_json: bool) -> None:
    """Compare shares of prompts that are held out of training to certify the router."""
    say = progress_printer()
    cells = []
    try:
        loaded = load_pool_runs((), pool_file, "error", say)
        runs = GradedRuns.of(loaded.matrix, loaded.pool)
        for seed in range(seeds):
            for cell in share_cells(runs, shares, seed=seed, n_jobs=jobs):
                cells.append(cell)
                say(f"seed {seed}, share {cell.share:g}, bar {cell.bar:g}: {cell.energy:.3f}")
    except (WattRouteError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps([asdict(cell) for cell in cells], indent=1))
        return
    headers = ("share", "held out", "bar", "energy", "95 %", "quality", "best for the test prompts")
    click.echo(render_table(headers, _rows(cells), ">>>>>>>"))


def _rows(cells: Sequence[ShareCell]) -> list[tuple[str, ...]]:
    """Return a row for each share and bar, means over the splits."""
    rows: list[tuple[str, ...]] = []
    for share, bar in dict.fromkeys((cell.share, cell.bar) for cell in cells):
        here = [cell for cell in cells if (cell.share, cell.bar) == (share, bar)]
        energy = interval95([cell.energy for cell in here])
        n, quality, own = np.mean([(c.n_calibration, c.quality, c.own) for c in here], 0).tolist()
        first = (f"{share:g}", f"{n:,.0f}", f"{bar:g}", f"{energy.mean:.3f}", energy.ends(3))
        rows.append((*first, f"{quality:.3f}", f"{own:.3f}"))
    return rows


if __name__ == "__main__":
    main()
