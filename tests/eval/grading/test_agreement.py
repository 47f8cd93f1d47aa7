from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from router.eval.grading.agreement import judge_agreement

GRADES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40)
@given(GRADES)
def test_figures_are_those_of_scikit_learn(pairs: list[tuple[float, float]]):
    judged, gold = (list(side) for side in zip(*pairs, strict=True))
    found = judge_agreement(judged, gold)
    right = np.array(judged) >= 0.5
    assert 0.0 <= found.low <= found.agreement <= found.high <= 1.0
    assert found.agreement == pytest.approx(np.mean(right == np.array(gold)))
    if len(set(gold)) == 2:
        assert found.auc == pytest.approx(roc_auc_score(gold, judged))
        assert found.kappa == pytest.approx(cohen_kappa_score(right, np.array(gold) == 1.0))
    else:
        assert math.isnan(found.auc)
        assert found.to_dict()["auc"] is None


def test_the_interval_covers_as_it_should():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        same = rng.random(80) < 0.85
        gold = rng.integers(0, 2, 80).astype(float)
        found = judge_agreement(np.where(same, gold, 1 - gold).tolist(), gold.tolist())
        covered += found.low <= 0.85 <= found.high
    assert 925 <= covered <= 980


def test_a_kind_judge_shows_in_the_bias():
    found = judge_agreement([1, 1, 1, 1], [1, 1, 0, 0])
    assert (found.bias, found.kappa) == (0.5, 0.0)
    assert "agrees with the gold grader on 50.0% of 4 answers" in str(found)


@pytest.mark.parametrize(("judged", "gold"), [([], []), ([1.0], [1.0, 0.0])])
def test_nothing_to_compare_is_refused(judged: list[float], gold: list[float]):
    with pytest.raises(ValueError, match="as many"):
        judge_agreement(judged, gold)
