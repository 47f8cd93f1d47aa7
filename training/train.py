"""Training: from an answer matrix to a stored router."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.encoders import Encoder
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix, Prompt
from router.eval.protocol import feature_rows, true_energy
from router.features import FeatureExtractor, Features, FeatureSpec
from router.monitor.baseline import LINEAGE_KEY
from router.novelty import NoveltyGuard
from router.pool import Pool
from router.training.calibration import CALIBRATION_SHARE, hold_out, why_none_held_out
from router.training.energy_check import energy_cautions
from router.training.fitting import FittedRouter, fit_router
from router.training.held_out import GradedPrompts, certify_held_out, expected_scores
from router.training.monitor_baselines import held_out, monitor_baselines, out_of_fold
from router.training.novelty import fit_guard
from router.training.prompts import encode_prompt, normalised_text
from router.training.targets import Targets, build_targets

__all__ = [
    "TrainedRouter",
    "assemble",
    "expected",
    "prompt_hashes",
    "train_router",
]

_Progress = Callable[[str], None]

_GOLDEN_PROMPTS = (
    "What is 17 * 23? Answer with the number only.",
    "Write a Python function that merges two sorted lists without using sort().",
    "Summarise the following ticket in one line: the printer on floor 3 is offline again.",
)
_LIBRARIES = ("numpy", "scikit-learn", "scipy", "tokenizers")


@dataclass(frozen=True, slots=True)
class TrainedRouter:
    """A trained router and what it was trained on.

    Attributes
    ----------
    artifact : Artifact
        Ready to store or to route with.
    fitted : FittedRouter
        Model and out-of-fold evidence.
    targets : Targets
        What was learned.
    """

    artifact: Artifact
    fitted: FittedRouter
    targets: Targets


def train_router(
    matrix: AnswerMatrix,
    pool: Pool,
    *,
    data_digest: str,
    calibration_share: float = CALIBRATION_SHARE,
    spec: FeatureSpec | None = None,
    encoder: Encoder | None = None,
    seed: int = 0,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> TrainedRouter:
    """Train a router on the prompts that a model of the pool was graded on, and certify it.

    Some of the prompts that all models of the pool were graded on are held out: they touch nothing
    of the training, and only say afterwards which quality bars can be promised.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs. Models outside the pool serve as extra targets.
    pool : Pool
        The candidates.
    data_digest : str
        Digest of the runs, for the lineage.
    calibration_share : float
        Share of the prompts to hold out, in [0, 1); none are where that is fewer than 100.
    spec : FeatureSpec, optional
        Feature settings; the defaults where absent.
    encoder : Encoder, optional
        Takes the place of the encoder that `spec` names, such as a cached one.
    seed : int
        Seed of all that is random: the same seed gives the same router.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    TrainedRouter
        Not yet written to disk.

    Raises
    ------
    DataError
        If the runs lack a model of the pool or have too few prompts.
    """
    say = progress or (lambda line: None)
    missing = [name for name in pool.names if name not in matrix.models]
    if missing:
        raise DataError(f"the runs have no model {', '.join(map(repr, missing))}", field="model")
    if not 0.0 <= calibration_share < 1.0:
        raise ConfigError(f"calibration_share is {calibration_share!r}: use a share in [0, 1)")
    energy_j = true_energy(matrix, pool)
    every = matrix.columns(pool.names)
    for caution in energy_cautions(every, pool).values():
        say(f"warning: {caution}")
    graded = np.flatnonzero(~np.isnan(every.quality).all(axis=1))
    every, energy_j = every.rows(graded), energy_j[graded]
    complete = np.asarray(~np.isnan(every.quality).any(axis=1))
    train, held = hold_out(every.groups, complete, calibration_share, seed)
    cells = every.rows(train)
    others = [name for name in matrix.models if name not in pool.names]
    extra = matrix.columns(others).rows(graded[train]) if others else None

    hashes = prompt_hashes(every.prompts)
    extractor = FeatureExtractor(spec, encoder)
    say(f"features of {len(every)} prompts")
    given = every.embeddings if extractor.spec.encoder.startswith("precomputed") else None
    all_features = extractor.extract(every.prompts, given)
    features, held_features = feature_rows(all_features, train), feature_rows(all_features, held)
    del all_features  # half a gigabyte with 100,000 prompts
    targets = build_targets(cells, extra, pool)
    fitted = fit_router(
        features,
        targets,
        cells.groups,
        energy_j[train],
        pool,
        seed=seed,
        n_jobs=n_jobs,
        progress=progress,
    )
    lineage = {
        "data_digest": data_digest,
        "n_prompts": len(cells),
        "n_answers": int((~np.isnan(cells.quality)).sum()),
        "extra_models": list(targets.extra),
        "prompt_hashes": hashes[train].tolist(),
        "seed": seed,
        "versions": {name: metadata.version(name) for name in ("wattroute", *_LIBRARIES)},
        "out_of_fold": {
            "log_energy_ratio": _plain(fitted.evidence.log_energy_ratio),
            "stacks": {k: _plain(v) for k, v in fitted.evidence.stack_scores.items()},
            "stack_shares": fitted.evidence.stack_weights,
            "head_weights": {
                name: round(figures["weight"], 6)
                for name, figures in fitted.evidence.head_figures.items()
            },
        },
    }
    say("learning what the prompts look like")
    guard = fit_guard(
        features,
        cells.groups,
        cells.quality,
        fitted.reference,
        hashes=hashes[train],
        seed=seed,
    )
    artifact = assemble(fitted, targets, pool, extractor, lineage, guard=guard)
    if len(held):
        say(f"certifying on {len(held)} prompts")
        calibration = certify_held_out(
            fitted,
            guard,
            GradedPrompts(cells, energy_j[train], features, hashes[train]),
            GradedPrompts(every.rows(held), energy_j[held], held_features, hashes[held]),
            pool,
            data_digest=data_digest,
            seed=seed,
        )
        lineage |= {"calibration_hashes": hashes[held].tolist()}
        artifact = replace(artifact, lineage=lineage, calibration=calibration)
    elif calibration_share:
        say(why_none_held_out(every.groups, complete, calibration_share))
    unseen = [out_of_fold(fitted, targets)]
    if len(held):
        cells_held = every.rows(held)
        scores = expected_scores(fitted, held_features, cells_held.prompts)
        unseen.append(held_out(artifact, scores, held_features, cells_held.quality))
    lineage |= {LINEAGE_KEY: monitor_baselines(artifact, unseen).to_dict()}
    return TrainedRouter(replace(artifact, lineage=lineage), fitted, targets)


def assemble(
    fitted: FittedRouter,
    targets: Targets,
    pool: Pool,
    extractor: FeatureExtractor,
    lineage: Mapping[str, Any],
    *,
    guard: NoveltyGuard | None = None,
) -> Artifact:
    """Put a fitted router together as an artifact, with its golden scores.

    Parameters
    ----------
    fitted : FittedRouter
        What training found.
    targets : Targets
        What it was trained on.
    pool : Pool
        The candidates.
    extractor : FeatureExtractor
        What computed the features.
    lineage : mapping
        JSON types that say where it comes from.
    guard : NoveltyGuard, optional
        Notices prompts unlike those of training.

    Returns
    -------
    Artifact
        Ready to store.
    """
    golden = extractor.extract(_GOLDEN_PROMPTS, _no_embeddings(extractor))
    characters = np.array([float(len(prompt)) for prompt in _GOLDEN_PROMPTS])
    quality = fitted.model.score(golden, characters).quality
    return Artifact(
        model=fitted.model,
        pool=pool,
        reference=fitted.reference,
        dial=fitted.dial,
        token_low=tuple(fitted.lengths.low.tolist()),
        token_high=tuple(fitted.lengths.high.tolist()),
        assumed_tokens=tuple(targets.assumed_tokens.tolist()),
        features=extractor.spec,
        fingerprint=extractor.fingerprint(),
        golden=tuple(
            (prompt, tuple(np.round(row, 6).tolist()))
            for prompt, row in zip(_GOLDEN_PROMPTS, quality, strict=True)
        ),
        lineage=lineage,
        guard=guard,
    )


def prompt_hashes(prompts: tuple[Prompt, ...]) -> NDArray[np.int64]:
    """Return a 48-bit hash of each prompt's normalised text, to tell seen prompts from new.

    Parameters
    ----------
    prompts : tuple of Prompt
        The n prompts.

    Returns
    -------
    ndarray of shape (n,)
        Hashes; equal for prompts that belong to one group.

    Raises
    ------
    DataError
        If a prompt is empty or malformed.
    """
    hashes = np.empty(len(prompts), np.int64)
    for i, prompt in enumerate(prompts):
        try:
            text = normalised_text(encode_prompt(prompt))
        except ValueError as error:
            raise DataError(f"prompt {i} {error}", field="prompt") from error
        hashes[i] = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
    return hashes


def expected(
    fitted: FittedRouter, features: Features, prompts: tuple[Prompt, ...], pool: Pool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return expected quality, energy in joules and completion tokens, each (n, n_models)."""
    scores = expected_scores(fitted, features, prompts)
    energy_j = pool.joules(scores.prompt_tokens, scores.completion_tokens)
    return scores.quality, energy_j, scores.completion_tokens


def _no_embeddings(extractor: FeatureExtractor) -> NDArray[np.float32] | None:
    """Zeros where embeddings come from outside; None where the encoder makes them."""
    if not extractor.spec.encoder.startswith("precomputed"):
        return None
    return np.zeros((len(_GOLDEN_PROMPTS), extractor.n_embedding), np.float32)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return value if np.isfinite(value) else None
