"""The trained router as a method of the benchmark."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from router import Router
from router.artifact import Artifact, write_artifact
from router.eval.protocol import BenchmarkSplit, Outcome
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.embedding_cache import CachedEncoder
from router.training.novelty import fit_guard
from router.training.split_fit import fit_split
from router.training.train import assemble

__all__ = ["LearnedRouter"]

_TIMED_PROMPTS = 300
_WARM_UP = 20


class LearnedRouter:
    """Trains a router on each split, as :func:`router.training.train.train_router` does.

    Parameters
    ----------
    pool : Pool
        The candidates.
    extractor : FeatureExtractor
        What the features of the splits come from.
    n_jobs : int
        Fits at a time.
    """

    name = "wattroute"

    def __init__(self, pool: Pool, extractor: FeatureExtractor, *, n_jobs: int = 2) -> None:
        self.pool = pool
        self.extractor = extractor
        self.n_jobs = n_jobs

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Train on the training prompts of a split and decide its test prompts.

        Parameters
        ----------
        split : BenchmarkSplit
            Training prompts with outcomes, test prompts without.

        Returns
        -------
        Outcome
            Choices along the dial, expectations, and the figures ``train_s``,
            ``artifact_mb``, ``decision_us_p50`` and ``decision_us_p99``.
        """
        found = fit_split(split, self.pool, n_jobs=self.n_jobs)
        started = time.perf_counter()
        guard = fit_guard(
            split.train_features,
            split.train.groups,
            split.train.quality,
            found.fitted.reference,
            seed=split.seed,
        )
        train_s = found.train_s + time.perf_counter() - started
        artifact = assemble(found.fitted, found.targets, self.pool, self.extractor, {}, guard=guard)
        return replace(
            found.outcome,
            figures={
                "train_s": train_s,
                "out_of_fold_log_energy_ratio": found.fitted.evidence.log_energy_ratio,
                **_stored_figures(artifact, split, self.extractor),
            },
        )


def _stored_figures(
    artifact: Artifact, split: BenchmarkSplit, extractor: FeatureExtractor
) -> dict[str, float]:
    """Size of the stored router and the time of single decisions by a loaded one."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "router"
        write_artifact(artifact, target, "Benchmark split.\n")
        size = sum(file.stat().st_size for file in target.iterdir())
        encoder = extractor.encoder
        if isinstance(encoder, CachedEncoder):  # what serving waits for is the encoder itself
            encoder = encoder.encoder
        router = Router.load(target, encoder=encoder)
    if extractor.spec.encoder.startswith("precomputed"):
        return {"artifact_mb": size / 1e6}
    prompts = split.test_prompts[:_TIMED_PROMPTS]
    for prompt in prompts[:_WARM_UP]:
        router.route(prompt)
    times = []
    for prompt in prompts:
        before = time.perf_counter()
        router.route(prompt)
        times.append(time.perf_counter() - before)
    return {
        "artifact_mb": size / 1e6,
        "decision_us_p50": float(np.percentile(times, 50) * 1e6),
        "decision_us_p99": float(np.percentile(times, 99) * 1e6),
    }
