"""Measure the monitor on real runs: false alarms, and how soon it sees drift.

``python -m router.training.simulate_drift POOL.toml`` trains a router on the training prompts of
the benchmark protocol, routes the held-out prompts at one bar, and draws streams from them with
replacement: with a drop of quality from the start or later, with one model failing, and, with
``--unseen``, with prompts of a kind of tasks that was kept out of training. Without drift there
are three kinds of streams. Those with replacement show the luck of the few held-out prompts again
and again. To the letter of the promise are those with each prompt once, and those that are
compared with answers to the same prompts.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
import numpy as np

from router import Router
from router.cli.table import render_table
from router.errors import ConfigError, WattRouteError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import split_prompts
from router.monitor import Baseline
from router.monitor.baseline import stored_baselines
from router.pool import Pool
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    progress_printer,
)
from router.training.drift_streams import Change, StreamOutcomes, Traffic, simulate_streams
from router.training.train import train_router

__all__ = ["main", "prepared_traffic", "routed_traffic"]

_ONCE, _EXCHANGEABLE = "none, each prompt once", "none, exchangeable"
_HORIZON = 1_000
_LATE = 1_000

_Result = tuple[int | None, str, StreamOutcomes]
"""Seed of a split (None: all of them), what drifted, and what came of it."""


def routed_traffic(router: Router, matrix: AnswerMatrix, bar: float) -> Traffic:
    """Route prompts with known outcomes at a quality bar.

    Parameters
    ----------
    router : Router
        The router.
    matrix : AnswerMatrix
        The prompts, every model of the pool graded on each, in the pool's order.
    bar : float
        The quality bar.

    Returns
    -------
    Traffic
        What the router chose and predicted, and what came of it.
    """
    column = {model.id: j for j, model in enumerate(router.models)}
    decisions = router.route_many(matrix.prompts, quality=bar)
    chosen = [column[decision.model] for decision in decisions]
    novelty = [decision.novelty for decision in decisions]
    return Traffic(
        model=tuple(decision.model for decision in decisions),
        probability=np.array([decision.probability for decision in decisions]),
        quality=matrix.quality[np.arange(len(matrix)), chosen],
        novelty=None if None in novelty else np.array(novelty, np.float64),
    )


def prepared_traffic(
    matrix: AnswerMatrix,
    pool: Pool,
    bar: float,
    seed: int,
    *,
    unseen: str | None = None,
    n_jobs: int = 2,
) -> tuple[Baseline, Traffic, Traffic | None]:
    """Train on the training prompts of a split and route its test prompts.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs.
    pool : Pool
        The candidates.
    bar : float
        Quality bar of the traffic.
    seed : int
        Seed of the split and of the router.
    unseen : str, optional
        A part of task labels, between dots: these prompts are kept out of training and traffic.
    n_jobs : int
        Fits at a time.

    Returns
    -------
    baseline : Baseline
        Of the router.
    traffic : Traffic
        Of the test prompts.
    others : Traffic or None
        Of the prompts that were kept out; None without `unseen`.

    Raises
    ------
    ConfigError
        If no task label has `unseen` in it.
    """
    matrix = matrix.rows(~np.isnan(matrix.columns(pool.names).quality).any(axis=1))
    strange = np.array([unseen in task.split(".") for task in matrix.tasks])
    if unseen is not None and not strange.any():
        raise ConfigError(
            f"no task label has the part {unseen!r}: the runs have {matrix.tasks[0]!r}"
        )
    train, test = split_prompts(matrix.groups, seed)
    trained = train_router(
        matrix.rows(train[~strange[train]]), pool, data_digest="", seed=seed, n_jobs=n_jobs
    )
    router = Router(trained.artifact)
    cells = matrix.columns(pool.names)
    baseline = stored_baselines(trained.artifact.lineage).for_bar(bar)
    traffic = routed_traffic(router, cells.rows(test[~strange[test]]), bar)
    others = None if unseen is None else routed_traffic(router, cells.rows(strange), bar)
    return baseline, traffic, others


@click.command()
@click.argument("pool_file", metavar="POOL.toml")
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option("--seeds", default=1, show_default=True, help="Splits, each with its own router.")
@click.option("--bar", default=0.95, show_default=True, help="Quality bar of the traffic.")
@click.option("--streams", default=100, show_default=True, help="Streams of each kind.")
@click.option("--length", default=5_000, show_default=True, help="Observations without drift.")
@click.option("--delta", default=0.1, show_default=True, help="False alarms allowed.")
@click.option("--drop", default=0.05, show_default=True, help="Drop of mean quality.")
@click.option(
    "--unseen",
    metavar="PART",
    help="Keep the prompts with this part of a task label out of training, and mix them in.",
)
@click.option("--share", default=0.2, show_default=True, help="Share of those prompts.")
@jobs_option
@json_option
def main(
    pool_file: str,
    runs: tuple[str, ...],
    seeds: int,
    bar: float,
    streams: int,
    length: int,
    delta: float,
    drop: float,
    unseen: str | None,
    share: float,
    jobs: int,
    as_json: bool,
) -> None:
    """Simulate streams of graded traffic and show when the monitor gives the alarm."""
    say = progress_printer()
    changes = _changes(drop, None if unseen is None else share)
    results: list[_Result] = []
    try:
        loaded = load_pool_runs(runs, pool_file, "error", say)
        for seed in range(seeds):
            baseline, traffic, others = prepared_traffic(
                loaded.matrix, loaded.pool, bar, seed, unseen=unseen, n_jobs=jobs
            )
            say(f"seed {seed}: {baseline.n_answers:,} reference answers, {len(traffic):,} held out")
            for name, change in changes:
                found = simulate_streams(
                    baseline,
                    traffic,
                    change,
                    n_streams=streams,
                    length=length if change is None else change.start + 4 * _HORIZON,
                    delta=delta,
                    seed=seed,
                    others=others,
                    redrawn=baseline.n_answers if name == _EXCHANGEABLE else 0,
                    once=name == _ONCE,
                )
                say(f"seed {seed}: {name}")
                results.append((seed, name, found))
        results += _of_all(results)
    except (WattRouteError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps([_record(*result) for result in results], indent=1))
    else:
        click.echo(_render(results))


def _changes(drop: float, share: float | None) -> list[tuple[str, Change | None]]:
    """Return kinds of streams with their names."""
    drifts = [
        Change("random failures", drop),
        Change("random failures", drop, _LATE),
        Change("less able", drop),
        Change("less able", drop, _LATE),
        Change("one model", 3 * drop, _LATE),
    ]
    if share is not None:
        drifts = [Change("new prompts", share), Change("new prompts", share, _LATE)]
    named = [(f"{drift.kind} {drift.size:g}", drift) for drift in drifts]
    return [("none", None), (_ONCE, None), (_EXCHANGEABLE, None), *named]


def _of_all(results: Sequence[_Result]) -> list[_Result]:
    """Return the streams of all splits together; nothing where there is one split."""
    parts: dict[tuple[str, Change | None], list[StreamOutcomes]] = {}
    for _, name, found in results:
        parts.setdefault((name, found.change), []).append(found)
    return [
        (None, name, StreamOutcomes.together(found))
        for (name, _), found in parts.items()
        if len(found) > 1
    ]


_HEADERS = (
    "seed",
    "drift",
    "from",
    "streams",
    "false alarms",
    "95 %",
    f"found in {_HORIZON:,}",
    "median delay",
    "95 %",
    "named right",
    "wrong",
)


def _render(results: Sequence[_Result]) -> str:
    rows = []
    for seed, name, found in results:
        share, low, high = found.false_alarms
        change = found.change
        cells: list[object] = ["all" if seed is None else seed, name]
        cells += ["" if change is None else change.start]
        cells += [found.n_streams, f"{share:.2f}", f"{low:.2f} to {high:.2f}"]
        if change is None:
            cells += [""] * 5
        else:
            middle, shortest, longest = found.median_delay
            cells += [
                f"{found.detected_within(_HORIZON):.2f}",
                f"{middle:.0f}",
                f"{shortest:.0f} to {longest:.0f}",
                *(found.named if change.kind == "one model" else ("", "")),
            ]
        rows.append(cells)
    return render_table(_HEADERS, rows, "><>>>>>>>>>")


def _record(seed: int | None, name: str, found: StreamOutcomes) -> dict[str, object]:
    """Return one row as JSON types; an infinite delay becomes None, and so does "all seeds"."""
    change = found.change
    record: dict[str, object] = {
        "seed": seed,
        "name": name,
        "drift": None if change is None else asdict(change),
        "n_streams": found.n_streams,
        "false_alarms": found.false_alarms,
    }
    if change is not None:
        delays = found.median_delay
        record["detected"] = found.detected_within(_HORIZON)
        record["median_delay"] = [d if math.isfinite(d) else None for d in delays]
        record["named_right"], record["named_wrong"] = found.named
    return record


if __name__ == "__main__":
    main()
