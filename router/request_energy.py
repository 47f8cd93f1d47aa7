"""Energy of a request by each model, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.energy import Basis, weakest_basis
from router.model import Scores

__all__ = ["RequestEnergy"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RequestEnergy:
    """Joules of requests, uncertain in the joules per token and in the answer's length.

    Attributes
    ----------
    joules_per_prompt_token, joules_per_completion_token : ndarray of shape (n_models,)
        Joules a token.
    low_factor, high_factor : ndarray of shape (n_models,)
        From these to their lower and upper end.
    token_low, token_high : ndarray of shape (n_models,)
        Quantiles of actual over expected completion tokens.
    basis : tuple of str
        Basis of each model's energy.
    """

    joules_per_prompt_token: _Floats
    joules_per_completion_token: _Floats
    low_factor: _Floats
    high_factor: _Floats
    token_low: _Floats
    token_high: _Floats
    basis: tuple[Basis, ...]

    @classmethod
    def build(cls, artifact: Artifact) -> RequestEnergy:
        """Collect what a stored router knows of energy."""
        models = artifact.pool.models
        return cls(
            np.array([model.joules_per_prompt_token for model in models]),
            np.array([model.joules_per_completion_token for model in models]),
            np.array([model.low_factor for model in models]),
            np.array([model.high_factor for model in models]),
            np.array(artifact.token_low),
            np.array(artifact.token_high),
            tuple(
                weakest_basis(model.basis, "assumed" if assumed else "estimated")
                for model, assumed in zip(models, artifact.assumed_tokens, strict=True)
            ),
        )

    def joules(self, scores: Scores) -> tuple[_Floats, _Floats, _Floats]:
        """Return the joules of prompts.

        Parameters
        ----------
        scores : Scores
            Expected tokens of n prompts.

        Returns
        -------
        value_j, low_j, high_j : ndarray of shape (n, n_models)
            Best estimate, lower and upper end in joules.
        """
        prompt_j = scores.prompt_tokens[:, None] * self.joules_per_prompt_token
        answer_j = scores.completion_tokens * self.joules_per_completion_token
        value_j = prompt_j + answer_j
        low_j = (prompt_j + answer_j * self.token_low) * self.low_factor
        high_j = (prompt_j + answer_j * self.token_high) * self.high_factor
        # a quantile may lie on the other side of the expected length
        return value_j, np.minimum(low_j, value_j), np.maximum(high_j, value_j)
