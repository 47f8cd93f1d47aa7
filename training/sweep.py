"""A search for the parts of the router that suit some runs, and a test of what was found.

The prompts are split once. On one part options are searched by the out-of-fold figure that
training itself chooses by, so no prompt is judged by a model that has seen it. The best of many
trials looks better than it is; so the best options and the default ones are then fitted on that
part and compared on the other, which took no part in the search.

References
----------
Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework (KDD 2019).
Bergstra et al., Algorithms for Hyper-Parameter Optimization (NeurIPS 2011): the sampler, TPE.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError, DataError
from router.eval.frontier_difference import frontier_difference
from router.eval.intervals import Interval
from router.eval.protocol import BenchmarkSplit, split_prompts
from router.eval.scoring import Truth
from router.eval.splits import PoolPrompts
from router.pool import Pool
from router.training.fit_options import FitOptions
from router.training.fitting import Candidates, fit_candidates, fit_router
from router.training.heads import FAMILIES
from router.training.split_fit import fit_split
from router.training.sweep_space import default_choices, fit_options, suggest_choices
from router.training.targets import Targets, build_targets
from router.training.tracker import Tracker

if TYPE_CHECKING:
    import optuna

__all__ = ["FIGURE", "RUN_ATTRIBUTE", "SweepResult", "open_study", "run_sweep"]

FIGURE = "out_of_fold_log_energy_ratio"
"""What a sweep makes as small as it can."""

RUN_ATTRIBUTE = "mlflow_run_id"
"""Where a study keeps the id of its run, so that a later sitting goes on with it."""

_KEPT_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found.

    Attributes
    ----------
    n_trials : int
        Trials that gave a figure, those of earlier sittings included.
    choices : dict of str to bool or str
        Choices of the best trial.
    best, default : float
        Out-of-fold ``log_energy_ratio`` of the best trial and of the default options. The best
        of many is flattered by chance.
    n_held_out : int
        Prompts that took no part in the search.
    difference : Interval
        On them, ``log_energy_ratio`` of the best options less that of the default ones, with a
        95 % bootstrap interval over prompts; below 0 the best ones take less energy.
    """

    n_trials: int
    choices: dict[str, bool | str]
    best: float
    default: float
    n_held_out: int
    difference: Interval

    @property
    def changed(self) -> dict[str, bool | str]:
        """The choices that are not the default ones."""
        usual = default_choices()
        return {name: value for name, value in self.choices.items() if value != usual[name]}

    def verdict(self) -> str:
        """Say whether the best options are better than the default ones."""
        if not self.changed:
            return "The default options were the best."
        low, high = self.difference.low, self.difference.high
        found = f"{self.difference.mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        if high < 0.0:
            return f"The best options are better than the default ones: {found}."
        if low > 0.0:
            return f"The best options are worse than the default ones: {found}. Keep those."
        return f"No difference to the default options is shown: {found}. Keep those."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self) | {"changed": self.changed, "verdict": self.verdict()}


