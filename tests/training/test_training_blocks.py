from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer

from router.eval.protocol import feature_rows
from router.features import FeatureExtractor, Features
from router.training.blocks import fit_scaler, ngram_matrix


@pytest.fixture(scope="module")
def features(problem) -> Features:
    return problem.features


def with_constant(features: Features, value: float) -> Features:
    dense = features.dense.copy()
    dense[:, -1] = value
    return replace(features, dense=dense)


def test_every_block_has_about_unit_mean_square(features: Features):
    scaler = fit_scaler(features, n_waves=64)
    blocks = scaler.dense(features)
    n_scaled = features.dense.shape[1]
    embedding = blocks[:, : features.n_embedding]
    statistics = blocks[:, features.n_embedding : n_scaled]
    waves = blocks[:, n_scaled:]
    assert np.square(embedding).sum(axis=1).mean() == pytest.approx(1, abs=0.1)
    assert 0.2 < np.square(statistics).sum(axis=1).mean() <= 1.01
    assert np.square(waves).sum(axis=1) == pytest.approx(np.ones(len(features)), abs=1e-4)
    words, characters = np.split(ngram_matrix(scaler, features).toarray(), 2, axis=1)
    for block in (words, characters):
        assert np.square(block).sum(axis=1) == pytest.approx(np.ones(len(features)), abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.3, -1e4])
def test_a_statistic_that_never_changes_is_ignored(features: Features, value: float):
    constant = with_constant(features, value)
    # many rows: a sum in single precision would be off by far more than any one number
    many = feature_rows(constant, np.arange(20_000) % len(features))
    scaler = fit_scaler(many, n_waves=4)
    assert scaler.scale[-1] == 0
    surprising = with_constant(features, value + 5)
    np.testing.assert_array_equal(scaler.dense(surprising), scaler.dense(constant))


def test_prompts_that_are_all_the_same(features: Features):
    same = feature_rows(features, np.zeros(30, int))
    scaler = fit_scaler(same)
    assert np.isfinite(scaler.dense(features)).all()
    assert np.abs(scaler.scaled(same)).max() < 1e-3


def test_waves_are_a_gaussian_kernel(features: Features):
    scaler = fit_scaler(features, n_waves=8192)
    few = feature_rows(features, np.arange(12))
    scaled = scaler.scaled(few).copy()
    waves = scaler.dense(few)[:, scaled.shape[1] :]
    leading, statistics = scaled[:, :32], scaled[:, features.n_embedding :]
    seen = np.hstack([leading * 0.5, statistics])
    distance = np.square(seen[:, None] - seen[None]).sum(axis=2)
    np.testing.assert_allclose(waves @ waves.T, np.exp(-distance), atol=0.03)


def test_directions_of_waves_are_orthogonal_and_as_long_as_independent_ones(features: Features):
    directions = fit_scaler(features, n_waves=40).frequencies.astype(float)
    directions[:32] /= 0.5
    lengths = np.linalg.norm(directions, axis=0)
    cosines = (directions / lengths).T @ (directions / lengths)
    np.testing.assert_allclose(cosines, np.eye(40), atol=1e-5)
    assert np.square(lengths).mean() == pytest.approx(2.0 * len(directions), rel=0.1)


def test_document_frequencies_are_those_of_scikit_learn(features: Features):
    scaler = fit_scaler(features)
    ones = replace(features, values=np.ones_like(features.values))
    plain = replace(scaler, idf=np.ones_like(scaler.idf))
    expected = TfidfTransformer().fit(ngram_matrix(plain, ones)).idf_
    np.testing.assert_allclose(scaler.idf, expected, rtol=1e-6)


def test_a_prompt_does_not_depend_on_the_others(features: Features):
    scaler = fit_scaler(features, n_waves=16)
    matrix = ngram_matrix(scaler, features).toarray()
    assert matrix.shape == (len(features), features.n_columns)
    for i in (0, 7):
        alone = feature_rows(features, [i])
        np.testing.assert_allclose(scaler.dense(alone)[0], scaler.dense(features)[i], atol=1e-5)
        np.testing.assert_allclose(ngram_matrix(scaler, alone).toarray()[0], matrix[i], atol=1e-6)


def test_prompts_without_any_ngram():
    features = FeatureExtractor().extract([" ", "\n\n", "Why is the sky blue?"])
    scaler = fit_scaler(features, n_waves=8)
    for part in (features, feature_rows(features, [0])):
        assert np.isfinite(scaler.dense(part)).all()
        assert np.isfinite(ngram_matrix(scaler, part).data).all()


def test_only_the_waves_are_drawn(features: Features):
    first, again, other = (fit_scaler(features, seed=seed, n_waves=8) for seed in (1, 1, 2))
    for name, array in first.to_arrays().items():
        np.testing.assert_array_equal(array, again.to_arrays()[name])
        assert (name == "frequencies") != np.array_equal(array, other.to_arrays()[name])
