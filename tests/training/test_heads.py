from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from router.training import heads, tree_head
from router.training.blocks import fit_scaler
from router.training.heads import (
    ClusterTable,
    FittedHead,
    HeadBank,
    LinearWeights,
    NeighbourTable,
    TrainingBlocks,
)
from router.trees import TreeEnsemble

N, N_SCALED, N_DENSE, N_COLUMNS, N_TARGETS = 90, 6, 14, 300, 4
TRAIN, TEST = np.arange(60), np.arange(60, N)


def make_blocks(seed: int = 0, n: int = N) -> TrainingBlocks:
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n, N_DENSE)).astype(np.float32) / 3
    ngrams = rng.random((n, N_COLUMNS)) * (rng.random((n, N_COLUMNS)) < 0.05)
    ngrams = sparse.csr_matrix(ngrams.astype(np.float32))
    return TrainingBlocks(dense, dense[:, :N_SCALED].copy(), ngrams, 9 * dense[:, ::-1])


def part_of(blocks: TrainingBlocks, rows: np.ndarray) -> TrainingBlocks:
    return TrainingBlocks(
        blocks.dense[rows], blocks.scaled[rows], blocks.ngrams[rows], blocks.inputs[rows]
    )


def make_targets(seed: int = 1, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).random((n, N_TARGETS)).astype(np.float32)


@pytest.fixture
def blocks() -> TrainingBlocks:
    return make_blocks()


@pytest.fixture
def targets() -> np.ndarray:
    return make_targets()


def predictions(
    blocks: TrainingBlocks, targets: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    bank = HeadBank(blocks, seed=seed)
    (found,) = bank.fit_predict(TRAIN, targets, [TEST])
    return dict(zip(bank.names, found, strict=True))


def apply(head: FittedHead, blocks: TrainingBlocks, bank: np.ndarray) -> np.ndarray:
    """Predict as an exported head says, by brute force; `bank` is what its rows refer to."""
    if isinstance(head, LinearWeights):
        value = blocks.dense @ head.dense + head.intercept
        return value if head.ngrams is None else value + blocks.ngrams @ head.ngrams
    if isinstance(head, ClusterTable):
        distance = np.square(blocks.scaled[:, None] - head.centres[None]).sum(axis=2)
        return head.values[distance.argmin(axis=1)]
    if isinstance(head, TreeEnsemble):
        return np.array([leaf_mean(head, row) for row in blocks.inputs])
    out = []
    for row in blocks.scaled:
        distance = np.square(row - bank[head.rows]).sum(axis=1)
        nearest = np.argsort(distance, kind="stable")[: head.neighbours]
        weight = distance[nearest].max() - distance[nearest]
        weight += 0.05 * weight.max() + 1e-6
        out.append(weight @ head.values[nearest] / weight.sum())
    return np.array(out)


def leaf_mean(head: TreeEnsemble, inputs: np.ndarray) -> np.ndarray:
    """Walk down each tree by itself."""
    leaves = []
    for root in head.roots:
        node = root
        while head.left[node] != node:
            right = inputs[head.column[node]] > head.threshold[node]
            node = head.left[node] + int(right)
        leaves.append(head.values[head.row[node]])
    return np.mean(leaves, axis=0)


def in_primal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_DUAL_LIMIT", 10)
    monkeypatch.setattr(heads, "_SKETCH_COLUMNS", 128)
    monkeypatch.setattr(heads, "_SKETCH_COLUMNS_LARGE", 256)


def test_every_candidate_has_its_own_name(blocks: TrainingBlocks, targets: np.ndarray):
    bank = HeadBank(blocks)
    assert len(set(bank.names)) == len(bank.names)
    found = bank.fit_predict(TRAIN, targets, [TEST, TRAIN[:7], TEST[:0]])
    assert [part.shape for part in found] == [
        (len(bank.names), n, N_TARGETS) for n in (len(TEST), 7, 0)
    ]
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in found)
    assert len(bank.fit_final(targets)) == len(bank.names)


