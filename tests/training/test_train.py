from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router import Router
from router.artifact import write_artifact
from router.encoders import load_encoder
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureSpec
from router.pool import load_pool
from router.training.card import model_card
from router.training.ingest import load_runs
from router.training.train import TrainedRouter, prompt_hashes, train_router

N = 60
SPEC = FeatureSpec(n_buckets=2**10)  # smaller than by default, to be quick
ELSEWHERE = """
import sys
from router.artifact import write_artifact
from router.pool import load_pool
from router.training.ingest import load_runs
from router.training.train import train_router
runs, pool, out = sys.argv[1:]
table = load_runs(runs)
trained = train_router(table.to_matrix(), load_pool(pool), data_digest=table.digest, seed=4)
write_artifact(trained.artifact, out, "card")
"""


def train(matrix: AnswerMatrix, pool, **options: object) -> TrainedRouter:
    return train_router(matrix, pool, data_digest="ab" * 32, **{"spec": SPEC, **options})


@pytest.fixture(scope="module")
def matrix(make_matrix) -> AnswerMatrix:
    return make_matrix(N)


@pytest.fixture(scope="module")
def trained(matrix: AnswerMatrix, pool) -> TrainedRouter:
    return train(matrix, pool)


def test_a_stored_router_is_the_one_that_was_trained(
    trained: TrainedRouter, make_matrix, tmp_path: Path
):
    write_artifact(trained.artifact, tmp_path / "router", "card")
    stored = Router.load(tmp_path / "router")
    prompts = make_matrix(30, seed=8).prompts
    before, after = Router(trained.artifact).score(prompts), stored.score(prompts)
    np.testing.assert_array_equal(before.quality, after.quality)
    np.testing.assert_array_equal(before.completion_tokens, after.completion_tokens)
    assert [model.id for model in stored.models] == ["small-api", "middle-api", "large-api"]
    assert stored.reference == "large-api"
    for decision in stored.route_many(prompts, quality=0.9):
        assert decision.model in {"small-api", "middle-api", "large-api"}
        assert decision.energy_j.low_j <= decision.energy_j.value_j <= decision.energy_j.high_j


def test_the_lineage_says_where_it_comes_from(trained: TrainedRouter, matrix: AnswerMatrix):
    lineage = json.loads(json.dumps(dict(trained.artifact.lineage), allow_nan=False))
    assert lineage["data_digest"] == "ab" * 32
    assert lineage["seed"] == 0
    assert (lineage["n_prompts"], lineage["n_answers"]) == (N, 3 * N)
    assert lineage["extra_models"] == []
    assert lineage["prompt_hashes"] == prompt_hashes(matrix.prompts).tolist()
    assert {"wattroute", "numpy", "scikit-learn"} <= set(lineage["versions"])
    found = lineage["out_of_fold"]
    assert found["log_energy_ratio"] == pytest.approx(trained.fitted.evidence.log_energy_ratio)
    assert set(found["head_weights"]) == set(trained.fitted.evidence.head_figures)


def test_the_card_has_the_figures(trained: TrainedRouter):
    card = model_card(
        trained.artifact, name="three", data="Made up.", command="wattroute train", result=None
    )
    for text in ("# Router: three", "Made up. 60 prompts, 180 graded answers", "`" + "ab" * 32):
        assert text in card
    quality = trained.targets.quality.mean(axis=0)
    rows = [line for line in card.splitlines() if line.startswith(("| small", "| middle", "| lar"))]
    assert len(rows) == 3
    for row, mean in zip(rows, quality, strict=True):
        assert row.endswith(f"| {mean:.3f} |")
    assert "large-api (reference)" in rows[2]
    assert "without held-out prompts" in card
    assert "nan" not in card


def test_the_same_seed_gives_the_same_bytes_elsewhere(
    matrix: AnswerMatrix, make_frame, pool_file: Path, tmp_path: Path
):
    runs = tmp_path / "runs.csv"
    make_frame(matrix).to_csv(runs, index=False)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "4"}
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, runs, pool_file, tmp_path / "elsewhere"],
        env=environment,
        check=True,
    )
    table = load_runs(runs)
    here = train_router(table.to_matrix(), load_pool(pool_file), data_digest=table.digest, seed=4)
    write_artifact(here.artifact, tmp_path / "here", "card")
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "elsewhere").iterdir())
    for name in files:
        found = [(tmp_path / place / name).read_bytes() for place in ("here", "elsewhere")]
        assert found[0] == found[1], name


def test_runs_without_a_model_of_the_pool(matrix: AnswerMatrix, pool):
    with pytest.raises(DataError, match="no model 'middle', 'large'"):
        train(matrix.columns(["small"]), pool)


def test_a_model_that_was_never_graded(matrix: AnswerMatrix, pool):
    quality = matrix.quality.copy()
    quality[:, 1] = np.nan
    with pytest.raises(DataError, match="'middle' has no graded answer"):
        train(replace(matrix, quality=quality), pool)


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_prompts(matrix: AnswerMatrix, pool, n: int):
    with pytest.raises(DataError):
        train(matrix.rows(np.arange(n)), pool)


