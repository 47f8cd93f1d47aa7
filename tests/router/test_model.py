from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from router.features import FeatureExtractor, Features
from router.model import NeighbourHead, RouterModel
from router.trees import tree_inputs


@pytest.fixture(scope="module")
def features(extractor: FeatureExtractor, prompts: list) -> Features:
    return extractor.extract(prompts)


@pytest.fixture(scope="module")
def characters(prompts: list) -> NDArray[np.float64]:
    return np.arange(1.0, len(prompts) + 1)


def latent_by_hand(model: RouterModel, features: Features) -> NDArray[np.float64]:
    """Return the latents in double precision, row by row."""
    dense = model.scaler.dense(features).astype(float)
    scaled = dense[:, : model.scaler.mean.size]
    values = model.scaler.ngram_values(features).astype(float)
    rows = []
    for i in range(len(features)):
        row = slice(features.indptr[i], features.indptr[i + 1])
        latent = model.intercept + dense[i] @ model.dense_weights
        latent = latent + values[row] @ model.ngram_weights[features.indices[row]].astype(float)
        if model.neighbours is not None:
            bank = model.neighbours.bank.astype(float)
            distance = ((bank - scaled[i]) ** 2).sum(axis=1)
            for k, known in zip(model.neighbours.neighbours, model.neighbours.values, strict=True):
                near = np.argsort(distance)[:k]
                weight = distance[near].max() - distance[near]
                weight = weight + 0.05 * weight.max() + 1e-6
                latent = latent + weight @ known[near] / weight.sum()
        if len(model.cluster_centres):
            cluster = ((model.cluster_centres - scaled[i]) ** 2).sum(axis=1).argmin()
            latent = latent + model.cluster_values[cluster]
        if model.trees is not None:
            latent = latent + model.trees.latent(tree_inputs(features))[i]
        rows.append(latent)
    return np.array(rows)


def test_latents_match_a_plain_computation(model: RouterModel, features: Features):
    np.testing.assert_allclose(model.latent(features), latent_by_hand(model, features), atol=1e-5)


def test_scores_match_a_plain_computation(
    model: RouterModel, features: Features, characters: NDArray[np.float64]
):
    latent = latent_by_hand(model, features)
    first, second = model.links
    odds = latent[:, :2] @ first.coefficients + first.intercept
    linear = np.clip(latent[:, 2:5] @ second.coefficients + second.intercept, 0.0, 1.0)
    scores = model.score(features, characters)
    np.testing.assert_allclose(scores.quality, 0.6 / (1 + np.exp(-odds)) + 0.4 * linear, atol=1e-5)
    tokens = np.clip(np.exp(latent[:, 5:8]) * model.token_factor, 1.0, model.token_limit)
    np.testing.assert_allclose(scores.completion_tokens, tokens, rtol=1e-5)
    prompt_tokens = np.maximum(characters * np.exp(latent[:, 8]), 1.0)
    np.testing.assert_allclose(scores.prompt_tokens, prompt_tokens, rtol=1e-5)


@pytest.mark.parametrize("drop", ["neighbours", "clusters", "trees", "all", "none"])
def test_heads_can_be_absent(model: RouterModel, features: Features, drop: str):
    if drop in {"neighbours", "all"}:
        model = replace(model, neighbours=None)
    if drop in {"trees", "all"}:
        model = replace(model, trees=None)
    if drop in {"clusters", "all"}:
        centres, values = model.cluster_centres[:0], model.cluster_values[:0]
        model = replace(model, cluster_centres=centres, cluster_values=values)
    np.testing.assert_allclose(model.latent(features), latent_by_hand(model, features), atol=1e-5)
    again = RouterModel.from_arrays(model.to_arrays())
    np.testing.assert_array_equal(again.latent(features), model.latent(features))
    assert (again.neighbours is None) == (drop in {"neighbours", "all"})
    assert (again.trees is None) == (drop in {"trees", "all"})


def test_one_prompt_scores_as_in_a_batch(
    model: RouterModel, extractor: FeatureExtractor, prompts: list, features: Features
):
    batch = model.score(features, np.full(len(prompts), 10.0))
    for i, prompt in enumerate(prompts):
        alone = model.score(extractor.extract([prompt]), np.array([10.0]))
        np.testing.assert_allclose(alone.quality[0], batch.quality[i], atol=1e-5)
        np.testing.assert_allclose(alone.completion_tokens[0], batch.completion_tokens[i], 1e-5)
        np.testing.assert_allclose(alone.prompt_tokens[0], batch.prompt_tokens[i], 1e-5)


def test_batches_larger_than_a_chunk(model: RouterModel, extractor: FeatureExtractor):
    texts = [f"prompt {i}" for i in range(2500)]
    together = model.latent(extractor.extract(texts))
    assert together.shape == (2500, 9)
    for start in (0, 1020, 2048, 2497):
        part = model.latent(extractor.extract(texts[start : start + 3]))
        np.testing.assert_allclose(together[start : start + 3], part, atol=1e-5)


