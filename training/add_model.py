"""Adding a model to a trained router with a few graded prompts, without training it again.

The router's latents stay as they are; only the new model's own weights are fitted, shrunken to
what the pool's models suggest (:mod:`router.training.ladder`). As long as its mean quality is not
known well, choices rest on a lower bound of its quality, so that it is never chosen because little
is known of it. Promises were made for another pool and are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.artifact import Artifact
from router.encoders import Encoder
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows
from router.features import FeatureExtractor, Features
from router.messages import prompt_text
from router.model import RouterModel
from router.novelty import NoveltyGuard
from router.pool import PoolModel
from router.training.energy_check import energy_cautions
from router.training.new_model import WELL_KNOWN, fit_new_model
from router.training.train import prompt_hashes
from router.training.widen import widen
from router.training.widened_dial import widened_dial, widened_means

__all__ = ["MIN_PROMPTS", "AddedModel", "add_model"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.intp]
_Progress = Callable[[str], None]

MIN_PROMPTS = 30
"""Graded prompts below which no model is added."""

_MAX_PROMPTS = 600
_MAX_TRAFFIC = 4_000
_KEPT_LINEAGE = (
    "data_digest",
    "n_prompts",
    "n_answers",
    "extra_models",
    "prompt_hashes",
    "seed",
    "versions",
)


@dataclass(frozen=True, slots=True)
class AddedModel:
    """What is known of a model that was added.

    Attributes
    ----------
    name : str
        Its name in the evaluation runs.
    n_graded : int
        Graded prompts that were used.
    n_trained_on : int
        How many of them the router was trained on.
    n_alone : int
        How many of those have no grade of another model. They make it too bold.
    n_unlike : int
        How many of the graded prompts are unlike those that the router was trained on: what it
        expects there are guesses.
    quality : float
        Its mean quality on prompts like those of training.
    deviation : float
        Standard deviation of what is believed of it.
    bound : float
        What choices take its mean quality for: less by one deviation while it is provisional.
    energy_j : float
        Its mean energy on such prompts in joules.
    assumed_tokens : bool
        Whether all lengths of its answers are assumed, for want of completion tokens.
    provisional : bool
        Whether choices rest on the bound.
    n_needed : int
        About how many graded prompts bring the deviation down to 0.01, from where on choices
        rest on the mean.
    data_digest : str
        Digest of the runs.
    """

    name: str
    n_graded: int
    n_trained_on: int
    n_alone: int
    n_unlike: int
    quality: float
    deviation: float
    bound: float
    energy_j: float
    assumed_tokens: bool
    provisional: bool
    n_needed: int
    data_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self)


def add_model(
    artifact: Artifact,
    matrix: AnswerMatrix,
    new: PoolModel,
    *,
    parent: str,
    data_digest: str,
    features: Features | None = None,
    encoder: Encoder | None = None,
    progress: _Progress | None = None,
) -> tuple[Artifact, AddedModel]:
    """Add a model to a trained router.

    Parameters
    ----------
    artifact : Artifact
        The router.
    matrix : AnswerMatrix
        Runs with grades of the new model. Grades of the router's own models on the same prompts
        help: they tell a hard prompt from a weak model. Prompts without a grade of the new model
        help, too, as a sample of traffic.
    new : PoolModel
        The model with its joules per token.
    parent : str
        Digest of the router, for the lineage.
    data_digest : str
        Digest of the runs, for the lineage.
    features : Features, optional
        Features of the prompts of `matrix`, where they are there already.
    encoder : Encoder, optional
        Takes the place of the encoder that the router names.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    artifact : Artifact
        A router whose pool has one more model, the last one. It promises nothing until it is
        certified again, its reference model stays the same, and its guard trusts the new model
        with no prompt unlike those of training.
    added : AddedModel
        What is known of the model. The lineage has it, too, under ``added_models``.

    Raises
    ------
    ConfigError
        If the pool has the model already.
    DataError
        If fewer than 30 prompts have a grade of the new model.
    """
    say = progress or (lambda line: None)
    _check_new(artifact, new)
    pool = replace(artifact.pool, models=(*artifact.pool.models, new))
    matrix = _with_columns(matrix, pool.names)
    graded = _graded_rows(matrix, new.name)
    if caution := energy_cautions(matrix, pool).get(new.name):
        say(f"warning: {caution}")
    if len(graded) > _MAX_PROMPTS:
        say(
            f"{len(graded):,} prompts have a grade of {new.name!r}: {_MAX_PROMPTS} of them are "
            "used; train the router again to use all"
        )
        graded = _some(graded, _MAX_PROMPTS)
    traffic = np.union1d(_some(np.arange(len(matrix)), _MAX_TRAFFIC), graded)
    graded = np.searchsorted(traffic, graded)
    matrix = matrix.rows(traffic)
    extractor = FeatureExtractor(artifact.features, encoder)
    if features is None:
        say(f"features of {len(matrix):,} prompts")
        given = matrix.embeddings if artifact.features.encoder.startswith("precomputed") else None
        features = extractor.extract(matrix.prompts, given)
    else:
        features = feature_rows(features, traffic)

    say(f"fitting {new.name!r} on {len(graded)} graded prompts")
    cells = matrix.rows(graded)
    hashes = prompt_hashes(cells.prompts)
    trained_on = np.isin(hashes, np.array(artifact.lineage.get("prompt_hashes", ()), np.int64))
    alone = trained_on & np.isnan(cells.quality[:, :-1]).all(axis=1)
    with threadpool_limits(1):
        fitted = fit_new_model(artifact.model, cells, feature_rows(features, graded), new)
        model = widen(artifact.model, fitted.model)
        characters = np.array([max(len(prompt_text(p).text), 1) for p in matrix.prompts], float)
        scores = model.score(features, characters)
        energy_j = pool.joules(scores.prompt_tokens, scores.completion_tokens)
        means = widened_means(artifact.dial.means, scores.quality, energy_j)
        dial = widened_dial(
            artifact.dial,
            scores.quality,
            energy_j,
            means,
            artifact.reference,
            deviation=fitted.lowered_by,
        )
    added = AddedModel(
        name=new.name,
        n_graded=len(graded),
        n_trained_on=int(trained_on.sum()),
        n_alone=int(alone.sum()),
        n_unlike=_n_unlike(artifact.guard, feature_rows(features, graded)),
        quality=min(means.quality[-1] + fitted.lowered_by, 1.0),
        deviation=fitted.deviation,
        bound=means.quality[-1],
        energy_j=means.energy_j[-1],
        assumed_tokens=fitted.assumed_tokens,
        provisional=fitted.provisional,
        n_needed=max(len(graded), math.ceil(len(graded) * (fitted.deviation / WELL_KNOWN) ** 2)),
        data_digest=data_digest,
    )
    widened = replace(
        artifact,
        model=model,
        pool=pool,
        dial=dial,
        token_low=(*artifact.token_low, fitted.token_low),
        token_high=(*artifact.token_high, fitted.token_high),
        assumed_tokens=(*artifact.assumed_tokens, fitted.assumed_tokens),
        golden=_golden(model, artifact, extractor),
        lineage=_lineage(artifact.lineage, parent, added, hashes),
        guard=_guard(artifact.guard),
        calibration=None,
    )
    return widened, added


def _check_new(artifact: Artifact, new: PoolModel) -> None:
    """Refuse a model that the pool has already."""
    for known in artifact.pool.models:
        if known.name == new.name:
            raise ConfigError(
                f"the router has the model {new.name!r} already: to add it with more grades, begin "
                "with the version that does not have it"
            )
        if known.api_id == new.api_id:
            raise ConfigError(
                f"the router has a model with the id {new.api_id!r} already: give the new one "
                "another id"
            )


def _with_columns(matrix: AnswerMatrix, names: tuple[str, ...]) -> AnswerMatrix:
    """Return the columns of a pool; models that the runs lack were graded on nothing."""
    if names[-1] not in matrix.models:
        raise DataError(
            f"the runs have no model {names[-1]!r}: they have {', '.join(matrix.models)}",
            field="model",
        )
    missing = tuple(name for name in names if name not in matrix.models)
    gap = np.full((len(matrix), len(missing)), np.nan)
    padded = replace(
        matrix,
        models=(*matrix.models, *missing),
        quality=np.hstack([matrix.quality, gap]),
        prompt_tokens=np.hstack([matrix.prompt_tokens, gap]),
        completion_tokens=np.hstack([matrix.completion_tokens, gap]),
        energy_j=np.hstack([matrix.energy_j, gap]),
    )
    return padded.columns(names)


def _graded_rows(matrix: AnswerMatrix, name: str) -> _Index:
    """Return the prompts with a grade of the last model, each text once."""
    rows = np.flatnonzero(~np.isnan(matrix.quality[:, -1]))
    _, first = np.unique(matrix.groups[rows], return_index=True)
    rows = rows[np.sort(first)]
    if len(rows) < MIN_PROMPTS:
        raise DataError(
            f"{len(rows)} distinct prompts have a grade of {name!r}: at least {MIN_PROMPTS} are "
            "needed, and 200 are better; `wattroute select-prompts` proposes which",
            field="quality",
        )
    return rows


def _some(rows: _Index, most: int) -> _Index:
    """Return the rows, or a fixed sample of that many."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _golden(
    model: RouterModel, artifact: Artifact, extractor: FeatureExtractor
) -> tuple[tuple[str, tuple[float, ...]], ...]:
    prompts = [prompt for prompt, _ in artifact.golden]
    zeros = None
    if artifact.features.encoder.startswith("precomputed"):
        zeros = np.zeros((len(prompts), extractor.n_embedding), np.float32)
    characters = np.array([float(len(prompt)) for prompt in prompts])
    quality = model.score(extractor.extract(prompts, zeros), characters).quality
    return tuple(
        (prompt, tuple(np.round(row, 6).tolist()))
        for prompt, row in zip(prompts, quality, strict=True)
    )


def _lineage(
    lineage: Mapping[str, Any], parent: str, added: AddedModel, hashes: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what still holds of the parent's lineage, and what is new."""
    known = lineage.get("prompt_hashes", ())
    fresh = np.setdiff1d(hashes, np.array(known, np.int64)).tolist()
    return {
        **{key: lineage[key] for key in _KEPT_LINEAGE if key in lineage},
        "prompt_hashes": [*known, *fresh],
        "parent": parent,
        "added_models": [*lineage.get("added_models", ()), added.to_dict()],
    }


def _n_unlike(guard: NoveltyGuard | None, features: Features) -> int:
    """Count the prompts that the guard finds unlike those of training."""
    return 0 if guard is None else int((guard.novelty(features) >= guard.level).sum())


def _guard(guard: NoveltyGuard | None) -> NoveltyGuard | None:
    """Trust the new model with no prompt unlike those of training."""
    if guard is None:
        return None
    remembered = None if guard.remembered is None else guard.remembered.with_model()
    return replace(guard, reach=(*guard.reach, 0.0), remembered=remembered)
