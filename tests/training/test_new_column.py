from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from router.training import new_column
from router.training.heads import TrainingBlocks
from router.training.new_column import (
    ColumnPrior,
    GradedBlocks,
    fit_linear_column,
    fit_logistic_column,
)

VAGUE = ColumnPrior(0.0, 1.0, np.zeros(2), np.eye(2))


def make_blocks(n: int, seed: int = 0, surprise: np.ndarray | None = None) -> GradedBlocks:
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n, 5)).astype(np.float32)
    ngrams = sparse.random(n, 30, 0.2, "csr", np.float32, rng)
    return GradedBlocks.build(TrainingBlocks(dense, dense, ngrams, dense), surprise)


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-value))


def value_of(column, latent, blocks) -> np.ndarray:
    own = blocks.dense @ column.dense_weights + blocks.ngrams @ column.ngram_weights
    return column.intercept + latent @ column.coefficients + own


def one_kernel(monkeypatch: pytest.MonkeyPatch, noise: float = 0.5) -> None:
    monkeypatch.setattr(new_column, "_STRAY", (1.0,))
    monkeypatch.setattr(new_column, "_NGRAMS", (0.5,))
    monkeypatch.setattr(new_column, "_DENSE", (0.5,))
    monkeypatch.setattr(new_column, "_NOISE", (noise,))


def test_many_grades_give_the_true_weights():
    rng = np.random.default_rng(1)
    latent = rng.standard_normal((400, 2))
    truth = 0.3 + latent @ [1.5, -0.7]
    linear = fit_linear_column(
        latent, make_blocks(400), truth + 0.2 * rng.standard_normal(400), VAGUE
    )
    np.testing.assert_allclose(linear.coefficients, [1.5, -0.7], atol=0.1)
    assert linear.intercept == pytest.approx(0.3, abs=0.1)
    graded = (rng.random(400) < sigmoid(truth)).astype(float)
    logistic = fit_logistic_column(latent, make_blocks(400), graded, VAGUE)
    np.testing.assert_allclose(logistic.coefficients, [1.5, -0.7], atol=0.4)
    assert logistic.intercept == pytest.approx(0.3, abs=0.4)


@pytest.mark.parametrize("fit", [fit_linear_column, fit_logistic_column])
def test_a_sure_prior_outweighs_few_grades(fit):
    rng = np.random.default_rng(2)
    latent = rng.standard_normal((30, 2))
    sure = ColumnPrior(0.1, 1e-6, np.array([0.5, 0.2]), 1e-8 * np.eye(2))
    column = fit(latent, make_blocks(30), rng.integers(0, 2, 30).astype(float), sure)
    ratio = column.coefficients / sure.mean
    # moderation shrinks all weights alike, and here hardly at all
    np.testing.assert_allclose(ratio, 1.0, atol=1e-3)


def test_what_is_unseen_is_what_a_fit_without_the_prompt_says(monkeypatch: pytest.MonkeyPatch):
    one_kernel(monkeypatch)
    n = 25
    rng = np.random.default_rng(3)
    outcome = rng.standard_normal(n)
    blocks = make_blocks(n)
    # no latents, whose centre would move with each prompt
    prior = ColumnPrior(0.0, 1.0, np.zeros(0), np.zeros((0, 0)))
    column = fit_linear_column(np.zeros((n, 0)), blocks, outcome, prior)
    noise = 0.5 * np.var(outcome)
    kernel = 1.0 + 0.5 * blocks.ngram_kernel + 0.5 * blocks.dense_kernel
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        alpha = np.linalg.solve(kernel[np.ix_(rest, rest)] + noise * np.eye(n - 1), outcome[rest])
        assert column.unseen[i] == pytest.approx(float(kernel[i, rest] @ alpha), abs=1e-8)


def test_unseen_log_odds_are_close_to_those_of_a_fit_without_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
):
    one_kernel(monkeypatch)
    rng = np.random.default_rng(4)
    n = 40
    dense = rng.standard_normal((n, 3)).astype(np.float32)
    ngrams = sparse.csr_matrix((n, 4), dtype=np.float32)
    quality = (rng.random(n) < sigmoid(2.0 * dense[:, 0])).astype(float)
    prior = ColumnPrior(0.0, 1.0, np.zeros(0), np.zeros((0, 0)))

    def fit(rows: np.ndarray):
        blocks = GradedBlocks.build(
            TrainingBlocks(dense[rows], dense[rows], ngrams[rows], dense[rows])
        )
        blocks = replace(
            blocks, dense_scale=0.3, dense_kernel=0.3 * (blocks.dense @ blocks.dense.T)
        )
        return fit_logistic_column(np.zeros((len(rows), 0)), blocks, quality[rows], prior)

    every = fit(np.arange(n))
    for i in range(0, n, 5):
        left = fit(np.delete(np.arange(n), i))
        expected = left.intercept + dense[i] @ left.dense_weights
        assert every.unseen[i] == pytest.approx(expected, abs=0.15)


