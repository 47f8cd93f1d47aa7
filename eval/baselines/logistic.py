"""One logistic regression per model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from router.eval.baselines.learned import LearnedBaseline, scaled_dense
from router.features import Features

__all__ = ["Logistic"]

_Floats = NDArray[np.float64]


class Logistic(LearnedBaseline):
    """One logistic regression per model, on the dense features or on the word n-grams.

    Partial credit counts as so much of a right and so much of a wrong answer. Strength of
    the penalty and the features are the same for all models.

    Parameters
    ----------
    n_word_columns : int
        Leading columns of the sparse features to use. Character n-grams cost five times as
        much and predicted no better.
    """

    name = "logistic regression"
    settings: tuple[dict[str, float], ...] = tuple(
        {"words": words, "C": c}
        for words, penalties in ((False, (1e-3, 1e-2, 1e-1)), (True, (1.0, 3.0, 10.0, 30.0)))
        for c in penalties
    )

    def __init__(self, n_word_columns: int = 2**15) -> None:
        self.n_word_columns = n_word_columns

    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Fit each model with each of the settings."""
        blocks: dict[bool, tuple[Any, Any]] = {}
        for setting in settings:
            words = setting["words"]
            if words not in blocks:
                make = self._words if words else scaled_dense
                blocks[words] = make(features, new)
            train_x, new_x = blocks[words]
            columns = [_predicted(train_x, column, new_x, setting["C"]) for column in quality.T]
            yield np.stack(columns, axis=1)

    def _words(self, features: Features, new: Features) -> tuple[csr_matrix, csr_matrix]:
        """TF-IDF of the hashed word n-grams."""
        train_x, new_x = (
            csr_matrix((rows.values, rows.indices, rows.indptr), shape=(len(rows), rows.n_columns))[
                :, : self.n_word_columns
            ]
            for rows in (features, new)
        )
        weights = TfidfTransformer().fit(train_x)
        return weights.transform(train_x), weights.transform(new_x)


def _predicted(train_x: Any, quality: _Floats, new_x: Any, c: float) -> _Floats:
    """Chance of a right answer by one model."""
    right, wrong = np.flatnonzero(quality > 0), np.flatnonzero(quality < 1)
    if not len(right) or not len(wrong):
        return np.full(new_x.shape[0], quality.mean())
    rows = np.concatenate([right, wrong])
    labels = np.repeat([1, 0], [len(right), len(wrong)])
    weights = np.concatenate([quality[right], 1 - quality[wrong]])
    model = LogisticRegression(C=c, tol=1e-3, max_iter=300)
    model.fit(train_x[rows], labels, sample_weight=weights)
    return np.asarray(model.predict_proba(new_x)[:, 1], np.float64)
