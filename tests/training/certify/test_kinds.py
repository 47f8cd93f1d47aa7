from __future__ import annotations

import json

import numpy as np
import pytest

from router.clusters import PromptClusters
from router.training.blocks import fit_scaler
from router.training.certify.kinds import discover_kinds, labelled


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 60, "b": 60, "": 100}, True),
        ({"a": 60, "": 61}, False),
        ({"": 90}, False),
        ({"a": 50}, True),
        ({"a": 49}, False),
        ({"a": 60, **{f"rare {i}": 1 for i in range(70)}}, False),
    ],
)
def test_half_of_the_prompts_must_have_a_label_that_enough_share(
    counts: dict[str, int], expected: bool
) -> None:
    assert labelled([task for task, n in counts.items() for _ in range(n)]) == expected


def test_clusters_are_the_kinds_of_prompts(problem) -> None:
    scaler = fit_scaler(problem.features)
    found = discover_kinds(problem.features, scaler, 360, seed=0)
    assert found is not None
    assert len(found.centres) == 3
    names = np.array(found.names(problem.features, scaler))
    assert set(names) == {"cluster 1", "cluster 2", "cluster 3"}
    for task in set(problem.matrix.tasks):
        here = names[np.array(problem.matrix.tasks) == task]
        assert np.unique(here, return_counts=True)[1].max() > 0.7 * len(here)


def test_what_is_stored_names_prompts_alike(problem) -> None:
    scaler = fit_scaler(problem.features)
    found = discover_kinds(problem.features, scaler, 360, seed=0)
    assert found is not None
    again = PromptClusters.from_list(json.loads(json.dumps(found.to_list())))
    np.testing.assert_array_equal(again.centres, found.centres)
    assert again.names(problem.features, scaler) == found.names(problem.features, scaler)


def test_few_calibration_prompts_are_of_one_kind(problem) -> None:
    assert discover_kinds(problem.features, fit_scaler(problem.features), 239) is None


@pytest.mark.parametrize("stored", [[], [[]], [[1.0], [1.0, 2.0]], [[float("nan")]], ["ab"]])
def test_clusters_that_cannot_be(stored: list) -> None:
    with pytest.raises((TypeError, ValueError)):
        PromptClusters.from_list(stored)
