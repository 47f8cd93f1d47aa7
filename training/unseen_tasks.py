"""Leave one family of tasks out of training, and see what the router does on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import split_prompts
from router.eval.splits import PoolPrompts
from router.eval.unseen_tasks import (
    BarOutcome,
    FamilyOutcome,
    UnseenTasks,
    auroc_interval,
    bar_outcome,
)
from router.features import FeatureExtractor
from router.messages import prompt_text
from router.novelty import NoveltyGuard
from router.pool import Pool
from router.request import Request
from router.training.fitting import FittedRouter, fit_router
from router.training.novelty import fit_guard
from router.training.targets import build_targets

__all__ = ["leading_parts", "run_unseen_tasks"]

_Progress = Callable[[str], None]

_BARS = (0.90, 0.95, 0.98)
_MIN_PROMPTS = 30
_MIN_KNOWN = 60


def run_unseen_tasks(
    matrix: AnswerMatrix,
    pool: Pool,
    family_of: Callable[[str], str],
    *,
    bars: Sequence[float] = _BARS,
    only: Sequence[str] = (),
    extractor: FeatureExtractor | None = None,
    seed: int = 0,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> UnseenTasks:
    """Train on all families but one and test on that one, for every family.

    Of the prompts of the other families 70 % train the router and its guard, as
    :func:`router.training.train.train_router` does; the rest say what the guard costs where
    prompts are like those of training, and what novelty is measured against.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs with task labels. Models outside the pool serve as extra targets.
    pool : Pool
        The candidates.
    family_of : callable
        From a task label to its family; prompts without a label are always known.
    bars : sequence of float
        Quality bars, in (0, 1].
    only : sequence of str
        Families to leave out; all that are large enough where empty.
    extractor : FeatureExtractor, optional
        Computes the features.
    seed : int
        Seed of all that is random.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    UnseenTasks
        Outcomes by family.

    Raises
    ------
    ConfigError
        If a bar is out of range, or a name of `only` is not that of a family.
    DataError
        If the runs lack a model of the pool, or fewer than two families are large enough.
    """
    say = progress or (lambda line: None)
    if not bars or not all(0.0 < bar <= 1.0 for bar in bars):
        raise ConfigError(f"bars is {list(bars)}: use shares of the reference in (0, 1]")
    prompts = PoolPrompts.prepare(matrix, pool, extractor=extractor, progress=progress)
    labels = np.array([family_of(task) if task else "" for task in prompts.cells.tasks])
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    large = [
        str(name)
        for name, count in zip(names, counts, strict=True)
        if count >= _MIN_PROMPTS and len(labels) - count >= _MIN_KNOWN
    ]
    if len(names) < 2 or not large:
        raise DataError(
            f"{len(names)} families of tasks, {len(large)} of them with {_MIN_PROMPTS} prompts or "
            f"more: two families are needed, and a task label for each prompt",
            field="task",
        )
    unknown = sorted(set(only) - set(large))
    if unknown:
        raise ConfigError(f"no family {unknown[0]!r} that is large enough: use {', '.join(large)}")
    outcomes = []
    for family in only or large:
        say(f"without {family}")
        outcome = _leave_out(prompts, pool, labels == family, family, bars, seed, n_jobs)
        outcomes.append(outcome)
        shown = ", ".join(f"{o.quality.mean:.3f} at {o.bar:g}" for o in outcome.bars)
        say(f"  AUROC {outcome.auroc.mean:.3f}, {outcome.novel:.1%} novel; quality {shown}")
    small = tuple(str(name) for name in names if str(name) not in large)
    return UnseenTasks(pool.name, seed, tuple(outcomes), small)


def leading_parts(n_parts: int) -> Callable[[str], str]:
    """Return a function that takes the first parts of a label.

    Parameters
    ----------
    n_parts : int
        How many of the parts between dots or slashes.

    Examples
    --------
    >>> leading_parts(1)("mmlu-redux.anatomy")
    'mmlu-redux'
    >>> leading_parts(2)("easy/ab")
    'easy/ab'
    """

    def family(task: str) -> str:
        parts = task.replace("/", ".").split(".")[:n_parts]
        return task[: len(".".join(parts))]

    return family


def _leave_out(
    prompts: PoolPrompts,
    pool: Pool,
    left_out: NDArray[np.bool_],
    family: str,
    bars: Sequence[float],
    seed: int,
    n_jobs: int,
) -> FamilyOutcome:
    groups = prompts.cells.groups
    # a text of the family that is also in another one would be known
    inside = np.flatnonzero(left_out & ~np.isin(groups, groups[~left_out]))
    if not len(inside):
        raise DataError(f"every prompt of family {family!r} is also in another one", field="task")
    rest = np.flatnonzero(~left_out)
    train, known = (rest[part] for part in split_prompts(groups[rest], seed))
    learned = prompts.rows(train)
    fitted = fit_router(
        learned.features,
        build_targets(learned.cells, learned.extra, pool),
        learned.cells.groups,
        learned.energy_j,
        pool,
        seed=seed,
        n_jobs=n_jobs,
    )
    guard = fit_guard(
        learned.features,
        learned.cells.groups,
        learned.cells.quality,
        fitted.reference,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    unseen, familiar = prompts.rows(inside), prompts.rows(known)
    novelty, usual = (guard.novelty(part.features) for part in (unseen, familiar))
    reference = fitted.reference
    return FamilyOutcome(
        family=family,
        n_train=len(train),
        n_prompts=len(inside),
        n_known=len(known),
        auroc=auroc_interval(
            guard.neighbourhood.score(unseen.features),
            guard.neighbourhood.score(familiar.features),
            rng,
        ),
        novel=float((novelty >= guard.level).mean()),
        false_alarms=float((usual >= guard.level).mean()),
        reference=pool.names[reference],
        reference_quality=float(unseen.cells.quality[:, reference].mean()),
        bars=_outcomes(fitted, guard, unseen, novelty, pool, bars, rng),
        known=_outcomes(fitted, guard, familiar, usual, pool, bars, rng),
    )


def _outcomes(
    fitted: FittedRouter,
    guard: NoveltyGuard,
    prompts: PoolPrompts,
    novelty: NDArray[np.float64],
    pool: Pool,
    bars: Sequence[float],
    rng: np.random.Generator,
) -> tuple[BarOutcome, ...]:
    """Measure what `Router.route_many` would serve at each bar, with and without the guard."""
    characters = np.array([max(len(prompt_text(p).text), 1) for p in prompts.cells.prompts], float)
    scores = fitted.model.score(prompts.features, characters)
    expected_j = pool.joules(scores.prompt_tokens, scores.completion_tokens)
    novel = novelty >= guard.level
    outcomes = []
    for bar in bars:
        request = Request.build(
            bar,
            fitted.dial.setting_for(bar),
            None,
            None,
            pool.names,
            fitted.reference,
            fitted.dial.means,
        )
        plain = request.rank(scores.quality, expected_j, scores.probability)[:, 0]
        careful = request.beyond_training(guard)
        wary = careful.rank(scores.quality, expected_j, scores.probability)[:, 0]
        outcomes.append(
            bar_outcome(
                bar,
                prompts.cells.quality,
                prompts.energy_j,
                np.where(novel, wary, plain),
                plain,
                fitted.reference,
                rng,
            )
        )
    return tuple(outcomes)
