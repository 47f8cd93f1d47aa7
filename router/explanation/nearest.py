"""The graded prompts that lie nearest to a prompt, and what each model scored on them.

They come from evaluation runs, or by hash alone from what the router remembers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.errors import ConfigError, DataError
from router.features import FeatureExtractor, Features
from router.messages import Prompt, prompt_text

__all__ = ["GradedPrompts", "NearestPrompt", "nearest_prompts", "nearest_remembered"]

_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class GradedPrompts:
    """Prompts with the grades that models got on them.

    Attributes
    ----------
    prompts : tuple of Prompt
        The n prompts.
    prompt_ids : tuple of str
        Their ids.
    tasks : tuple of str
        Their task labels; empty for prompts without one.
    models : tuple of str
        Names of the models in the runs, or their ids in the API.
    quality : ndarray of shape (n, n_models)
        Grades in [0, 1], NaN where there is none.
    hashes : ndarray of shape (n,)
        Hashes of the prompts' texts, as a router's lineage has them of those it learned from.
    embeddings : ndarray of shape (n, n_dimensions), optional
        Embeddings that came with the runs.

    Raises
    ------
    ValueError
        If the sizes do not fit each other.
    """

    prompts: tuple[Prompt, ...]
    prompt_ids: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    quality: NDArray[np.float64]
    hashes: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.prompts)
        if not n == len(self.prompt_ids) == len(self.tasks) == len(self.hashes):
            raise ValueError(f"prompt_ids, tasks and hashes must have {n} entries")
        if self.quality.shape != (n, len(self.models)):
            raise ValueError(f"quality must have shape ({n}, {len(self.models)})")


@dataclass(frozen=True, slots=True)
class NearestPrompt:
    """A graded prompt near to the one explained.

    Attributes
    ----------
    prompt_id : str
        Its id in the runs; empty where there are none.
    text_hash : str
        Hash of its text in hexadecimal, by which it can be named without being shown.
    excerpt : str
        The beginning of its text; empty where it is not known.
    task : str
        Its task label, if any.
    distance : float
        In the space in which the router tells prompts unlike those of training; 0 for the same
        features.
    trained_on : bool or None
        Whether the router learned from it; None where the router does not say.
    quality : mapping of str to float
        What the models that were graded on it scored: the router's pool under their ids in the
        API.
    """

    prompt_id: str
    text_hash: str
    excerpt: str
    task: str
    distance: float
    trained_on: bool | None
    quality: Mapping[str, float]


def nearest_prompts(
    artifact: Artifact,
    features: Features,
    graded: GradedPrompts,
    extractor: FeatureExtractor,
    n_nearest: int,
) -> tuple[NearestPrompt, ...]:
    """Find the graded prompts nearest to a prompt.

    Parameters
    ----------
    artifact : Artifact
        The router; distances are taken in the space of its guard, or where it has none between
        the scaled embeddings and statistics.
    features : Features
        Features of the one prompt.
    graded : GradedPrompts
        Where to look.
    extractor : FeatureExtractor
        Of the router.
    n_nearest : int
        How many to return, at least 0.

    Returns
    -------
    tuple of NearestPrompt
        The nearest first; prompts with no grade of a model of the pool are left out.

    Raises
    ------
    ConfigError
        If `n_nearest` is negative.
    DataError
        If the runs have no model of the pool, or lack the embeddings that the router needs.
    """
    _check_number(n_nearest)
    column = {
        model.api_id: graded.models.index(name)
        for model in artifact.pool.models
        for name in [model.name if model.name in graded.models else model.api_id]
        if name in graded.models
    }
    if not column:
        raise DataError(
            f"the runs have none of the router's models {', '.join(artifact.pool.names)}",
            field="model",
        )
    given = None
    if artifact.features.encoder.startswith("precomputed"):
        if graded.embeddings is None:
            raise DataError(
                "the runs have no embeddings, which this router needs", field="embedding"
            )
        given = graded.embeddings
    columns = list(column.values())
    known = np.flatnonzero(~np.isnan(graded.quality[:, columns]).all(axis=1))
    coordinates = _coordinates(artifact, extractor.extract(graded.prompts, given))[known]
    away = np.linalg.norm(coordinates - _coordinates(artifact, features), axis=1)
    learned = artifact.lineage.get("prompt_hashes")
    found = []
    for place in np.argsort(away, kind="stable")[:n_nearest].tolist():
        i = int(known[place])
        grades = graded.quality[i, columns].tolist()
        digest = int(graded.hashes[i])
        text = " ".join(prompt_text(graded.prompts[i]).text.split())
        found.append(
            NearestPrompt(
                prompt_id=graded.prompt_ids[i],
                text_hash=f"{digest:012x}",
                excerpt=text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…",
                task=graded.tasks[i],
                distance=float(away[place]),
                trained_on=None if learned is None else digest in learned,
                quality=_known_grades(column, grades),
            )
        )
    return tuple(found)


def nearest_remembered(
    artifact: Artifact, features: Features, n_nearest: int
) -> tuple[NearestPrompt, ...]:
    """Find the training prompts nearest to a prompt among those that the router remembers.

    Parameters
    ----------
    artifact : Artifact
        The router.
    features : Features
        Features of the one prompt.
    n_nearest : int
        How many to return, at least 0.

    Returns
    -------
    tuple of NearestPrompt
        The nearest first, by their hashes; none where the router remembers none.

    Raises
    ------
    ConfigError
        If `n_nearest` is negative.
    """
    _check_number(n_nearest)
    guard = artifact.guard
    if guard is None or guard.remembered is None:
        return ()
    away = guard.neighbourhood.distances(features)[0]
    ids = [model.api_id for model in artifact.pool.models]
    return tuple(
        NearestPrompt(
            prompt_id="",
            text_hash=f"{int(guard.remembered.hashes[i]):012x}",
            excerpt="",
            task="",
            distance=float(away[i]),
            trained_on=True,
            quality=_known_grades(ids, guard.remembered.quality[i].tolist()),
        )
        for i in np.argsort(away, kind="stable")[:n_nearest].tolist()
    )


def _check_number(n_nearest: int) -> None:
    if n_nearest < 0:
        raise ConfigError(f"n_nearest is {n_nearest}: use 0 or more")


def _known_grades(models: Iterable[str], grades: Iterable[float]) -> dict[str, float]:
    return {m: grade for m, grade in zip(models, grades, strict=True) if not math.isnan(grade)}


def _coordinates(artifact: Artifact, features: Features) -> NDArray[np.float32]:
    if artifact.guard is None:
        return artifact.model.scaler.scaled(features)
    return artifact.guard.neighbourhood.space.coordinates(features)
