from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router import Router
from router.artifact import Artifact, artifact_digest, write_artifact
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureSpec
from router.pool import PoolModel
from router.training import add_model as module
from router.training import fitting
from router.training.add_model import AddedModel, add_model
from router.training.train import train_router

SPEC = FeatureSpec(n_buckets=2**10)  # smaller than by default, to be quick
NEW = PoolModel("fourth", "fourth-api", 0.02, 0.2, 0.5, 2.0, "estimated")
# chance of a right answer, and tokens, of the new model on sums, words and puzzles
CHANCE = {"sums": 0.9, "words": 0.85, "puzzles": 0.1}
TOKENS = {"sums": 30.0, "words": 120.0, "puzzles": 500.0}


def with_fourth(matrix: AnswerMatrix, rows: np.ndarray | None = None) -> AnswerMatrix:
    """Return the runs with grades of the new model on some prompts."""
    rng = np.random.default_rng(11)
    chance = np.array([CHANCE[task] for task in matrix.tasks])
    tokens = np.array([TOKENS[task] for task in matrix.tasks])
    quality = (rng.random(len(matrix)) < chance).astype(float)
    lengths = np.rint(tokens * np.exp(0.2 * rng.standard_normal(len(matrix))))
    if rows is not None:
        hidden = ~np.isin(np.arange(len(matrix)), rows)
        quality[hidden] = lengths[hidden] = np.nan
    return replace(
        matrix,
        models=(*matrix.models, "fourth"),
        quality=np.column_stack([matrix.quality, quality]),
        completion_tokens=np.column_stack([matrix.completion_tokens, lengths]),
        prompt_tokens=np.column_stack([matrix.prompt_tokens, matrix.prompt_tokens[:, 0]]),
        energy_j=np.column_stack([matrix.energy_j, np.full(len(matrix), np.nan)]),
    )


@pytest.fixture(scope="module")
def matrix(make_matrix) -> AnswerMatrix:
    return make_matrix(300)


@pytest.fixture(scope="module")
def parent(matrix: AnswerMatrix, pool) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        return train_router(matrix, pool, data_digest="ab" * 32, spec=SPEC).artifact


def add(parent: Artifact, runs: AnswerMatrix, **options) -> tuple[Artifact, AddedModel]:
    words = {"parent": "cd" * 32, "data_digest": "ef" * 32}
    return add_model(parent, runs, options.pop("new", NEW), **words, **options)


@pytest.fixture(scope="module")
def added(parent: Artifact, matrix: AnswerMatrix) -> tuple[Artifact, AddedModel]:
    return add(parent, with_fourth(matrix, np.arange(100)))


def test_what_is_expected_of_the_new_model_follows_the_kind_of_prompt(
    added: tuple[Artifact, AddedModel], make_matrix
):
    fresh = make_matrix(150, seed=5)
    scores = Router(added[0]).score(fresh.prompts)
    tasks = np.array(fresh.tasks)
    for kind, chance in CHANCE.items():
        assert scores.quality[tasks == kind, 3].mean() == pytest.approx(chance, abs=0.2)
        expected = scores.completion_tokens[tasks == kind, 3].mean()
        assert expected == pytest.approx(TOKENS[kind], rel=0.35)
    truth = np.array([CHANCE[task] for task in tasks])
    error = np.square(scores.quality[:, 3] - truth).mean()
    assert error < 0.2 * truth.var()


def test_what_is_expected_of_the_others_stays(
    parent: Artifact, added: tuple[Artifact, AddedModel], make_matrix
):
    prompts = make_matrix(40, seed=5).prompts
    before, after = Router(parent).score(prompts), Router(added[0]).score(prompts)
    np.testing.assert_allclose(after.quality[:, :3], before.quality, atol=1e-6)
    np.testing.assert_allclose(after.completion_tokens[:, :3], before.completion_tokens, 1e-3)


