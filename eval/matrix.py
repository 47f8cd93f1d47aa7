"""The answer matrix: what every model did on every prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AnswerMatrix", "Prompt"]

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A prompt: plain text, or chat messages in OpenAI's shape."""


@dataclass(frozen=True, slots=True)
class AnswerMatrix:
    """Evaluation runs as arrays, one row a prompt and one column a model.

    A cell that was never run is NaN in every array.

    Attributes
    ----------
    prompts : tuple of Prompt
        The ``n_prompts`` prompts.
    prompt_ids : tuple of str
        A stable id of each prompt, unique.
    models : tuple of str
        Names of the ``n_models`` models.
    quality : ndarray of shape (n_prompts, n_models)
        Graded quality in [0, 1].
    prompt_tokens : ndarray of shape (n_prompts, n_models)
        Tokens of the prompt as each model counted them.
    completion_tokens : ndarray of shape (n_prompts, n_models)
        Tokens of the answer.
    energy_j : ndarray of shape (n_prompts, n_models)
        Measured energy of the request in joules.
    tasks : tuple of str
        Task label of each prompt; empty where there is none.
    groups : ndarray of shape (n_prompts,)
        Prompts with the same normalised text share a group number, and a group never
        crosses a split.
    embeddings : ndarray of shape (n_prompts, n_dimensions), optional
        Embeddings that came with the runs.
    """

    prompts: tuple[Prompt, ...]
    prompt_ids: tuple[str, ...]
    models: tuple[str, ...]
    quality: NDArray[np.float64]
    prompt_tokens: NDArray[np.float64]
    completion_tokens: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    tasks: tuple[str, ...]
    groups: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n, m = len(self.prompts), len(self.models)
        for name in ("quality", "prompt_tokens", "completion_tokens", "energy_j"):
            if getattr(self, name).shape != (n, m):
                raise ValueError(f"{name} must have shape ({n}, {m})")
        if len(self.prompt_ids) != n or len(self.tasks) != n or len(self.groups) != n:
            raise ValueError(f"prompt_ids, tasks and groups must have {n} entries")

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, index: ArrayLike) -> AnswerMatrix:
        """Return the prompts at `index` (integers or a mask)."""
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        return replace(
            self,
            prompts=tuple(self.prompts[i] for i in index),
            prompt_ids=tuple(self.prompt_ids[i] for i in index),
            tasks=tuple(self.tasks[i] for i in index),
            groups=self.groups[index],
            embeddings=None if self.embeddings is None else self.embeddings[index],
            **{name: getattr(self, name)[index] for name in _CELL_ARRAYS},
        )

    def columns(self, models: Sequence[str]) -> AnswerMatrix:
        """Return the columns of `models`, in that order."""
        position = {model: j for j, model in enumerate(self.models)}
        missing = [model for model in models if model not in position]
        if missing:
            raise KeyError(f"not in the answer matrix: {', '.join(missing)}")
        index = [position[model] for model in models]
        return replace(
            self,
            models=tuple(models),
            **{name: getattr(self, name)[:, index] for name in _CELL_ARRAYS},
        )

    def complete_rows(self) -> AnswerMatrix:
        """Return the prompts for which every model has a quality."""
        return self.rows(~np.isnan(self.quality).any(axis=1))


_CELL_ARRAYS = ("quality", "prompt_tokens", "completion_tokens", "energy_j")
