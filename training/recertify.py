"""Certifying a stored router again, on graded prompts that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from router.artifact import Artifact
from router.errors import ArtifactError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import true_energy
from router.features import FeatureExtractor
from router.messages import prompt_text
from router.monitor.baseline import LINEAGE_KEY
from router.training.calibration import calibrate, calibration_prompts
from router.training.certify.kinds import labelled
from router.training.certify.path import path_of_dial
from router.training.monitor_baselines import held_out, monitor_baselines
from router.training.train import prompt_hashes

__all__ = ["recertify"]


def recertify(
    artifact: Artifact,
    matrix: AnswerMatrix,
    *,
    data_digest: str,
    parent: str,
    method: str | None = None,
    date: str | None = None,
) -> tuple[Artifact, dict[str, int]]:
    """Certify a router on graded prompts.

    Parameters
    ----------
    artifact : Artifact
        The router.
    matrix : AnswerMatrix
        Runs of the pool's models, in its order.
    data_digest : str
        Digest of the runs.
    parent : str
        Digest of the router, for the lineage.
    method : {"exact", "betting"}, optional
        The test; that of the router's last calibration where absent, else the exact one.
    date : str, optional
        Day of the calibration; today where absent.

    Returns
    -------
    artifact : Artifact
        The same router with other promises.
    left_out : dict of str to int
        Prompts that do not count, by reason.

    Raises
    ------
    ArtifactError
        If the router does not say what it was trained on.
    DataError
        If no prompt counts.
    """
    trained_on = artifact.lineage.get("prompt_hashes")
    if trained_on is None:
        raise ArtifactError("the router does not say what it was trained on: train it again")
    complete = np.asarray(~np.isnan(matrix.quality).any(axis=1))
    hashes = prompt_hashes(matrix.prompts)
    seen = complete & np.isin(hashes, np.array(trained_on, np.int64))
    rows = np.flatnonzero(complete & ~seen)
    left_out = {
        "without a grade of every model": int((~complete).sum()),
        "trained on": int(seen.sum()),
    }
    cells = matrix.rows(rows)
    extractor = FeatureExtractor(artifact.features)
    given = cells.embeddings if artifact.features.encoder.startswith("precomputed") else None
    features = extractor.extract(cells.prompts, given)
    characters = np.array([max(len(prompt_text(p).text), 1) for p in cells.prompts], float)
    scores = artifact.model.score(features, characters)
    familiar = np.ones(len(rows), bool)
    if artifact.guard is not None:
        familiar = artifact.guard.novelty(features) < artifact.guard.level
    before, kinds = artifact.calibration, cells.tasks
    clusters = None if before is None or labelled(kinds) else before.clusters
    if clusters is not None:
        kinds = tuple(clusters.names(features, artifact.model.scaler))
    prompts = calibration_prompts(
        scores,
        artifact.pool,
        cells.quality,
        true_energy(cells, artifact.pool, scores.completion_tokens),
        kinds,
        hashes[rows],
        familiar=familiar,
    )
    left_out["unlike those of training"] = int((~familiar).sum())
    left_out["repeated"] = int(familiar.sum()) - len(prompts)
    if not len(prompts):
        reasons = ", ".join(f"{n:,} {why}" for why, n in left_out.items() if n)
        raise DataError(
            f"no prompt is left to certify on ({reasons or 'the runs have none'}): grade every "
            "model of the pool on prompts that were not used yet"
        )
    calibration = calibrate(
        prompts,
        path_of_dial(artifact.dial) if before is None else before.path,
        artifact.dial,
        artifact.reference,
        method=method or (before.method if before is not None else "exact"),
        data_digest=data_digest,
        date=date,
        clusters=clusters,
    )
    lineage = {
        **artifact.lineage,
        "parent": parent,
        "calibration_hashes": hashes[rows][familiar].tolist(),
        "calibration_left_out": left_out,
    }
    renewed = replace(artifact, lineage=lineage, calibration=calibration)
    # bars are served by other settings now: what a monitor compares with has to follow
    unseen = held_out(renewed, scores, features, cells.quality)
    lineage |= {LINEAGE_KEY: monitor_baselines(renewed, [unseen]).to_dict()}
    return replace(renewed, lineage=lineage), left_out
