from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.features import FeatureExtractor, Features
from router.neighbourhood import Neighbourhood, PromptSpace, word_sketch

TEXTS = (
    "What is 12 + 34?",
    "What is 56 + 78?",
    "Write a Python function.\n```\ndef f(x):\n    return x\n```",
    "Über größere naïve Fälle — 为什么? 😀",
    "",
    "Name the rivers of Europe, " * 20,
)


@pytest.fixture(scope="module")
def features(extractor: FeatureExtractor) -> Features:
    return extractor.extract(TEXTS)


@pytest.fixture(scope="module")
def small(features: Features) -> Neighbourhood:
    """The first four texts in a space that keeps all of its dimensions."""
    return lay_out(features, [0, 1, 2, 3], n_dimensions=features.dense.shape[1] + 32)


def one(features: Features, i: int) -> Features:
    start, stop = features.indptr[i : i + 2]
    return replace(
        features,
        dense=features.dense[i : i + 1],
        indptr=np.array([0, stop - start]),
        indices=features.indices[start:stop],
        values=features.values[start:stop],
    )


def lay_out(features: Features, rows: list[int], n_dimensions: int) -> Neighbourhood:
    n_dense = features.dense.shape[1]
    space = PromptSpace(
        centre=features.dense.mean(axis=0),
        scale=np.full(n_dense, 0.5, np.float32),
        limit=np.full(n_dense, 0.75, np.float32),
        sketch_centre=np.zeros(32, np.float32),
    )
    coordinates = space.coordinates(features)[rows]
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((n_dense + 32, n_dimensions)))
    projection = turned[0].astype(np.float32)
    return Neighbourhood(
        space=space,
        projection=projection,
        bank=(coordinates @ projection).astype(np.float16).astype(np.float32),
        offset=np.einsum("nd,nd->n", coordinates, coordinates),
        radius=np.array([0.5, 1.0, 2.0, 1.5], np.float32)[: len(rows)],
        n_neighbours=2,
    )


def test_the_score_is_the_distance_to_neighbours_over_how_far_they_lie_apart(
    small: Neighbourhood, features: Features
):
    coordinates = small.space.coordinates(features).astype(float)
    for i, score in enumerate(small.score(features)):
        squares = ((coordinates[:4] - coordinates[i]) ** 2).sum(axis=1)
        nearest = np.argsort(squares)[:2]
        expected = np.sqrt(squares[nearest].mean() / small.radius[nearest].mean())
        assert score == pytest.approx(expected, abs=0.02)  # the bank has half precision


def test_what_the_projection_leaves_out_still_counts(features: Features):
    whole = lay_out(features, [0, 1, 2, 3], features.dense.shape[1] + 32)
    part = lay_out(features, [0, 1, 2, 3], 8)
    # at right angles: no shorter than the distance within the projection
    inside = part.space.coordinates(features) @ part.projection
    squares = ((inside[:, None] - part.bank[None]) ** 2).sum(axis=2)
    least = np.sort(squares, axis=1)[:, :2].mean(axis=1) / part.radius.max()
    assert (part.score(features) ** 2 >= least - 0.01).all()
    assert part.score(features)[4] == pytest.approx(whole.score(features)[4], rel=0.5)


def test_a_prompt_is_scored_as_in_a_batch(small: Neighbourhood, features: Features):
    together = small.score(features)
    alone = [float(small.score(one(features, i))[0]) for i in range(len(features))]
    assert alone == pytest.approx(together.tolist(), abs=1e-4)
    assert np.isfinite(together).all()
    assert (together >= 0).all()


def test_no_prompts(small: Neighbourhood, extractor: FeatureExtractor):
    assert small.score(extractor.extract([])).shape == (0,)


def test_many_prompts_are_scored_in_parts(
    small: Neighbourhood, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
):
    features = extractor.extract([f"{text} {i}" for i in range(4) for text in TEXTS])
    expected = small.score(features)
    monkeypatch.setattr("router.neighbourhood._CHUNK_ROWS", 7)
    assert small.score(features) == pytest.approx(expected, abs=1e-5)


def test_far_features_are_clipped(small: Neighbourhood, features: Features):
    far = replace(one(features, 0), dense=np.full_like(features.dense[:1], 1e30))
    assert np.isfinite(small.score(far)).all()
    n_dense = features.dense.shape[1]
    assert (small.space.coordinates(far)[0, :n_dense] == 0.75).all()


def test_the_sketch_is_of_words_alone_and_close_for_like_texts(features: Features):
    sketch = word_sketch(features, 32)
    assert sketch.shape == (6, 32)
    assert np.array_equal(sketch[0], sketch[1])  # digits all read as one
    assert not sketch[4].any()
    for i in range(len(features)):
        assert np.array_equal(word_sketch(one(features, i), 32)[0], sketch[i])
    wide = word_sketch(features, 64)  # as many places as the words have columns: no sums
    start, stop = features.indptr[2:4]
    words = features.indices[start:stop] < 64
    assert (wide[2] ** 2).sum() == pytest.approx((features.values[start:stop][words] ** 2).sum())


def test_stored_and_read_again(small: Neighbourhood, features: Features):
    again = Neighbourhood.from_arrays(small.to_arrays())
    assert np.array_equal(again.score(features), small.score(features))
    assert small.to_arrays()["bank"].dtype == np.float16


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("radius", np.zeros(4, np.float32), "radius must be positive"),
        ("radius", np.ones(3, np.float32), "'radius' has shape"),
        ("offset", np.ones((4, 1), np.float32), "'offset' has shape"),
        ("scale", np.ones(2, np.float32), "'scale' has shape"),
        ("projection", np.ones((3, 3), np.float32), "'projection' has shape"),
        ("sketch_centre", np.zeros(31, np.float32), "not a power of two"),
        ("n_neighbours", np.array(0), "n_neighbours is 0: use 1 to 4"),
        ("n_neighbours", np.array(5), "n_neighbours is 5: use 1 to 4"),
        ("bank", np.ones(4, np.float32), "not enough values"),
    ],
)
def test_arrays_that_do_not_fit(small: Neighbourhood, name: str, value: Any, error: str):
    with pytest.raises(ValueError, match=error):
        Neighbourhood.from_arrays(small.to_arrays() | {name: value})


@pytest.mark.parametrize("name", ["centre", "bank", "radius", "n_neighbours", "projection"])
def test_a_missing_array(small: Neighbourhood, name: str):
    arrays = small.to_arrays()
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        Neighbourhood.from_arrays(arrays)
