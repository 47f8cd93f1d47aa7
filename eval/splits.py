"""What a pool's prompts look like to a benchmark: outcomes, energy, features, and their splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.errors import ConfigError, DataError
from router.eval.frontier import zero_router_points
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import BenchmarkSplit, feature_rows, true_energy
from router.eval.scoring import Truth
from router.features import FeatureExtractor, Features
from router.pool import Pool

__all__ = ["PoolPrompts"]

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoolPrompts:
    """The prompts that every model of a pool was graded on.

    Attributes
    ----------
    cells : AnswerMatrix
        Outcomes of the pool's models, in the pool's order, without missing qualities.
    extra : AnswerMatrix or None
        Outcomes of the models outside the pool on the same prompts; cells may be missing.
    energy_j : ndarray of shape (n_prompts, n_models)
        True energy in joules.
    features : Features
        One row a prompt.
    """

    cells: AnswerMatrix
    extra: AnswerMatrix | None
    energy_j: _Array
    features: Features

    def __len__(self) -> int:
        return len(self.cells)

    @classmethod
    def prepare(
        cls,
        matrix: AnswerMatrix,
        pool: Pool,
        *,
        extractor: FeatureExtractor | None = None,
        features: Features | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> PoolPrompts:
        """Take what a pool's benchmark needs from evaluation runs.

        Parameters
        ----------
        matrix : AnswerMatrix
            All evaluation runs, models outside the pool included.
        pool : Pool
            The candidates.
        extractor : FeatureExtractor, optional
            Computes the features; the default one where absent.
        features : Features, optional
            Features that are there already, one row for each prompt of `matrix`.
        progress : callable, optional
            Called with a line of text before the features are computed.

        Returns
        -------
        PoolPrompts
            Ready to split.

        Raises
        ------
        ConfigError
            If `features` does not fit.
        DataError
            If the runs lack a model of the pool, or have fewer than two prompts that all of its
            models were graded on.
        """
        missing = [name for name in pool.names if name not in matrix.models]
        if missing:
            raise DataError(
                f"pool {pool.name!r}: the runs have no model {', '.join(map(repr, missing))}; "
                f"they have {', '.join(map(repr, matrix.models))}"
            )
        if features is not None and len(features) != len(matrix):
            raise ConfigError(
                f"features has {len(features)} rows and the runs have {len(matrix)} prompts: "
                "give one row for each"
            )
        cells = matrix.columns(pool.names)
        index = np.flatnonzero(~np.isnan(cells.quality).any(axis=1))
        if len(index) < 2:
            raise DataError(
                f"pool {pool.name!r}: {len(index)} of {len(matrix)} prompts have a quality for "
                "every model of the pool: at least two are needed"
            )
        cells = cells.rows(index)
        if features is None:
            if progress is not None:
                progress(f"features of {len(index)} prompts")
            extractor = extractor or FeatureExtractor()
            given = cells.embeddings if extractor.spec.encoder.startswith("precomputed") else None
            features = extractor.extract(cells.prompts, given)
        else:
            features = feature_rows(features, index)
        return cls(
            cells=cells,
            extra=_outside(matrix, pool, index),
            energy_j=true_energy(matrix, pool)[index],
            features=features,
        )

    def rows(self, index: ArrayLike) -> PoolPrompts:
        """Return the prompts at `index`, an array of positions."""
        index = np.asarray(index, np.intp)
        return replace(
            self,
            cells=self.cells.rows(index),
            extra=None if self.extra is None else self.extra.rows(index),
            energy_j=self.energy_j[index],
            features=feature_rows(self.features, index),
        )

    def split(self, train: ArrayLike, test: ArrayLike, seed: int) -> BenchmarkSplit:
        """Return what a method may look at where it learns on `train` and decides `test`.

        Parameters
        ----------
        train, test : array-like of int
            Positions of the prompts of each part.
        seed : int
            Seed of whatever a method draws at random.
        """
        learned, held_out = self.rows(train), np.asarray(test, np.intp)
        return BenchmarkSplit(
            seed=seed,
            train=learned.cells,
            extra=learned.extra,
            test_prompts=tuple(self.cells.prompts[i] for i in held_out),
            test_ids=tuple(self.cells.prompt_ids[i] for i in held_out),
            test_tasks=tuple(self.cells.tasks[i] for i in held_out),
            train_features=learned.features,
            test_features=feature_rows(self.features, held_out),
            train_energy_j=learned.energy_j,
        )

    def truth(self, split: BenchmarkSplit, test: ArrayLike) -> Truth:
        """Return what happened on the test prompts of a split.

        Parameters
        ----------
        split : BenchmarkSplit
            Its training prompts decide which models the zero router mixes, and which model is
            the reference; their qualities may be missing.
        test : array-like of int
            Positions of the test prompts.
        """
        held_out = np.asarray(test, np.intp)
        # Columns in one piece are all averaged in one order of summation: equal choices get
        # equal means to the last digit, and the zero router's ratio is 0.
        quality = np.asfortranarray(self.cells.quality[held_out])
        energy_j = np.asfortranarray(self.energy_j[held_out])
        # The mean over one row of means is that row, whatever is missing elsewhere.
        means = split.means
        mean_quality, mean_energy_j = np.array([means.quality]), np.array([means.energy_j])
        return Truth(
            quality=quality,
            energy_j=energy_j,
            completion_tokens=self.cells.completion_tokens[held_out],
            reference=split.reference,
            zero_points=zero_router_points(mean_quality, mean_energy_j, quality, energy_j),
        )


def _outside(matrix: AnswerMatrix, pool: Pool, index: NDArray[np.intp]) -> AnswerMatrix | None:
    """Outcomes of the models outside the pool on its prompts, if there are any."""
    graded = np.flatnonzero(~np.isnan(matrix.quality[index]).all(axis=0))
    names = [matrix.models[j] for j in graded if matrix.models[j] not in pool.names]
    return matrix.columns(names).rows(index) if names else None