def test_no_prompts(model: RouterModel, extractor: FeatureExtractor):
    scores = model.score(extractor.extract([]), np.empty(0))
    assert scores.quality.shape == scores.completion_tokens.shape == (0, 3)
    assert scores.prompt_tokens.shape == (0,)


def test_extreme_latents_stay_in_range(model: RouterModel, features: Features):
    for size in (1e4, -1e4):
        wild = replace(model, intercept=np.full_like(model.intercept, size))
        scores = wild.score(features, np.ones(len(features)))
        assert ((scores.quality >= 0) & (scores.quality <= 1)).all()
        assert (scores.completion_tokens >= 1).all()
        assert (scores.completion_tokens <= model.token_limit).all()
        assert (scores.prompt_tokens >= 1).all()


def test_shares_that_sum_to_one_but_for_rounding_stay_probabilities(
    model: RouterModel, features: Features
):
    links = tuple(replace(link, weight=0.1 + 1e-17) for link in model.links[1:] * 10)
    sure = replace(model, links=links, intercept=np.full_like(model.intercept, 100.0))
    assert sure.score(features, np.ones(len(features))).quality.max() <= 1.0


def test_arrays_round_trip_bit_for_bit(model: RouterModel):
    arrays = model.to_arrays()
    again = RouterModel.from_arrays(arrays).to_arrays()
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype, name
        assert again[name].shape == array.shape, name
        assert again[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("name", ["intercept", "link_1_coefficients", "neighbour_values"])
def test_a_missing_array_is_named(model: RouterModel, name: str):
    arrays = model.to_arrays()
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        RouterModel.from_arrays(arrays)


@pytest.mark.parametrize(
    "name",
    [
        "scaler_mean",
        "scaler_idf",
        "dense_weights",
        "ngram_weights",
        "intercept",
        "cluster_centres",
        "cluster_values",
        "neighbour_counts",
        "neighbour_bank",
        "neighbour_values",
        "trees_column",
        "trees_threshold",
        "trees_left",
        "trees_row",
        "trees_values",
        "trees_mean",
        "token_limit",
        "link_logistic",
        "link_weight",
        "link_columns",
        "link_0_coefficients",
        "link_0_intercept",
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(model: RouterModel, name: str):
    arrays = model.to_arrays()
    arrays[name] = arrays[name][..., :-1]
    with pytest.raises((ValueError, KeyError, IndexError)):
        RouterModel.from_arrays(arrays)


def test_waves_read_the_leading_columns_of_the_embedding_and_all_statistics(
    model: RouterModel, features: Features
):
    n_statistics = model.scaler.mean.size - model.scaler.n_embedding
    frequencies = model.scaler.frequencies
    for leading in range(model.scaler.n_embedding + 1):
        kept = np.vstack([frequencies[:leading], frequencies[-n_statistics:]])
        stored = model.to_arrays() | {"scaler_frequencies": kept}
        blind = frequencies.copy()
        blind[leading:-n_statistics] = 0.0
        whole = model.to_arrays() | {"scaler_frequencies": blind}
        np.testing.assert_allclose(
            RouterModel.from_arrays(stored).latent(features),
            RouterModel.from_arrays(whole).latent(features),
            atol=1e-5,
        )
    for rows in (n_statistics - 1, len(frequencies) + 1):
        stored = model.to_arrays() | {"scaler_frequencies": np.zeros((rows, 8), np.float32)}
        with pytest.raises(ValueError, match="'scaler_frequencies' has"):
            RouterModel.from_arrays(stored)


@pytest.mark.parametrize("columns", [(-1, 1), (4, 2), (3, 6), (0, 100)])
def test_links_read_quality_latents_only(model: RouterModel, columns: Any):
    arrays = model.to_arrays()
    arrays["link_columns"] = np.array([columns, (2, 5)])
    with pytest.raises(ValueError, match="link"):
        RouterModel.from_arrays(arrays)


def test_neighbours_of_a_bank_smaller_than_their_number(model: RouterModel, features: Features):
    assert model.neighbours is not None
    scaled = model.scaler.scaled(features)
    bank, (values, _) = model.neighbours.bank[:2], model.neighbours.values
    many = NeighbourHead.build((120,), bank, (values[:2],))
    two = NeighbourHead.build((2,), bank, (values[:2],))
    np.testing.assert_array_equal(many.latent(scaled), two.latent(scaled))
    single = NeighbourHead.build((120,), bank[:1], (values[:1],))
    np.testing.assert_allclose(single.latent(scaled), np.repeat(values[:1], len(scaled), 0), 1e-6)