def test_it_is_stored_and_routes(
    parent: Artifact, added: tuple[Artifact, AddedModel], tmp_path: Path
):
    artifact, found = added
    write_artifact(artifact, tmp_path / "router", "card")
    router = Router.load(tmp_path / "router")
    assert [model.id for model in router.models][-1] == "fourth-api"
    assert router.reference == Router(parent).reference
    decision = router.route("Add 12 to 30, take 5 away and give the number.", quality=0.9)
    assert len(decision.candidates) == 4
    assert decision.certificate is None or not decision.certificate.holds
    lineage = json.loads((tmp_path / "router" / "manifest.json").read_text())["lineage"]
    assert lineage["parent"] == "cd" * 32
    assert lineage["added_models"] == [found.to_dict()]
    assert artifact_digest(tmp_path / "router") != lineage["parent"]


def test_nothing_of_another_pool_is_promised(parent: Artifact, added: tuple[Artifact, AddedModel]):
    artifact, _ = added
    assert artifact.calibration is None
    assert parent.guard is not None
    assert artifact.guard is not None
    assert artifact.guard.reach == (*parent.guard.reach, 0.0)
    for key in ("monitor", "calibration_hashes", "out_of_fold", "forecast"):
        assert key not in artifact.lineage


def test_little_known_models_are_taken_for_less(added: tuple[Artifact, AddedModel], matrix):
    artifact, found = added
    assert found.provisional
    assert found.n_graded == 100
    assert found.bound == pytest.approx(found.quality - found.deviation)
    assert artifact.dial.means.quality[3] == found.bound
    truth = np.mean([CHANCE[task] for task in matrix.tasks])
    assert abs(found.quality - truth) < 3.0 * found.deviation
    assert found.n_needed > 4 * found.n_graded
    scores = Router(artifact).score(matrix.prompts)
    lowered = scores.probability[:, 3].mean() - scores.quality[:, 3].mean()
    assert lowered == pytest.approx(found.deviation, abs=0.02)