def test_prompts_that_nobody_of_the_pool_was_graded_on_are_left_out(matrix: AnswerMatrix, pool):
    quality = matrix.quality.copy()
    quality[:20] = np.nan
    quality[20:30, 0] = np.nan
    found = train(replace(matrix, quality=quality), pool).artifact.lineage
    assert (found["n_prompts"], found["n_answers"]) == (40, 110)
    assert len(found["prompt_hashes"]) == 40


def test_models_in_another_order_and_others_besides(matrix: AnswerMatrix, pool, trained):
    noise = np.random.default_rng(0).random((N, 1))
    empty = np.full((N, 1), np.nan)
    wide = replace(
        matrix,
        models=("other", *matrix.models),
        quality=np.hstack([noise, matrix.quality]),
        prompt_tokens=np.hstack([empty, matrix.prompt_tokens]),
        completion_tokens=np.hstack([empty, matrix.completion_tokens]),
        energy_j=np.hstack([empty, matrix.energy_j]),
    ).columns(["large", "other", "small", "middle"])
    found = train(wide, pool)
    assert found.artifact.lineage["extra_models"] == ["other"]
    assert found.artifact.pool.names == pool.names
    assert found.artifact.reference == trained.artifact.reference
    plain = train(wide.columns(["large", "small", "middle"]), pool)
    scores = [Router(t.artifact).score(matrix.prompts).quality for t in (plain, trained)]
    np.testing.assert_array_equal(*scores)


def test_a_prompt_that_is_empty_is_named(matrix: AnswerMatrix, pool):
    with pytest.raises(DataError, match="prompt 3 is empty"):
        train(replace(matrix, prompts=(*matrix.prompts[:3], " ", *matrix.prompts[4:])), pool)


def test_hashes_tell_prompts_apart_as_groups_do():
    same = [
        "Why  is THE sky blue?",
        "why is the sky blue?\n",
        [{"role": "user", "content": "Why is the sky blue?"}],
    ]
    other = ["Why is the sky red?", [{"role": "user", "content": "Why?"}]]
    hashes = prompt_hashes((*same, *other)).tolist()
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes)) == 3
    assert all(0 <= value < 2**48 for value in hashes)
    assert prompt_hashes(()).shape == (0,)


def test_chat_messages(matrix: AnswerMatrix, pool, trained: TrainedRouter):
    chats = tuple([{"role": "user", "content": text}] for text in matrix.prompts)
    found = train(replace(matrix, prompts=chats), pool).artifact
    expected = Router(trained.artifact).score(matrix.prompts).quality
    np.testing.assert_array_equal(Router(found).score(chats).quality, expected)
    assert found.lineage["prompt_hashes"] == trained.artifact.lineage["prompt_hashes"]


def test_embeddings_that_came_with_the_runs(matrix: AnswerMatrix, pool, tmp_path: Path):
    kinds = np.unique(matrix.tasks, return_inverse=True)[1]
    embeddings = np.eye(4, dtype=np.float32)[kinds]
    given = replace(matrix, embeddings=embeddings)
    found = train(given, pool, spec=replace(SPEC, encoder="precomputed:4"))
    write_artifact(found.artifact, tmp_path / "router", "card")
    router = Router.load(tmp_path / "router")
    quality = router.score(matrix.prompts, embeddings).quality
    assert np.square(quality - matrix.quality).mean() < 0.2
    with pytest.raises(ConfigError, match="embedding"):
        router.score(matrix.prompts)
    with pytest.raises(ConfigError, match="embedding"):
        train(matrix, pool, spec=replace(SPEC, encoder="precomputed:4"))


def test_training_embeds_with_what_serves(matrix: AnswerMatrix, pool, trained: TrainedRouter):
    """Embeddings of the runs are for routers that are told to take them."""
    foreign = np.random.default_rng(0).standard_normal((N, 256)).astype(np.float32)
    found = train(replace(matrix, embeddings=foreign), pool)
    scores = [Router(t.artifact).score(matrix.prompts).quality for t in (found, trained)]
    np.testing.assert_array_equal(*scores)


def test_a_cached_encoder_takes_the_place_of_its_own(
    matrix: AnswerMatrix, pool, trained: TrainedRouter
):
    class Counting:
        def __init__(self) -> None:
            self.encoder, self.n_texts = load_encoder("static"), 0

        def encode(self, texts):
            self.n_texts += len(texts)
            return self.encoder.encode(texts)

        def fingerprint(self) -> str:
            return self.encoder.fingerprint()

    encoder = Counting()
    found = train(matrix, pool, encoder=encoder)
    assert encoder.n_texts >= N
    assert found.artifact.fingerprint == trained.artifact.fingerprint


def test_unknown_lengths_are_marked(matrix: AnswerMatrix, make_pool):
    tokens = matrix.completion_tokens.copy()
    tokens[:, 2] = np.nan
    found = train(replace(matrix, completion_tokens=tokens), make_pool(assumed=2000.0))
    assert found.artifact.assumed_tokens == (False, False, True)
    decision = Router(found.artifact).route(matrix.prompts[0])
    large = next(c for c in decision.candidates if c.model == "large-api")
    assert large.completion_tokens == pytest.approx(2000, rel=0.01)
    assert large.energy_j.basis == "assumed"
    card = model_card(found.artifact, name="n", data="d", command="c", result=None)
    assert "do not have the answer lengths of large-api" in card
