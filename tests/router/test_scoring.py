from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from router.scoring import cluster_of, neighbour_weights, squared_norms, widened


def points(seed: int, n: int, d: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def weights_by_hand(query: NDArray[np.float32], bank: NDArray[np.float32], k: int) -> dict:
    distance = ((bank.astype(float) - query.astype(float)) ** 2).sum(axis=1)
    order = np.argsort(distance, kind="stable")[:k]
    weight = distance[order].max() - distance[order]
    weight = weight + 0.05 * weight.max() + 1e-6
    return dict(zip(order.tolist(), (weight / weight.sum()).tolist(), strict=True))


@given(st.integers(0, 10_000), st.integers(1, 40), st.data())
def test_neighbours_match_brute_force(seed: int, n_bank: int, data: st.DataObject):
    k = data.draw(st.integers(1, n_bank))
    bank, queries = points(seed, n_bank), points(seed + 1, 3)
    (index,), (weight,) = neighbour_weights(queries, bank, (k,), squared_norms(bank))
    assert index.shape == weight.shape == (3, k)
    for i, query in enumerate(queries):
        found = dict(zip(index[i].tolist(), weight[i].tolist(), strict=True))
        assert found == pytest.approx(weights_by_hand(query, bank, k), abs=1e-5)


@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_several_counts_are_as_each_alone(seed: int, counts: list[int]):
    bank, queries = points(seed, 30), points(seed + 1, 2)
    squares = squared_norms(bank)
    indices, weights = neighbour_weights(queries, bank, tuple(counts), squares)
    for k, index, weight in zip(counts, indices, weights, strict=True):
        (alone,), (alone_weight,) = neighbour_weights(queries, bank, (k,), squares)
        for i in range(2):
            assert dict(zip(index[i], weight[i], strict=True)) == pytest.approx(
                dict(zip(alone[i], alone_weight[i], strict=True)), abs=1e-6
            )


def test_weights_are_positive_sum_to_one_and_fall_with_distance():
    bank, queries = points(1, 50), points(2, 20)
    (index,), (weight,) = neighbour_weights(queries, bank, (10,), squared_norms(bank))
    assert weight.dtype == np.float32
    assert (weight > 0).all()
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, rtol=1e-5)
    distance = np.linalg.norm(bank[index] - queries[:, None], axis=2)
    order = np.argsort(distance, axis=1)
    assert (np.diff(np.take_along_axis(weight, order, axis=1), axis=1) <= 1e-7).all()


def test_a_bank_of_one_prompt():
    bank = points(3, 1)
    (index,), (weight,) = neighbour_weights(points(4, 2), bank, (1,), squared_norms(bank))
    assert index.tolist() == [[0], [0]]
    assert weight.tolist() == [[1.0], [1.0]]


def test_equal_prompts_count_the_same():
    bank = np.ones((8, 3), np.float32)
    _, (weight,) = neighbour_weights(bank[:1], bank, (8,), squared_norms(bank))
    np.testing.assert_allclose(weight, 1 / 8, rtol=1e-5)


@pytest.mark.parametrize("counts", [(0,), (5,), (2, 9), (-1, 2)])
def test_counts_that_the_bank_does_not_have(counts: tuple[int, ...]):
    bank = points(5, 4)
    with pytest.raises(ValueError, match="use counts from 1 to 4"):
        neighbour_weights(bank, bank, counts, squared_norms(bank))


def test_no_queries():
    bank = points(6, 4)
    (index,), (weight,) = neighbour_weights(bank[:0], bank, (2,), squared_norms(bank))
    assert index.shape == weight.shape == (0, 2)


def test_clusters_match_brute_force():
    queries, centres = points(7, 100), points(8, 9)
    found = cluster_of(queries, centres, squared_norms(centres))
    distance = np.linalg.norm(queries[:, None] - centres, axis=2)
    np.testing.assert_array_equal(found, distance.argmin(axis=1))
    assert found.dtype == np.int64


def test_squared_norms():
    rows = points(9, 6)
    np.testing.assert_allclose(squared_norms(rows), (rows.astype(float) ** 2).sum(axis=1), 1e-6)
    assert squared_norms(rows).dtype == np.float32
    assert squared_norms(rows[:0]).shape == (0,)


def test_every_finite_half_is_widened_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 8)
    before = halves.copy()
    singles = widened(halves)
    assert singles.dtype == np.float32
    np.testing.assert_array_equal(singles.view(np.int32), halves.astype(np.float32).view(np.int32))
    np.testing.assert_array_equal(halves.view(np.int16), before.view(np.int16))