@pytest.mark.parametrize("primal", [False, True])
def test_ridges_are_those_of_scikit_learn(
    blocks: TrainingBlocks,
    targets: np.ndarray,
    primal: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    if primal:
        in_primal(monkeypatch)
        # so few columns do not meet in the sketch, and its signs change nothing
        monkeypatch.setattr(heads, "_SKETCH_COLUMNS", 1024)
        blocks = replace(blocks, ngrams=blocks.ngrams[:, :12])
    columns = {
        "ngrams": blocks.ngrams.toarray(),
        "dense": blocks.dense,
        "mixed": np.hstack([blocks.dense[:, N_SCALED:], blocks.ngrams.toarray()]),
    }
    found = {k: v for k, v in predictions(blocks, targets).items() if k.startswith("ridge_")}
    assert {name.split("_")[1] for name in found} == set(columns)
    for name, predicted in found.items():
        _, view, penalty = name.split("_")
        design = np.hstack([np.ones((N, 1)), columns[view]]).astype(np.float64)
        mean = targets[TRAIN].mean(axis=0)
        model = Ridge(alpha=float(penalty), fit_intercept=False)
        model.fit(design[TRAIN], targets[TRAIN] - mean)
        np.testing.assert_allclose(predicted, model.predict(design[TEST]) + mean, atol=2e-5)


def test_dual_and_primal_agree_without_ngrams(blocks: TrainingBlocks, targets: np.ndarray):
    empty = replace(blocks, ngrams=sparse.csr_matrix((N, N_COLUMNS), dtype=np.float32))
    # more columns than prompts, of which the added ones are zero, are solved in the dual
    wide = replace(empty, dense=np.hstack([empty.dense, np.zeros((N, N), np.float32)]))
    primal, dual = predictions(empty, targets), predictions(wide, targets)
    for name in primal:
        np.testing.assert_allclose(primal[name], dual[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("primal", [False, True])
def test_exported_heads_predict_what_predict_does(
    blocks: TrainingBlocks,
    targets: np.ndarray,
    primal: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    if primal:
        in_primal(monkeypatch)
    bank = HeadBank(blocks)
    rows = np.arange(N)
    (found,) = bank.fit_predict(rows, targets, [rows])
    exported = bank.fit_final(targets)
    kinds = {LinearWeights, NeighbourTable, ClusterTable, TreeEnsemble}
    assert {type(head) for head in exported} == kinds
    for name, head, predicted in zip(bank.names, exported, found, strict=True):
        np.testing.assert_allclose(
            apply(head, blocks, blocks.scaled), predicted, atol=2e-5, err_msg=name
        )


def test_exported_heads_hold_for_new_prompts(blocks: TrainingBlocks, targets: np.ndarray):
    (known,) = HeadBank(blocks).fit_predict(TRAIN, targets, [TEST])
    part, new = part_of(blocks, TRAIN), part_of(blocks, TEST)
    for head, predicted in zip(HeadBank(part).fit_final(targets[TRAIN]), known, strict=True):
        np.testing.assert_allclose(apply(head, new, part.scaled), predicted, atol=2e-5)


@pytest.mark.parametrize("primal", [False, True])
def test_candidates_but_trees_are_linear_in_the_targets(
    blocks: TrainingBlocks, primal: bool, monkeypatch: pytest.MonkeyPatch
):
    if primal:
        in_primal(monkeypatch)
    first, second = make_targets(1), make_targets(2)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0].astype(np.float32)
    one, two = predictions(blocks, first), predictions(blocks, second)
    mixed = predictions(blocks, (2 * first - second) @ rotation)
    for name in set(one) - {"trees"}:
        expected = (2 * one[name] - two[name]) @ rotation
        np.testing.assert_allclose(mixed[name], expected, atol=5e-5, err_msg=name)


def test_a_constant_target_is_predicted_exactly(blocks: TrainingBlocks, targets: np.ndarray):
    targets[:, 2] = 0.3
    for name, predicted in predictions(blocks, targets).items():
        np.testing.assert_allclose(predicted[:, 2], 0.3, atol=1e-6, err_msg=name)


def test_targets_of_other_prompts_are_not_looked_at(blocks: TrainingBlocks, targets: np.ndarray):
    before = predictions(blocks, targets)
    targets[TEST] = np.nan
    for name, predicted in predictions(blocks, targets).items():
        np.testing.assert_array_equal(predicted, before[name])


def test_the_same_seed_gives_the_same_predictions(
    blocks: TrainingBlocks, targets: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    in_primal(monkeypatch)  # the sketch is drawn at random
    monkeypatch.setattr(heads, "_SKETCH_COLUMNS", 32)
    monkeypatch.setattr(heads, "_MAX_BANK", 40)
    first, again, other = (predictions(blocks, targets, seed) for seed in (3, 3, 4))
    for name, predicted in first.items():
        np.testing.assert_array_equal(predicted, again[name])
        drawn = not name.startswith("ridge_dense") and name != "clusters"
        assert not (drawn and np.array_equal(predicted, other[name])), name


def test_a_sketch_predicts_about_the_same(problem, monkeypatch: pytest.MonkeyPatch):
    targets = problem.targets.stacked()
    train, test = np.arange(160), np.arange(160, 240)
    bank = problem.bank()
    (exact,) = bank.fit_predict(train, targets, [test])
    in_primal(monkeypatch)
    monkeypatch.setattr(heads, "_SKETCH_COLUMNS", 1024)
    (sketched,) = problem.bank().fit_predict(train, targets, [test])
    for name, one, other in zip(bank.names, exact, sketched, strict=True):
        for j in range(6):  # qualities and lengths; prompt tokens per character are all alike
            assert np.corrcoef(one[:, j], other[:, j])[0, 1] > 0.97, (name, j)


def test_many_prompts_get_a_wider_sketch(
    blocks: TrainingBlocks, targets: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    in_primal(monkeypatch)
    narrow = predictions(blocks, targets)
    monkeypatch.setattr(heads, "_LARGE", 20)
    for name, wide in predictions(blocks, targets).items():
        sketched = name.startswith(("ridge_ngrams", "ridge_mixed"))
        assert np.array_equal(wide, narrow[name]) != sketched, name


def test_the_bank_of_neighbours_is_bounded_and_shared(
    blocks: TrainingBlocks, targets: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heads, "_MAX_BANK", 25)
    tables = [h for h in HeadBank(blocks).fit_final(targets) if isinstance(h, NeighbourTable)]
    assert len(tables) > 1
    for table in tables:
        assert len(np.unique(table.rows)) == len(table.values) == 25
        np.testing.assert_array_equal(table.rows, tables[0].rows)
        np.testing.assert_array_equal(table.values, targets[table.rows])


def test_small_clusters_are_shrunken_to_the_mean():
    blocks, targets = make_blocks(), make_targets()
    blocks.scaled[:-1] = 0
    blocks.scaled[-1] = 1
    targets[:] = 0
    targets[-1] = 1
    rows = np.arange(N)
    (found,) = HeadBank(blocks, families=["clusters"]).fit_predict(rows, targets, [rows])
    lone, crowd = found[0, -1, 0], found[0, 0, 0]
    assert 0.05 < lone < 0.2
    assert 0 < crowd < 0.01


@pytest.mark.parametrize("n", [2, 5])
def test_prompts_that_are_few_or_all_the_same(n: int):
    blocks, targets = make_blocks(n=n), make_targets(n=n)
    same = part_of(blocks, np.zeros(n, int))
    for part in (blocks, same):
        bank = HeadBank(part)
        (found,) = bank.fit_predict(np.arange(n), targets, [np.arange(n)])
        assert np.isfinite(found).all()
    np.testing.assert_allclose(found, np.broadcast_to(targets.mean(axis=0), found.shape), atol=0.02)


def test_single_precision_is_enough(problem):
    targets = problem.targets.stacked()
    train, test = np.arange(160), np.arange(160, 240)
    bank = problem.bank()
    (found,) = bank.fit_predict(train, targets, [test])
    blocks = TrainingBlocks.build(fit_scaler(problem.features), problem.features)
    dense, ngrams = blocks.dense.astype(np.float64), blocks.ngrams.astype(np.float64)
    kernel = 1 + (ngrams @ ngrams.T).toarray()
    mean = targets[train].mean(axis=0, dtype=np.float64)
    for view, gram in (("ngrams", kernel), ("dense", 1 + dense @ dense.T)):
        name = next(name for name in bank.names if name.startswith(f"ridge_{view}_"))
        penalty = float(name.rpartition("_")[2])
        system = gram[np.ix_(train, train)] + penalty * np.eye(len(train))
        solution = np.linalg.solve(system, targets[train] - mean)
        expected = gram[np.ix_(test, train)] @ solution + mean
        predicted = found[bank.names.index(name)]
        np.testing.assert_allclose(predicted, expected, atol=1e-3)


def test_the_primal_does_not_depend_on_how_many_rows_it_takes_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(heads, "_DUAL_LIMIT", 10)
    blocks, targets = make_blocks(n=3 * N), make_targets(n=3 * N)
    rows = np.arange(len(blocks))
    found = []
    for n_rows in (10_000, 37):
        monkeypatch.setattr(heads, "_PRIMAL_ROWS", n_rows)
        found.append(HeadBank(blocks).fit_predict(rows[::2], targets, [rows[1::2]])[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_trees_tell_sizes_apart_where_the_kind_matters():
    """A size helps one kind of prompt and harms the other: no sum of the two says it."""
    rng = np.random.default_rng(0)
    n = 400
    kind, size = rng.integers(0, 2, n), rng.random(n)
    inputs = np.stack([kind, size, rng.random(n)], axis=1).astype(np.float32)
    right = np.where(kind == 1, size > 0.5, size < 0.5)
    targets = np.stack([right, ~right, np.full(n, 0.25)], axis=1).astype(np.float32)
    blocks = replace(make_blocks(n=n), inputs=inputs)
    bank = HeadBank(blocks, families=["trees"])
    train, test = np.arange(300), np.arange(300, n)
    ((found,),) = bank.fit_predict(train, targets, [test])
    assert bank.names == ("trees",)
    assert np.square(found[:, 0] - right[test]).mean() < 0.08
    np.testing.assert_allclose(found[:, 0] + found[:, 1], 1.0, atol=1e-5)
    (table,) = bank.fit_final(targets)
    assert isinstance(table, TreeEnsemble)
    assert len(np.unique(table.roots)) == len(table.roots) > 20
    np.testing.assert_allclose(table.mean, targets.mean(axis=0), atol=1e-4)


def test_trees_of_many_prompts_see_some_of_them(
    blocks: TrainingBlocks, targets: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    (whole,) = HeadBank(blocks, families=["trees"]).fit_predict(TRAIN, targets, [TEST])
    monkeypatch.setattr(tree_head, "_MAX_ROWS", 30)
    bank = HeadBank(blocks, families=["trees"])
    (some,) = bank.fit_predict(TRAIN, targets, [TEST])
    (again,) = bank.fit_predict(TRAIN, targets, [TEST])
    assert not np.array_equal(whole, some)
    np.testing.assert_array_equal(some, again)


def test_a_value_on_a_threshold_goes_where_it_went_in_training():
    """Thresholds are stored in single precision, between values that hardly differ."""
    base = np.float32(1.0)
    values = [base]
    for _ in range(79):
        values.append(np.nextafter(values[-1], np.float32(2.0)))
    inputs = np.array(values, np.float32)[:, None]
    targets = np.random.default_rng(1).random((80, 1)).astype(np.float32)
    blocks = replace(make_blocks(n=80), inputs=inputs)
    bank = HeadBank(blocks, families=["trees"])
    rows = np.arange(80)
    ((predicted,),) = bank.fit_predict(rows, targets, [rows])
    (table,) = bank.fit_final(targets)
    np.testing.assert_allclose(apply(table, blocks, blocks.scaled), predicted, atol=1e-6)
