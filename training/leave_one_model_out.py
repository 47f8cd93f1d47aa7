"""What adding a model with few graded prompts is worth, against training with all of them.

Each model of a pool is left out in turn: a router is trained without it, and the model is added
with a few of its grades on training prompts. On the test prompts the frontiers of three routers
are compared: without the model, with it added, and trained with all grades of all models.

The gain of a router is what its ``log_energy_ratio`` is below that of the router without the model,
all against the reference model and the zero router of the whole pool. The *share* of the full gain
is 1 less the shortfall (gain of full data less gain of the added model) over the gain of full data,
or over 0.2 where that is less: below that, a shortfall of 0.02 counts as 10 %.

Two fits on nearly the same data differ by a few hundredths, whatever the model that was left out
is worth. So there is a second yardstick without that noise: the router without the model, *told*
what the fully trained router expects of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.dial import PoolMeans, choose, dial_sweep
from router.eval.frontier import energy_at_quality, operating_points, zero_router_points
from router.eval.matrix import AnswerMatrix
from router.eval.metrics import energies_at_bars
from router.eval.protocol import (
    QUALITY_BARS,
    feature_rows,
    reference_model,
    split_prompts,
    true_energy,
)
from router.features import FeatureExtractor, Features
from router.messages import prompt_text
from router.pool import Pool
from router.training.add_model import AddedModel, add_model
from router.training.fitting import fit_router
from router.training.select_prompts import select_prompts
from router.training.targets import Targets, build_targets
from router.training.train import assemble

__all__ = ["BARS", "Addition", "LeaveOneOut", "full_share"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.intp]

BARS = (0.90, 0.95, 0.98)
"""Quality bars whose promise is looked at."""

_LEAST_GAIN = 0.2


@dataclass(frozen=True, slots=True)
class Addition:
    """What adding one model led to on the test prompts.

    Attributes
    ----------
    seed : int
        Seed of the split.
    model : str
        The model that was left out and added.
    n : int
        Graded prompts.
    chosen : {"random", "selected"}
        How they were chosen among the training prompts.
    draw : int
        Number of the random draw.
    full_gain, told_gain, gain : float
        Gain of the router trained with all grades, of the one that was told what that expects of
        the model, and of the one that the model was added to.
    brier : float
        Mean squared error of the new model's expected quality.
    error : float
        Its mean quality as believed, less that over all training prompts.
    deviation : float
        What was believed of that error.
    kept, kept_before : tuple of float
        Share of the reference model's quality that each of `BARS` led to by the dials with and
        without the model; the reference model is that of the router without it.
    """

    seed: int
    model: str
    n: int
    chosen: str
    draw: int
    full_gain: float
    told_gain: float
    gain: float
    brier: float
    error: float
    deviation: float
    kept: tuple[float, ...]
    kept_before: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Addition:
        """Build the record from :meth:`to_dict`."""
        kept = {name: tuple(stored[name]) for name in ("kept", "kept_before")}
        return cls(**(stored | kept))


def full_share(full_gain: float, gain: float) -> float:
    """Return the share of the gain of full data that a gain is.

    Parameters
    ----------
    full_gain, gain : float
        Of full data, and with a few graded prompts.

    Returns
    -------
    float
        As the module says.

    Examples
    --------
    >>> full_share(0.5, 0.45), full_share(0.0, -0.02)
    (0.9, 0.9)
    """
    return 1.0 - (full_gain - gain) / max(full_gain, _LEAST_GAIN)


class LeaveOneOut:
    """Routers of one split with and without each model.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs. Of the models outside the pool those serve as extra targets that were
        graded on every prompt, so that no gap is filled by help of the model that is left out.
    pool : Pool
        The candidates.
    extractor : FeatureExtractor
        What the features come from.
    features : Features, optional
        Features of the prompts of `matrix`, where they are there already.
    seed : int
        Seed of the split and of the fits.
    n_jobs : int
        Fits at a time.
    """

    def __init__(
        self,
        matrix: AnswerMatrix,
        pool: Pool,
        extractor: FeatureExtractor,
        *,
        features: Features | None = None,
        seed: int = 0,
        n_jobs: int = 2,
    ) -> None:
        index = np.flatnonzero(~np.isnan(matrix.columns(pool.names).quality).any(axis=1))
        cells = matrix.columns(pool.names).rows(index)
        energy_j = true_energy(matrix, pool)[index]
        others = [
            name
            for j, name in enumerate(matrix.models)
            if name not in pool.names and not np.isnan(matrix.quality[index, j]).any()
        ]
        if features is None:
            given = cells.embeddings if extractor.spec.encoder.startswith("precomputed") else None
            features = extractor.extract(cells.prompts, given)
        else:
            features = feature_rows(features, index)
        train, test = split_prompts(cells.groups, seed)
        self.pool = pool
        self.seed = seed
        self.cells: AnswerMatrix = cells.rows(train)
        self._extractor = extractor
        self._n_jobs = n_jobs
        self._features = feature_rows(features, train)
        self._test_features = feature_rows(features, test)
        self._energy_j = energy_j[train]
        self._quality, self._spent = cells.quality[test], energy_j[test]
        prompts = [cells.prompts[i] for i in test]
        self._characters = np.array([max(len(prompt_text(p).text), 1) for p in prompts], float)
        extra = matrix.columns(others).rows(index[train]) if others else None
        self._targets = build_targets(self.cells, extra, pool)
        self._reference = reference_model(self.cells.quality, self._energy_j)
        self._goal = np.array(
            [column[:, self._reference].mean() for column in (self._spent, self._quality)]
        )
        zero = zero_router_points(self.cells.quality, self._energy_j, self._quality, self._spent)
        self._zero_j = energies_at_bars(zero, self._goal)
        every = list(range(len(pool.models)))
        full = self._router(every)
        self._told = self.expected(full)
        self.full: float = self.log_energy_ratio(full, every)

    def without(self, model: int) -> Artifact:
        """Return a router trained without one model of the pool."""
        return self._router([j for j in range(len(self.pool.models)) if j != model])

    def add(self, parent: Artifact, model: int, rows: _Index) -> tuple[Artifact, AddedModel]:
        """Add the model that was left out with its grades on some training prompts."""
        order = self.order(model)
        cells = self.cells.columns([self.pool.names[j] for j in order])
        quality = cells.quality.copy()
        hidden = np.ones(len(cells), bool)
        hidden[rows] = False
        quality[hidden, -1] = np.nan
        return add_model(
            parent,
            replace(cells, quality=quality),
            self.pool.models[model],
            parent="",
            data_digest="",
            features=self._features,
            encoder=self._extractor.encoder,
        )

    def order(self, model: int) -> list[int]:
        """Return the columns of the whole pool in the order of a pool that `model` was added to."""
        return [j for j in range(len(self.pool.models)) if j != model] + [model]

    def select(self, parent: Artifact, n: int) -> _Index:
        """Choose the training prompts that are most worth grading."""
        found = select_prompts(
            self._features, n, artifact=parent, groups=self.cells.groups, seed=self.seed
        )
        return found.index.astype(np.intp)

    def draw(self, n: int, draw: int) -> _Index:
        """Draw training prompts at random, a longer draw goes on from a shorter one."""
        _, first = np.unique(self.cells.groups, return_index=True)
        shuffled = np.random.default_rng([self.seed, draw]).permutation(np.sort(first))
        return shuffled[:n]

    def expected(self, artifact: Artifact) -> tuple[_Floats, _Floats]:
        """Return expected quality and energy in joules of the test prompts."""
        scores = artifact.model.score(self._test_features, self._characters)
        return scores.quality, artifact.pool.joules(scores.prompt_tokens, scores.completion_tokens)

    def log_energy_ratio(self, artifact: Artifact, order: Sequence[int]) -> float:
        """Return the headline figure of a router whose models are these columns of the pool."""
        return self._ratio(*self.expected(artifact), artifact.dial.means, artifact.reference, order)

    def told(self, parent: Artifact, model: int) -> float:
        """Return the headline figure of a router that is told what to expect of one more model."""
        columns = zip(self.expected(parent), self._told, strict=True)
        quality, energy_j = (np.column_stack([old, told[:, model]]) for old, told in columns)
        known = parent.dial.means
        means = PoolMeans(
            (*known.quality, float(self.cells.quality[:, model].mean())),
            (*known.energy_j, float(self._energy_j[:, model].mean())),
            known.pruned,
        )
        return self._ratio(quality, energy_j, means, parent.reference, self.order(model))

    def _ratio(
        self,
        quality: _Floats,
        energy_j: _Floats,
        means: PoolMeans,
        reference: int,
        order: Sequence[int],
    ) -> float:
        sweep = dial_sweep(quality, energy_j, means, reference)
        points = operating_points(np.asarray(order)[sweep], self._quality, self._spent)
        needed = [energy_at_quality(points, bar * self._goal[1]) for bar in QUALITY_BARS]
        limited = np.minimum(needed, 2.0 * self._goal[0])
        return float(np.mean(np.log(limited / self._zero_j)))

    def kept(self, artifact: Artifact, order: Sequence[int]) -> tuple[float, ...]:
        """Return the share of its reference model's quality that each bar leads to."""
        quality, energy_j = self.expected(artifact)
        base = order[artifact.reference]
        shares = []
        for bar in BARS:
            setting = artifact.dial.setting_for(bar)
            chosen = np.full(len(quality), base)
            if setting is not None:
                means = artifact.dial.means
                chosen = np.asarray(order)[choose(quality, energy_j, means, setting)]
            mean = self._quality[np.arange(len(quality)), chosen].mean()
            shares.append(float(mean / self._quality[:, base].mean()))
        return tuple(shares)

    def additions(self, model: int, sizes: Sequence[int], n_draws: int) -> Iterator[Addition]:
        """Add one model with each number of prompts, drawn at random and selected."""
        parent = self.without(model)
        order = self.order(model)
        alone = self.log_energy_ratio(parent, order[:-1])
        told = alone - self.told(parent, model)
        before = self.kept(parent, order)
        selected = self.select(parent, max(sizes))
        for n in sizes:
            choices = [("random", draw, self.draw(n, draw)) for draw in range(n_draws)]
            for chosen, draw, rows in [*choices, ("selected", 0, selected[:n])]:
                artifact, added = self.add(parent, model, rows)
                truth = self._quality[:, model]
                expected = self.expected(artifact)[0][:, -1]
                yield Addition(
                    seed=self.seed,
                    model=self.pool.names[model],
                    n=n,
                    chosen=chosen,
                    draw=draw,
                    full_gain=alone - self.full,
                    told_gain=told,
                    gain=alone - self.log_energy_ratio(artifact, order),
                    brier=float(np.square(expected - truth).mean()),
                    error=added.quality - float(self.cells.quality[:, model].mean()),
                    deviation=added.deviation,
                    kept=self.kept(artifact, order),
                    kept_before=before,
                )

    def _router(self, models: Sequence[int]) -> Artifact:
        """Train with the grades of some models of the pool."""
        pool = replace(self.pool, models=tuple(self.pool.models[j] for j in models))
        targets = _without_others(self._targets, models)
        fitted = fit_router(
            self._features,
            targets,
            self.cells.groups,
            self._energy_j[:, list(models)],
            pool,
            seed=self.seed,
            n_jobs=self._n_jobs,
        )
        return assemble(fitted, targets, pool, self._extractor, {})


def _without_others(targets: Targets, models: Sequence[int]) -> Targets:
    """Return the targets of some models of the pool, and of all models outside it."""
    kept = list(models)
    quality = [*kept, *range(targets.n_models, targets.quality.shape[1])]
    return replace(
        targets,
        quality=targets.quality[:, quality],
        observed=targets.observed[:, quality],
        log_tokens=targets.log_tokens[:, kept],
        ran=targets.ran[:, kept],
        assumed_tokens=targets.assumed_tokens[kept],
        n_models=len(kept),
    )
