"""What all learned baselines share: tuning by cross-validation, and the energy price."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.dial import dial_sweep
from router.eval.protocol import BenchmarkSplit, Outcome, feature_rows
from router.features import Features

__all__ = ["LearnedBaseline", "group_folds", "scaled_dense"]

_Floats = NDArray[np.float64]

_N_FOLDS = 3
_STATISTIC_LIMIT = 4.0


class LearnedBaseline(ABC):
    """A model of quality, tuned on the training split by its cross-validated Brier score.

    A sub-class names itself, lists its settings from the most to the least cautious, and
    predicts with each of them.

    Attributes
    ----------
    name : str
        Name in reports.
    settings : tuple of mapping
        The settings to choose from; the first is taken where the data are too few to choose.
    """

    name: str
    settings: tuple[dict[str, Any], ...]

    @abstractmethod
    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Learn from prompts and predict for others, with each of the settings.

        Parameters
        ----------
        features : Features
            Features of n training prompts.
        quality : ndarray of shape (n, n_models)
            Their quality.
        new : Features
            Features of the prompts to predict for.
        settings : sequence of mapping
            Some of `self.settings`.
        seed : int
            Seed of whatever is drawn at random.

        Yields
        ------
        ndarray of shape (n_new, n_models)
            Predicted quality, for each of the settings.
        """

    def tune(
        self, features: Features, quality: _Floats, groups: NDArray[np.int64], seed: int
    ) -> dict[str, Any]:
        """Return the setting of the least Brier score in cross-validation.

        Parameters
        ----------
        features : Features
            Features of the training prompts.
        quality : ndarray of shape (n_train, n_models)
            Their quality.
        groups : ndarray of shape (n_train,)
            Prompts of one group stay in one fold.
        seed : int
            Seed of the folds.

        Returns
        -------
        dict
            One of `self.settings`.
        """
        errors = np.zeros(len(self.settings))
        for inside, outside in group_folds(groups, _N_FOLDS, seed):
            found = self.predictions(
                feature_rows(features, inside),
                quality[inside],
                feature_rows(features, outside),
                self.settings,
                seed,
            )
            errors += [
                np.square(np.clip(predicted, 0, 1) - quality[outside]).sum() for predicted in found
            ]
        return self.settings[int(errors.argmin())]

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Tune, learn from all training prompts, predict, and sweep the energy price."""
        energy_j = split.predicted_energy_j
        started = time.perf_counter()
        quality = split.train.quality
        setting = self.tune(split.train_features, quality, split.train.groups, split.seed)
        (predicted,) = self.predictions(
            split.train_features, quality, split.test_features, [setting], split.seed
        )
        predicted = np.clip(predicted, 0.0, 1.0)
        train_s = time.perf_counter() - started
        return Outcome(
            choices=dial_sweep(predicted, energy_j, split.means, split.reference),
            quality=predicted,
            energy_j=energy_j,
            figures={
                "train_s": train_s,
                **{f"chosen_{key}": float(value) for key, value in setting.items()},
            },
        )


def group_folds(
    groups: NDArray[np.int64], n_folds: int, seed: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the prompts inside and outside of each fold's training part.

    Parameters
    ----------
    groups : ndarray of shape (n_prompts,)
        Prompts of one group fall into one fold.
    n_folds : int
        Folds; fewer if there are fewer groups, none if there is but one group.
    seed : int
        Seed of the shuffle.

    Yields
    ------
    inside, outside : ndarray
        Positions of the prompts to learn from and of those to predict for.
    """
    labels, rows = np.unique(groups, return_inverse=True)
    n_folds = min(n_folds, len(labels))
    if n_folds < 2:
        return
    fold = np.random.default_rng(seed).permutation(np.arange(len(labels)) % n_folds)[
        rows.reshape(-1)
    ]
    for k in range(n_folds):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def scaled_dense(features: Features, new: Features) -> tuple[_Floats, _Floats]:
    """Embedding and statistics on one scale, by the means and spreads of the training prompts.

    The embedding is scaled as a whole, which keeps its geometry; each statistic by itself.

    Parameters
    ----------
    features, new : Features
        Features of the training prompts and of those to predict for.

    Returns
    -------
    train, new : ndarray of shape (n, n_dense)
        The embedding with unit variance on average, the statistics with unit variance each.
    """
    n_embedding = features.n_embedding
    train = features.dense.astype(np.float64)
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[:n_embedding] = np.sqrt(np.square(spread[:n_embedding]).mean())
    spread[spread < 1e-9] = 1.0
    scaled = []
    for dense in (train, new.dense):
        block = (dense - mean) / spread
        np.clip(
            block[:, n_embedding:],
            -_STATISTIC_LIMIT,
            _STATISTIC_LIMIT,
            out=block[:, n_embedding:],
        )
        scaled.append(block)
    return scaled[0], scaled[1]