def test_the_weights_say_what_the_kernels_say(monkeypatch: pytest.MonkeyPatch):
    one_kernel(monkeypatch)
    rng = np.random.default_rng(5)
    latent, blocks = rng.standard_normal((60, 2)), make_blocks(60)
    outcome = latent @ [1.0, 1.0] + rng.standard_normal(60)
    column = fit_linear_column(latent, blocks, outcome, VAGUE)
    centred = latent - latent.mean(axis=0)
    kernel = centred @ centred.T + 1.0 + 0.5 * blocks.ngram_kernel + 0.5 * blocks.dense_kernel
    alpha = np.linalg.solve(kernel + 0.5 * np.var(outcome) * np.eye(60), outcome)
    np.testing.assert_allclose(value_of(column, latent, blocks), kernel @ alpha, atol=1e-6)


def test_latents_that_know_the_answers_do_not_mislead_where_others_were_graded():
    rng = np.random.default_rng(6)
    n = 400
    ability = 0.7 * rng.standard_normal(n)  # what the features tell
    hardness = 2.0 * rng.standard_normal(n)  # what they do not
    others = (rng.random((n, 5)) < sigmoid(ability + hardness)[:, None]).astype(float)
    expected = sigmoid(0.6 * ability)[:, None]
    # in sample, the latent has moved towards the other models' answers
    latent = np.stack([ability + 0.7 * (others - expected).mean(axis=1), np.zeros(n)], axis=1)
    quality = (rng.random(n) < sigmoid(ability + hardness)).astype(float)
    surprise = others - sigmoid(0.6 * latent[:, :1])
    misled = fit_logistic_column(latent, make_blocks(n), quality, VAGUE)
    guarded = fit_logistic_column(latent, make_blocks(n, surprise=surprise), quality, VAGUE)
    fresh = 0.7 * rng.standard_normal(4000)
    truth = sigmoid(fresh[:, None] + 2.0 * rng.standard_normal(300)).mean(axis=1)

    def error(column) -> float:
        found = sigmoid(column.intercept + fresh * column.coefficients[0])
        return float(np.square(found - truth).mean())

    assert misled.coefficients[0] > 1.5 * guarded.coefficients[0]
    assert error(guarded) < 0.5 * error(misled)


def test_log_odds_are_moderated_by_what_is_not_known(monkeypatch: pytest.MonkeyPatch):
    one_kernel(monkeypatch)
    rng = np.random.default_rng(7)
    latent = rng.standard_normal((40, 2))
    quality = (latent[:, 0] > 0).astype(float)
    column = fit_logistic_column(latent, make_blocks(40), quality, VAGUE)
    monkeypatch.setattr(new_column, "_MODERATION", 0.0)
    bold = fit_logistic_column(latent, make_blocks(40), quality, VAGUE)
    assert 0.3 < column.coefficients[0] / bold.coefficients[0] < 0.98


def test_the_deviation_falls_with_the_number_of_grades():
    rng = np.random.default_rng(8)
    found = []
    for n in (40, 160, 640):
        latent = rng.standard_normal((n, 2))
        quality = (rng.random(n) < 0.5).astype(float)
        found.append(fit_logistic_column(latent, make_blocks(n), quality, VAGUE).deviation)
    assert found[0] > 1.6 * found[1] > 2.5 * found[2] > 0.0
    assert found[0] == pytest.approx(0.5 / np.sqrt(40), rel=0.3)


@settings(max_examples=25)
@given(
    quality=arrays(np.float64, 12, elements=st.floats(0.0, 1.0)),
    same=st.booleans(),
)
def test_any_grades_give_finite_columns(quality: np.ndarray, same: bool):
    rng = np.random.default_rng(9)
    latent = np.zeros((12, 2)) if same else 100.0 * rng.standard_normal((12, 2))
    for fit in (fit_linear_column, fit_logistic_column):
        column = fit(latent, make_blocks(12), quality, VAGUE)
        assert np.isfinite(column.coefficients).all()
        assert np.isfinite([column.intercept, column.deviation]).all()
        assert np.isfinite(column.unseen).all()


def test_blocks_that_are_not_in_use_have_no_kernel():
    empty = TrainingBlocks(
        np.zeros((5, 3), np.float32),
        np.zeros((5, 3), np.float32),
        sparse.csr_matrix((5, 8), dtype=np.float32),
        np.zeros((5, 3), np.float32),
    )
    blocks = GradedBlocks.build(empty)
    assert not blocks.dense_kernel.any()
    assert not blocks.ngram_kernel.any()
    column = fit_logistic_column(np.zeros((5, 2)), blocks, np.array([1.0, 1, 1, 0, 1]), VAGUE)
    assert sigmoid(np.array(column.intercept)) == pytest.approx(0.75, abs=0.1)