def open_study(file: Path, name: str, seed: int) -> optuna.Study:
    """Open the study of that name in a file, or begin it.

    Parameters
    ----------
    file : Path
        A journal: lines of JSON, to which several processes may append.
    name : str
        Names runs and settings, so that a study never goes on with others.
    seed : int
        Seed of the sampler.

    Returns
    -------
    optuna.Study
        With the default options as its first trial.

    Raises
    ------
    ConfigError
        If the file is not a journal or cannot be written.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check_journal(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
        study = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is not the journal of a sweep: {error}") from error
    # a new sitting must not draw what the last one drew
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), multivariate=True)
    if not study.trials:
        study.enqueue_trial(default_choices())
    return study


def run_sweep(
    study: optuna.Study,
    prompts: PoolPrompts,
    pool: Pool,
    run: Tracker,
    *,
    n_trials: int,
    seed: int = 0,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> SweepResult:
    """Search options until a study has so many trials, then test the best ones.

    Parameters
    ----------
    study : optuna.Study
        From :func:`open_study`; trials that it has already count.
    prompts : PoolPrompts
        The runs.
    pool : Pool
        The candidates.
    run : Tracker
        An open run; each trial gets a run below it.
    n_trials : int
        Trials that the study shall have in the end, at least 1.
    seed : int
        Seed of the split and of the fits.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each trial.

    Returns
    -------
    SweepResult
        The best options and how they compare.

    Raises
    ------
    DataError
        If there are too few prompts for an out-of-fold figure.
    """
    import optuna

    say = progress or (lambda line: None)
    train, test = split_prompts(prompts.cells.groups, seed)
    split = prompts.split(train, test, seed)
    fits = _Fits(split, pool, build_targets(split.train, split.extra, pool), n_jobs)
    done = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    while len(study.get_trials(deepcopy=False, states=done)) < n_trials:
        trial = study.ask()
        choices = suggest_choices(trial)
        options = fit_options(choices)
        if options is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        with run.nested(f"trial {trial.number}", "trial") as below:
            below.log_params({"pool": pool.name, "trial": trial.number, **choices})
            started = time.perf_counter()
            figure = fits.figure(options)
            if not isfinite(figure):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                raise DataError("too few prompts that every model was graded on for a figure")
            below.log_metrics({FIGURE: figure, "train_s": time.perf_counter() - started})
        study.tell(trial, figure)
        say(f"trial {trial.number}: {FIGURE} {figure:+.4f}, best {study.best_value:+.4f}")
    say(f"comparing the best options with the default ones on {len(test)} prompts")
    result = _result(study, fits, prompts.truth(split, test), prompts.cells.groups[test])
    run.log_metrics(
        {
            FIGURE: result.best,
            f"default_{FIGURE}": result.default,
            "n_trials": float(result.n_trials),
            "best_minus_default": result.difference.mean,
            "best_minus_default_low": result.difference.low,
            "best_minus_default_high": result.difference.high,
        }
    )
    run.describe(f"{result.verdict()}\n\nBest options: {_shown(result.changed)}")
    return result


@dataclass(slots=True)
class _Fits:
    """Fits on the part to search on, with the candidates of the last few sets of blocks."""

    split: BenchmarkSplit
    pool: Pool
    targets: Targets
    n_jobs: int
    _known: dict[tuple[str, ...], Candidates] = field(default_factory=dict)

    def candidates(self, blocks: tuple[str, ...]) -> Candidates:
        """Return candidates of all families on these blocks."""
        if blocks not in self._known:
            while len(self._known) >= _KEPT_CANDIDATES:
                del self._known[next(iter(self._known))]
            self._known[blocks] = fit_candidates(
                self.split.train_features,
                self.targets,
                self.split.train.groups,
                options=FitOptions(blocks=blocks, heads=FAMILIES),
                seed=self.split.seed,
                n_jobs=self.n_jobs,
            )
        return self._known[blocks]

    def figure(self, options: FitOptions) -> float:
        """Return the out-of-fold figure of options."""
        return fit_router(
            self.split.train_features,
            self.targets,
            self.split.train.groups,
            self.split.train_energy_j,
            self.pool,
            options=options,
            candidates=self.candidates(options.blocks),
            seed=self.split.seed,
            n_jobs=self.n_jobs,
        ).evidence.log_energy_ratio

    def choices(self, options: FitOptions) -> NDArray[np.integer]:
        """Return what options choose for the other part, along the dial."""
        found = fit_split(
            self.split,
            self.pool,
            options=options,
            candidates=self.candidates(options.blocks),
            n_jobs=self.n_jobs,
        ).outcome.choices
        assert found is not None
        return found


def _result(
    study: optuna.Study,
    fits: _Fits,
    truth: Truth,
    groups: NDArray[np.integer],
) -> SweepResult:
    choices = dict(study.best_params)
    best, usual = fit_options(choices), FitOptions()
    assert best is not None
    default = next(
        (t.value for t in study.trials if t.params == default_choices() and t.value is not None),
        None,
    )
    difference = Interval(0.0, 0.0, 0.0)
    if best != usual:
        difference = frontier_difference(
            fits.choices(best), fits.choices(usual), fits.split, truth, groups
        )
    values = [t.value for t in study.trials if t.value is not None]
    return SweepResult(
        n_trials=len(values),
        choices=choices,
        best=float(study.best_value),
        default=fits.figure(usual) if default is None else float(default),
        n_held_out=len(groups),
        difference=difference,
    )


def _check_journal(file: Path) -> None:
    """Refuse a file of another kind: optuna would append to it."""
    try:
        with file.open("rb") as lines:
            first = json.loads(next(lines, b'{"op_code": 0}'))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not the journal of a sweep: {error}") from error
    if not isinstance(first, dict) or "op_code" not in first:
        raise ConfigError(f"{file} is not the journal of a sweep: it begins with something else")


def _shown(choices: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in choices.items()) or "the default ones"
