from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.features import FeatureExtractor
from router.model import RouterModel
from router.textprofile import PROFILE_NAMES
from router.textstats import STATISTIC_NAMES
from router.trees import TreeEnsemble, n_inputs, tree_inputs


@pytest.fixture
def trees(model: RouterModel) -> TreeEnsemble:
    assert model.trees is not None
    return model.trees


def test_leaves_by_hand(trees: TreeEnsemble, extractor: FeatureExtractor):
    """The trees of the fixture ask for an "a", for numbers of two digits, for four words."""
    cases = {
        "a": (0, 3),
        "": (1, 3),
        "12": (2, 3),
        "1 2 3": (1, 3),
        "one two three five": (1, 4),
        "count to 12 and back again": (0, 4),
        "from one to 12 or more": (2, 4),
    }
    for text, leaves in cases.items():
        inputs = tree_inputs(extractor.extract([text]))
        expected = trees.values[list(leaves)].mean(axis=0)
        np.testing.assert_allclose(trees.latent(inputs)[0], expected, rtol=1e-6, err_msg=text)


def test_a_prompt_alone_is_as_in_a_batch(trees: TreeEnsemble, extractor: FeatureExtractor):
    texts = ["a", "", "12", "one two three four five", "Count to 12 and back again."]
    inputs = tree_inputs(extractor.extract(texts))
    batch = trees.latent(inputs)
    assert batch.shape == (5, trees.values.shape[1])
    for i in range(5):
        np.testing.assert_allclose(trees.latent(inputs[i : i + 1])[0], batch[i], rtol=1e-5)
    assert trees.latent(inputs[:0]).shape == (0, trees.values.shape[1])


def test_inputs_are_statistics_profile_and_embedding(extractor: FeatureExtractor):
    features = extractor.extract(["What is 12 + 340?"])
    inputs = tree_inputs(features)
    n_statistics = len(STATISTIC_NAMES)
    assert inputs.shape == (1, n_inputs(4, n_statistics))
    np.testing.assert_array_equal(inputs[0, :n_statistics], features.dense[0, 4:])
    assert inputs[0, n_statistics + PROFILE_NAMES.index("most_digits")] == 3.0
    np.testing.assert_array_equal(inputs[0, -4:], features.dense[0, :4])
    assert n_inputs(256, n_statistics) == n_statistics + len(PROFILE_NAMES) + 16


def changed(trees: TreeEnsemble, **parts: Any) -> TreeEnsemble:
    arrays = {**trees.to_arrays(), **parts}
    n_columns = n_inputs(4, len(STATISTIC_NAMES))
    return TreeEnsemble.from_arrays(arrays, n_columns, trees.values.shape[1])


def test_arrays_round_trip(trees: TreeEnsemble, extractor: FeatureExtractor):
    inputs = tree_inputs(extractor.extract(["a", "12 monkeys"]))
    again = changed(trees)
    np.testing.assert_array_equal(again.latent(inputs), trees.latent(inputs))
    np.testing.assert_array_equal(again.mean, trees.mean)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("roots", [0, 8]),
        ("roots", []),
        ("column", [0, 0, 0, 0, 0, 999, 0, 0]),
        ("column", [-1, 0, 0, 0, 0, 0, 0, 0]),
        ("row", [0, 0, 0, 1, 2, 0, 3, 5]),
        ("left", [0, 3, 2, 3, 4, 6, 6, 7]),  # a leaf with a threshold
        ("left", [1, 0, 2, 3, 4, 6, 6, 7]),  # a way without an end
        ("left", [1, 7, 2, 3, 4, 6, 6, 7]),  # no node after the last one
        ("threshold", [0.5, 1.0, np.nan, 9.0, 9.0, 1.5, 9.0, 9.0]),
        ("depth", -1),
    ],
)
def test_arrays_out_of_range_are_refused(trees: TreeEnsemble, part: str, value: Any):
    with pytest.raises(ValueError, match="trees"):
        changed(trees, **{part: np.array(value)})