def test_well_known_models_are_taken_for_what_they_are(
    parent: Artifact, matrix: AnswerMatrix, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("router.training.new_model.WELL_KNOWN", 0.5)
    artifact, found = add(parent, with_fourth(matrix, np.arange(60)))
    assert not found.provisional
    assert found.bound == found.quality == artifact.dial.means.quality[3]


def test_an_excellent_model_gets_prompts_and_a_bad_one_none(
    parent: Artifact, matrix: AnswerMatrix, make_matrix
):
    fresh = make_matrix(60, seed=7)
    shares = {}
    for grade in (0.0, 1.0):
        runs = with_fourth(matrix, np.arange(80))
        runs.quality[:80, 3] = grade
        artifact, found = add(parent, runs)
        assert found.quality == pytest.approx(grade, abs=0.1)
        decisions = Router(artifact).route_many(
            fresh.prompts, quality=0.95, uncertified="estimate", guard=False
        )
        shares[grade] = np.mean([decision.model == "fourth-api" for decision in decisions])
    assert shares[0.0] == 0.0
    assert shares[1.0] > 0.5


def test_the_same_runs_give_the_same_router(
    parent: Artifact, added: tuple[Artifact, AddedModel], matrix: AnswerMatrix, tmp_path: Path
):
    write_artifact(added[0], tmp_path / "one", "card")
    again, _ = add(parent, with_fourth(matrix, np.arange(100)))
    write_artifact(again, tmp_path / "two", "card")
    assert artifact_digest(tmp_path / "one") == artifact_digest(tmp_path / "two")


def test_the_other_models_need_no_grades(parent: Artifact, make_matrix):
    runs = with_fourth(make_matrix(90, seed=3)).columns(["fourth"])
    artifact, found = add(parent, runs)
    assert found.n_trained_on == found.n_alone == 0
    assert found.quality == pytest.approx(np.nanmean(runs.quality), abs=0.15)
    assert np.isfinite(Router(artifact).score(["Add 1 to 2."]).quality).all()


def test_prompts_of_the_training_without_other_grades_are_counted(
    parent: Artifact, matrix: AnswerMatrix
):
    alone = with_fourth(matrix, np.arange(100)).columns(["fourth"])
    _, found = add(parent, alone)
    assert found.n_alone == found.n_trained_on > 50
    assert add(parent, with_fourth(matrix, np.arange(100)))[1].n_alone == 0


def test_a_model_of_hidden_lengths_has_assumed_ones(parent: Artifact, matrix: AnswerMatrix):
    runs = with_fourth(matrix, np.arange(60))
    runs.completion_tokens[:, 3] = np.nan
    artifact, _ = add(parent, runs, new=replace(NEW, assumed_completion_tokens=777.0))
    assert artifact.assumed_tokens[3]
    assert not any(artifact.assumed_tokens[:3])
    tokens = Router(artifact).score(matrix.prompts[:20]).completion_tokens[:, 3]
    np.testing.assert_allclose(tokens, 777.0, rtol=1e-2)


def test_repeated_prompts_count_once(parent: Artifact, matrix: AnswerMatrix):
    twice = np.concatenate([np.arange(40), np.arange(40)])
    _, found = add(parent, with_fourth(matrix).rows(twice))
    assert found.n_graded == len(np.unique(matrix.groups[:40]))


def test_of_very_many_prompts_some_are_used(
    parent: Artifact, matrix: AnswerMatrix, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_MAX_PROMPTS", 50)
    monkeypatch.setattr(module, "_MAX_TRAFFIC", 70)
    said: list[str] = []
    _, found = add(parent, with_fourth(matrix), progress=said.append)
    assert found.n_graded == 50
    assert "train the router again" in said[0]


def test_a_second_model_can_be_added(
    added: tuple[Artifact, AddedModel], matrix: AnswerMatrix, make_matrix
):
    runs = with_fourth(matrix, np.arange(60))
    runs = replace(runs, models=(*runs.models[:3], "fifth"))
    artifact, _ = add(added[0], runs, new=replace(NEW, name="fifth", api_id="fifth-api"))
    assert [model["name"] for model in artifact.lineage["added_models"]] == ["fourth", "fifth"]
    assert Router(artifact).score(make_matrix(5, seed=9).prompts).quality.shape == (5, 5)


def test_routers_on_embeddings_that_come_with_the_runs(matrix: AnswerMatrix, pool):
    small = matrix.rows(np.arange(120))
    rng = np.random.default_rng(0)
    kinds = np.unique(small.tasks, return_inverse=True)[1]
    vectors = (np.eye(3)[kinds] + 0.1 * rng.standard_normal((120, 3))).astype(np.float32)
    small = replace(small, embeddings=vectors)
    spec = replace(SPEC, encoder="precomputed:3")
    trained = train_router(small, pool, data_digest="", spec=spec).artifact
    artifact, found = add(trained, with_fourth(small, np.arange(50)))
    assert found.n_graded > 40
    assert Router(artifact).score(small.prompts, vectors).quality.shape == (120, 4)


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_prompts_are_refused(parent: Artifact, matrix: AnswerMatrix, n: int):
    with pytest.raises(DataError, match=r"at least 30 are needed.*select-prompts"):
        add(parent, with_fourth(matrix, np.arange(n)))


def test_models_that_cannot_be_added_are_refused(parent: Artifact, matrix: AnswerMatrix):
    runs = with_fourth(matrix, np.arange(60))
    with pytest.raises(ConfigError, match="has the model 'small' already"):
        add(parent, runs, new=replace(NEW, name="small"))
    with pytest.raises(ConfigError, match="id 'large-api' already"):
        add(parent, runs, new=replace(NEW, api_id="large-api"))
    with pytest.raises(DataError, match="no model 'fifth'"):
        add(parent, runs, new=replace(NEW, name="fifth", api_id="f"))
