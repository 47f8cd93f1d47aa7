"""Options of the commands that log to MLflow when they are asked to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from router.training.tracker import NullTracker, Tracker

__all__ = ["StartRun", "tracking_options"]

StartRun = Callable[[str, str], Tracker]
"""Takes the name and the kind of a run and returns a tracker, to be entered."""


def tracking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--track``, ``--tracking-uri`` and ``--experiment`` to a command.

    The command gets `start_run`, a :data:`StartRun`. What it returns writes nothing down unless
    the user asked for it.

    Parameters
    ----------
    command : callable
        The function below ``@click.command``.

    Returns
    -------
    callable
        The same with the options.
    """

    @click.option("--track", is_flag=True, help="Log to MLflow, beside the trainings.")
    @click.option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store to log to.  [default with --track: MLFLOW_TRACKING_URI, else "
        "sqlite:///mlflow.db]",
    )
    @click.option("--experiment", default="wattroute", show_default=True, help="MLflow experiment.")
    @functools.wraps(command)
    def tracked(
        *args: Any, track: bool, tracking_uri: str | None, experiment: str, **options: Any
    ) -> Any:
        def start_run(name: str, kind: str) -> Tracker:
            if not track and tracking_uri is None:
                return NullTracker()
            from router.training.tracking import MlflowTracker

            return MlflowTracker(tracking_uri, experiment, name, kind)

        return command(*args, start_run=start_run, **options)

    return tracked
