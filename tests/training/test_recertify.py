from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from router import Router
from router.artifact import Artifact
from router.errors import ArtifactError, DataError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureSpec
from router.training.recertify import recertify
from router.training.train import prompt_hashes, train_router

PARENT = "cd" * 32


@pytest.fixture(scope="module")
def matrix(make_matrix: Callable[..., AnswerMatrix]) -> AnswerMatrix:
    return make_matrix(300)


@pytest.fixture(scope="module")
def artifact(matrix: AnswerMatrix, pool) -> Artifact:
    return train_router(
        matrix,
        pool,
        data_digest="ab" * 32,
        calibration_share=0.0,
        spec=FeatureSpec(n_buckets=2**10),
    ).artifact


def again(artifact: Artifact, matrix: AnswerMatrix, **options: str) -> tuple[Artifact, dict]:
    return recertify(
        artifact, matrix, data_digest="ef" * 32, parent=PARENT, date="2026-11-23", **options
    )


@pytest.fixture(scope="module")
def calibrated(artifact: Artifact, make_matrix) -> Artifact:
    return again(artifact, make_matrix(500, seed=1))[0]


def test_a_router_without_promises_gets_them(calibrated: Artifact, artifact: Artifact) -> None:
    assert artifact.calibration is None
    found = calibrated.calibration
    assert found is not None
    assert found.groups[0].n > 450
    assert found.certificate(0.8, 0.9).holds
    assert (found.method, found.date, found.data_digest) == ("exact", "2026-11-23", "ef" * 32)
    assert calibrated.model is artifact.model
    assert calibrated.dial is artifact.dial


def test_it_names_its_parent_and_its_prompts(calibrated: Artifact, make_matrix) -> None:
    lineage = calibrated.lineage
    assert lineage["parent"] == PARENT
    assert lineage["data_digest"] == "ab" * 32  # of the training
    hashes = prompt_hashes(make_matrix(500, seed=1).prompts)
    assert set(lineage["calibration_hashes"]) <= set(hashes.tolist())
    assert lineage["calibration_left_out"]["trained on"] == 0


def test_prompts_that_do_not_count_are_counted(
    artifact: Artifact, matrix: AnswerMatrix, make_matrix
) -> None:
    new = make_matrix(300, seed=2)
    quality = np.vstack([matrix.quality, new.quality])
    quality[300:330, 1] = np.nan
    cells = {
        name: np.vstack([getattr(matrix, name), getattr(new, name)])
        for name in ("prompt_tokens", "completion_tokens", "energy_j")
    }
    both = replace(
        matrix,
        prompts=(*matrix.prompts, *new.prompts[:299], new.prompts[298]),
        prompt_ids=(*matrix.prompt_ids, *new.prompt_ids),
        quality=quality,
        tasks=(*matrix.tasks, *new.tasks),
        groups=np.arange(600),
        **cells,
    )
    found, left_out = again(artifact, both)
    assert found.calibration is not None
    assert left_out["without a grade of every model"] == 30
    assert left_out["trained on"] == 300
    assert left_out["repeated"] >= 1
    assert found.calibration.groups[0].n == 600 - sum(left_out.values())


def test_prompts_that_were_all_trained_on_are_refused(
    artifact: Artifact, matrix: AnswerMatrix
) -> None:
    with pytest.raises(DataError, match=r"certify on \(300 trained on\): grade"):
        again(artifact, matrix)


def test_a_few_prompts_are_a_clear_result(artifact: Artifact, make_matrix) -> None:
    found, _ = again(artifact, make_matrix(12, seed=3))
    assert found.calibration is not None
    certificate = found.calibration.certificate(0.98, 0.9)
    assert not certificate.holds
    assert "12 prompts do not support it" in certificate.reason or certificate.n < 12
    decision = Router(found).route("Add 3 to 4, take 1 away and give the number that comes out.")
    assert decision.model == decision.reference


def test_runs_without_lengths_take_those_that_the_router_expects(
    calibrated: Artifact, artifact: Artifact, make_matrix
) -> None:
    new = make_matrix(500, seed=1)
    silent = replace(new, completion_tokens=np.full(new.quality.shape, np.nan))
    found = again(artifact, silent)[0].calibration
    assert found is not None
    assert calibrated.calibration is not None
    np.testing.assert_allclose(
        found.groups[0].energy, calibrated.calibration.groups[0].energy, rtol=0.1
    )


def test_path_and_method_stay_those_of_the_parent(calibrated: Artifact, make_matrix) -> None:
    assert calibrated.calibration is not None
    other = make_matrix(200, seed=4)
    betting = again(calibrated, other, method="betting")[0]
    assert betting.calibration is not None
    assert betting.calibration.path == calibrated.calibration.path
    assert betting.calibration.method == "betting"
    third = again(betting, other)[0].calibration
    assert third is not None
    assert third.method == "betting"


def test_a_router_of_unknown_origin_is_refused(artifact: Artifact, matrix: AnswerMatrix) -> None:
    with pytest.raises(ArtifactError, match="does not say what it was trained on"):
        again(replace(artifact, lineage={}), matrix)
