"""The result of a benchmark: figures with intervals, frontiers, data and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.eval.baselines.fixed import ORACLE, ZERO_ROUTER
from router.eval.intervals import Interval, interval95, paired_interval95
from router.eval.json_types import json_types
from router.eval.length_fit import LengthFit
from router.eval.regrets import Regret
from router.eval.reliability import ReliabilityCurve
from router.eval.task_outcomes import TaskOutcome
from router.eval.traffic import ServedTraffic
from router.eval.verdict import Comparison, compare, state_verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "HEADLINE",
    "TASK_BAR",
    "BenchmarkResult",
    "DataDescription",
    "MethodResult",
    "ModelDescription",
    "SeedDecisions",
]

HEADLINE = "log_energy_ratio"
"""The figure that methods are compared by."""

TASK_BAR = 0.98
"""The quality bar at which tasks and single decisions are described."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """Figures of one method on every seed.

    Attributes
    ----------
    name : str
        Name of the method.
    per_seed : mapping of str to tuple of float
        Every figure, in the order of the seeds; NaN where it does not apply.
    frontier : ndarray of shape (n, 2)
        Energy and quality along its mean frontier, relative to the reference model.
    """

    name: str
    per_seed: Mapping[str, tuple[float, ...]]
    frontier: NDArray[np.float64]

    def interval(self, figure: str) -> Interval:
        """Return mean and 95 % interval of a figure; NaN if the method does not have it."""
        return interval95(self.per_seed.get(figure, ()))

    def difference(self, figure: str, other: MethodResult) -> Interval:
        """Return the paired interval of this method's figure minus the other's."""
        if figure not in self.per_seed or figure not in other.per_seed:
            return interval95(())
        return paired_interval95(self.per_seed[figure], other.per_seed[figure])


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """One model of the pool, and how it did on its own.

    Attributes
    ----------
    name : str
        Its name in the runs.
    basis : str
        What its joules per token rest on.
    joules_per_prompt_token, joules_per_completion_token : float
        Joules.
    mean_quality, mean_energy_j : float
        Over all prompts of the pool.
    relative_energy, relative_quality : float
        On test prompts, relative to the reference model, mean over the seeds.
    measured_share : float
        Share of its answers whose energy was measured.
    unknown_length_share : float
        Share of its answers without completion tokens.
    n_reference : int
        Seeds in which it was the reference model.
    low_factor, high_factor : float
        What its joules per token may be off by, down and up.
    """

    name: str
    basis: str
    joules_per_prompt_token: float
    joules_per_completion_token: float
    mean_quality: float
    mean_energy_j: float
    relative_energy: float
    relative_quality: float
    measured_share: float
    unknown_length_share: float
    n_reference: int
    low_factor: float = 1.0
    high_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class DataDescription:
    """What the benchmark ran on.

    Attributes
    ----------
    runs : tuple of str
        Where the evaluation runs come from.
    n_prompts : int
        Prompts that every model of the pool was graded on.
    n_left_out : int
        Prompts of the runs that some model of the pool was not graded on.
    n_groups : int
        Distinct texts among the prompts.
    n_tasks : int
        Distinct task labels.
    n_train, n_test : int
        Prompts of the two parts, mean over the seeds, rounded.
    n_extra_models : int
        Models outside the pool with runs on its prompts.
    """

    runs: tuple[str, ...]
    n_prompts: int
    n_left_out: int
    n_groups: int
    n_tasks: int
    n_train: int
    n_test: int
    n_extra_models: int


@dataclass(frozen=True, slots=True)
class SeedDecisions:
    """What the router decided on one seed.

    Attributes
    ----------
    seed : int
        The seed.
    prompt_ids : tuple of str
        The test prompts.
    choices : ndarray of shape (n_settings, n_test)
        Column of the chosen model.
    quality, energy_j : ndarray of shape (n_test, n_models)
        Predicted quality and predicted energy in joules.
    """

    seed: int
    prompt_ids: tuple[str, ...]
    choices: NDArray[np.int16]
    quality: NDArray[np.float64]
    energy_j: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Everything that a benchmark found out.

    Attributes
    ----------
    pool : str
        Name of the pool.
    seeds : tuple of int
        Seeds of the splits.
    router : MethodResult
        The router.
    baselines : tuple of MethodResult
        What it was compared with, the oracle among them.
    models : tuple of ModelDescription
        The pool.
    data : DataDescription
        The prompts.
    seed_decisions : tuple of SeedDecisions
        What the router decided, seed by seed.
    peak_rss_mb : float
        Most memory that the process ever held, in MB; NaN where the platform does not tell.
    reliability : tuple of ReliabilityCurve
        Predicted and observed shares of good answers, for each model of the pool.
    lengths : tuple of LengthFit
        Predicted and true lengths of answers, for each model of the pool; empty where the router
        predicts none.
    served : ServedTraffic or None
        What each quality bar led to; None where the router does not say what it would serve. So
        are `tasks` and `regrets` empty.
    tasks : tuple of TaskOutcome
        What each task got at `TASK_BAR`.
    regrets : tuple of Regret
        The worst decisions at `TASK_BAR`.
    """

    pool: str
    seeds: tuple[int, ...]
    router: MethodResult
    baselines: tuple[MethodResult, ...]
    models: tuple[ModelDescription, ...]
    data: DataDescription
    seed_decisions: tuple[SeedDecisions, ...]
    peak_rss_mb: float
    reliability: tuple[ReliabilityCurve, ...] = ()
    lengths: tuple[LengthFit, ...] = ()
    served: ServedTraffic | None = None
    tasks: tuple[TaskOutcome, ...] = ()
    regrets: tuple[Regret, ...] = ()

    @property
    def methods(self) -> tuple[MethodResult, ...]:
        """The router, the baselines from the best to the worst, and the oracle."""
        ranked = sorted(
            self.baselines,
            key=lambda method: (method.name == ORACLE, method.interval(HEADLINE).mean),
        )
        return (self.router, *ranked)

    def comparisons(self) -> dict[str, Comparison]:
        """Compare the router's `log_energy_ratio` with that of each method.

        Returns
        -------
        dict of str to Comparison
            By the method's name, in the order of `methods`.
        """
        return {
            method.name: compare(self.router.difference(HEADLINE, method))
            for method in self.methods[1:]
        }

    def verdict(self) -> str:
        """Say whether the router beats the zero router and each baseline.

        Returns
        -------
        str
            A few sentences.
        """
        others = {
            name: comparison
            for name, comparison in self.comparisons().items()
            if name not in (ORACLE, ZERO_ROUTER)
        }
        return state_verdict(
            self.router.name, self.router.interval(HEADLINE), len(self.seeds), others
        )

    def to_dict(self, *, prompts: bool = True) -> dict[str, Any]:
        """Return everything but the decisions as JSON types; NaN becomes None.

        Parameters
        ----------
        prompts : bool
            Whether the texts of prompts are in it.
        """
        found = {
            "verdict": self.verdict(),
            "pool": self.pool,
            "seeds": list(self.seeds),
            "router": self.router.name,
            "figures": {
                method.name: {
                    figure: {
                        **asdict(method.interval(figure)),
                        "per_seed": list(values),
                    }
                    for figure, values in method.per_seed.items()
                }
                for method in self.methods
            },
            "router_minus_method": {
                method.name: {
                    figure: asdict(self.router.difference(figure, method))
                    for figure in method.per_seed
                    if figure in self.router.per_seed
                }
                for method in self.methods[1:]
            },
            "comparisons": {
                name: comparison.value for name, comparison in self.comparisons().items()
            },
            "frontiers": {method.name: method.frontier.tolist() for method in self.methods},
            "models": [asdict(model) for model in self.models],
            "data": asdict(self.data),
            "reliability": [asdict(curve) for curve in self.reliability],
            "lengths": [asdict(fit) for fit in self.lengths],
            "served": None if self.served is None else self.served.to_dict(),
            "task_bar": TASK_BAR,
            "tasks": [asdict(task) for task in self.tasks],
            "worst_decisions": [
                {
                    **asdict(regret),
                    "loss": regret.loss.value,
                    "text": regret.text if prompts else None,
                    "reason": regret.reason,
                }
                for regret in self.regrets
            ],
            "peak_rss_mb": self.peak_rss_mb,
        }
        plain: dict[str, Any] = json_types(found)
        return plain

    def decisions(self) -> pd.DataFrame:
        """Return every decision of the router.

        Returns
        -------
        pandas.DataFrame
            A row for each seed, setting and test prompt: seed, setting, prompt_id, run_name,
            predicted_quality, predicted_energy_j (joules).
        """
        import pandas as pd

        names = [model.name for model in self.models]
        prompt_ids = sorted({key for part in self.seed_decisions for key in part.prompt_ids})
        number = {key: i for i, key in enumerate(prompt_ids)}
        frames = []
        for part in self.seed_decisions:
            n_settings, n_test = part.choices.shape
            columns = part.choices.astype(np.intp)
            rows = np.arange(n_test)
            ids = np.array([number[key] for key in part.prompt_ids], np.int32)
            frames.append(
                pd.DataFrame(
                    {
                        "seed": np.full(columns.size, part.seed, np.int64),
                        "setting": np.repeat(np.arange(n_settings, dtype=np.int32), n_test),
                        "prompt_id": pd.Categorical.from_codes(
                            np.tile(ids, n_settings), categories=prompt_ids
                        ),
                        "run_name": pd.Categorical.from_codes(
                            columns.reshape(-1), categories=names
                        ),
                        "predicted_quality": part.quality[rows, columns].reshape(-1),
                        "predicted_energy_j": part.energy_j[rows, columns].reshape(-1),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def write_decisions(self, path: str | Path) -> None:
        """Write `decisions` as Parquet.

        Parameters
        ----------
        path : str or Path
            The file; its folder is made.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.decisions().to_parquet(path, index=False)
