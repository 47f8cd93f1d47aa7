from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.model import RouterModel
from router.training.blocks import ngram_matrix
from router.training.new_column import Column
from router.training.widen import NewModel, widen


def make_column(n_latents: int, model: RouterModel, rng: np.random.Generator) -> Column:
    n_dense, n_columns = len(model.dense_weights), len(model.ngram_weights)
    return Column(
        coefficients=rng.standard_normal(n_latents),
        intercept=0.3,
        dense_weights=0.1 * rng.standard_normal(n_dense),
        # what half precision holds exactly
        ngram_weights=rng.integers(-8, 8, n_columns) / 64.0,
        unseen=np.zeros(3),
        deviation=0.02,
    )


@pytest.fixture(scope="module")
def new(fitted) -> NewModel:
    rng = np.random.default_rng(0)
    model = fitted.model
    widths = [link.columns.stop - link.columns.start for link in model.links]
    return NewModel(
        links=tuple(make_column(width, model, rng) for width in widths),
        log_tokens=replace(make_column(model.n_models, model, rng), coefficients=np.ones(3) / 3),
        token_factor=1.5,
        token_limit=900.0,
        recalibration=np.linspace(-5.0, 7.0, 13),
    )


@pytest.fixture(scope="module")
def wider(fitted, new: NewModel) -> RouterModel:
    return widen(fitted.model, new)


def test_the_other_models_expect_what_they_did(fitted, wider: RouterModel, problem):
    characters = problem.targets.characters
    before = fitted.model.score(problem.features, characters)
    after = wider.score(problem.features, characters)
    np.testing.assert_allclose(after.quality[:, :3], before.quality, atol=1e-6)
    np.testing.assert_allclose(after.probability[:, :3], before.probability, atol=1e-6)
    np.testing.assert_allclose(after.completion_tokens[:, :3], before.completion_tokens, 1e-4)
    np.testing.assert_allclose(after.prompt_tokens, before.prompt_tokens, 1e-4)


def test_the_new_model_expects_what_its_columns_say(
    fitted, new: NewModel, wider: RouterModel, problem
):
    model = fitted.model
    latent = model.latent(problem.features)
    dense = model.scaler.dense(problem.features)
    ngrams = ngram_matrix(model.scaler, problem.features)

    def value(column: Column, read: np.ndarray) -> np.ndarray:
        own = dense @ column.dense_weights + ngrams @ column.ngram_weights
        return column.intercept + read @ column.coefficients + own

    quality = np.zeros(len(dense))
    for link, column in zip(model.links, new.links, strict=True):
        found = value(column, latent[:, link.columns])
        logistic = 1.0 / (1.0 + np.exp(-np.clip(found, -30.0, 30.0)))
        quality += link.weight * (logistic if link.logistic else np.clip(found, 0.0, 1.0))
    log_tokens = np.clip(value(new.log_tokens, latent[:, -4:-1]), 0.0, 13.0)
    tokens = np.clip(np.exp(log_tokens) * 1.5, 1.0, 900.0)
    after = wider.score(problem.features, problem.targets.characters)
    np.testing.assert_allclose(after.quality[:, 3], quality, atol=2e-3)
    np.testing.assert_allclose(after.completion_tokens[:, 3], tokens, 2e-2)
    assert (after.probability[:, 3] > after.quality[:, 3]).mean() > 0.9  # one unit of log-odds


def test_neighbours_clusters_and_trees_take_part_in_the_lengths(fitted, new: NewModel, problem):
    model = replace(fitted.model, neighbours=None, cluster_values=fitted.model.cluster_values[:0])
    model = replace(model, cluster_centres=model.cluster_centres[:0], trees=None)
    full, bare = widen(fitted.model, new), widen(model, new)
    assert bare.neighbours is None
    assert bare.trees is None
    assert full.trees is not None
    assert full.trees.values.shape[1] == full.trees.mean.size == full.intercept.size
    assert len(bare.cluster_centres) == 0
    assert full.cluster_values.shape == (len(full.cluster_centres), full.intercept.size)
    mean = full.latent(problem.features)[:, -5:-2].mean(axis=1)
    own = full.latent(problem.features)[:, -2] - mean
    alone = bare.latent(problem.features)
    np.testing.assert_allclose(alone[:, -2] - alone[:, -5:-2].mean(axis=1), own, atol=1e-3)


def test_it_is_stored_like_any_other(wider: RouterModel, problem):
    stored = RouterModel.from_arrays(wider.to_arrays())
    characters = problem.targets.characters
    np.testing.assert_array_equal(
        stored.score(problem.features, characters).quality,
        wider.score(problem.features, characters).quality,
    )
    assert stored.n_models == 4


def test_models_can_be_added_one_after_the_other(wider: RouterModel, problem):
    rng = np.random.default_rng(1)
    widths = [link.columns.stop - link.columns.start for link in wider.links]
    another = NewModel(
        links=tuple(make_column(width, wider, rng) for width in widths),
        log_tokens=make_column(4, wider, rng),
        token_factor=1.0,
        token_limit=100.0,
        recalibration=np.arange(-6.0, 7.0),
    )
    widest = widen(wider, another)
    assert widest.n_models == 5
    characters = problem.targets.characters
    np.testing.assert_allclose(
        widest.score(problem.features, characters).quality[:, :4],
        wider.score(problem.features, characters).quality,
        atol=1e-6,
    )


def test_columns_that_do_not_fit_are_refused(fitted, new: NewModel):
    with pytest.raises(ValueError, match="columns for"):
        widen(fitted.model, replace(new, links=new.links[:-1]))
    links = tuple(reversed(fitted.model.links))
    if len(links) > 1:
        with pytest.raises(ValueError, match="one after the other"):
            widen(replace(fitted.model, links=links), new)
