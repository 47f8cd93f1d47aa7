"""A small neural network for all models at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neural_network import MLPRegressor

from router.eval.baselines.learned import LearnedBaseline, scaled_dense
from router.features import Features

__all__ = ["SmallMLP"]

_Floats = NDArray[np.float64]

_BATCH = 128
_MOST_STEPS = 26


class SmallMLP(LearnedBaseline):
    """One hidden layer on embedding and statistics, squared error, stopped early."""

    name = "small MLP"
    settings: tuple[dict[str, float], ...] = tuple(
        {"alpha": alpha, "epochs": epochs}
        for alpha in (30.0, 10.0, 1.0)
        for epochs in (10, 20, 40, 60)
    )

    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Train once for each penalty and look in at the wanted epochs."""
        train_x, new_x = scaled_dense(features, new)
        train_x, new_x = train_x.astype(np.float32), new_x.astype(np.float32)
        overall = quality.mean(axis=0)
        target = (quality - overall).astype(np.float32)
        found = {}
        for alpha in dict.fromkeys(setting["alpha"] for setting in settings):
            wanted = {setting["epochs"] for setting in settings if setting["alpha"] == alpha}
            network = MLPRegressor(
                hidden_layer_sizes=(64,),
                alpha=alpha,
                learning_rate_init=3e-3,
                batch_size=min(len(train_x), max(_BATCH, len(train_x) // _MOST_STEPS)),
                random_state=seed,
            )
            for epoch in range(1, max(wanted) + 1):
                network.partial_fit(train_x, target)
                if epoch in wanted:
                    found[alpha, epoch] = overall + network.predict(new_x)
        for setting in settings:
            yield found[setting["alpha"], setting["epochs"]]
