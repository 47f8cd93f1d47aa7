from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.blocks import BlockScaler
from router.features import FeatureExtractor, Features
from router.model import RouterModel


@pytest.fixture(scope="module")
def scaler(model: RouterModel) -> BlockScaler:
    return model.scaler


@pytest.fixture(scope="module")
def features(extractor: FeatureExtractor, prompts: list) -> Features:
    return extractor.extract(prompts)


def test_dense_blocks_are_scaled_features_and_waves(scaler: BlockScaler, features: Features):
    limit = 4.0 / np.sqrt(scaler.mean.size - 4)
    scaled = (features.dense.astype(float) - scaler.mean) * scaler.scale
    scaled = np.clip(scaled, -limit, limit)
    angles = scaled @ scaler.frequencies.astype(float)
    expected = np.hstack([scaled, np.cos(angles) / np.sqrt(8), np.sin(angles) / np.sqrt(8)])
    dense = scaler.dense(features)
    assert dense.shape == (len(features), scaler.n_dense)
    np.testing.assert_allclose(dense, expected, atol=1e-6)
    np.testing.assert_array_equal(dense[:, : scaler.mean.size], scaler.scaled(features))


def test_everything_stays_in_single_precision(scaler: BlockScaler, features: Features):
    assert scaler.dense(features).dtype == np.float32
    assert scaler.scaled(features).dtype == np.float32
    assert scaler.ngram_values(features).dtype == np.float32


def test_the_features_are_left_alone(scaler: BlockScaler, features: Features):
    before = features.dense.copy(), features.values.copy()
    scaler.dense(features)
    scaler.ngram_values(features)
    np.testing.assert_array_equal(features.dense, before[0])
    np.testing.assert_array_equal(features.values, before[1])


def test_outliers_are_clipped(scaler: BlockScaler, features: Features):
    wild = Features(
        np.full((1, scaler.mean.size), 1e30, np.float32),
        np.zeros((1, 0), np.float32),
        np.zeros(2, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        features.n_columns,
        4,
    )
    scaled = scaler.scaled(wild)
    np.testing.assert_allclose(scaled, 4.0 / np.sqrt(scaler.mean.size - 4), rtol=1e-6)
    assert np.isfinite(scaler.dense(wild)).all()


def test_words_and_characters_of_each_prompt_have_unit_norm(
    scaler: BlockScaler, features: Features
):
    values = scaler.ngram_values(features)
    half = features.n_columns // 2
    for i in range(len(features)):
        row = slice(features.indptr[i], features.indptr[i + 1])
        words = features.indices[row] < half
        for part in (words, ~words):
            if part.any():
                assert np.linalg.norm(values[row][part]) == pytest.approx(1.0, abs=1e-5)


def test_ngrams_are_weighted_by_their_idf(scaler: BlockScaler, extractor: FeatureExtractor):
    one = extractor.extract(["some words here"])
    values = scaler.ngram_values(one)
    weighted = one.values.astype(float) * scaler.idf[one.indices]
    words = one.indices < one.n_columns // 2
    np.testing.assert_allclose(
        values[words], weighted[words] / np.linalg.norm(weighted[words]), rtol=1e-5
    )


def test_a_weight_of_zero_is_no_division_by_zero(scaler: BlockScaler, features: Features):
    silent = BlockScaler(
        scaler.mean, scaler.scale, np.zeros_like(scaler.idf), scaler.frequencies, 4
    )
    assert not silent.ngram_values(features).any()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_a_prompt_does_not_depend_on_the_others(
    scaler: BlockScaler, extractor: FeatureExtractor, texts: list[str]
):
    together = extractor.extract(texts)
    dense, values = scaler.dense(together), scaler.ngram_values(together)
    for i, text in enumerate(texts):
        alone = extractor.extract([text])
        np.testing.assert_allclose(scaler.dense(alone)[0], dense[i], atol=1e-6)
        row = slice(together.indptr[i], together.indptr[i + 1])
        np.testing.assert_allclose(scaler.ngram_values(alone), values[row], atol=1e-6)


def test_no_prompts(scaler: BlockScaler, extractor: FeatureExtractor):
    nothing = extractor.extract([])
    assert scaler.dense(nothing).shape == (0, scaler.n_dense)
    assert scaler.ngram_values(nothing).shape == (0,)


def test_arrays_round_trip(scaler: BlockScaler):
    arrays = scaler.to_arrays()
    again = BlockScaler.from_arrays(arrays, scaler.n_embedding)
    for name, array in again.to_arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    assert again.n_embedding == 4
    del arrays["idf"]
    with pytest.raises(KeyError, match="idf"):
        BlockScaler.from_arrays(arrays, 4)
