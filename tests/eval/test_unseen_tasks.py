from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from router.eval import unseen_tasks
from router.eval.intervals import Interval
from router.eval.unseen_tasks import (
    BarOutcome,
    FamilyOutcome,
    UnseenTasks,
    auroc_interval,
    bar_outcome,
    render_unseen_tasks,
)


def outcome(bar: float, quality: float, energy: float = 0.5) -> BarOutcome:
    return BarOutcome(
        bar,
        Interval(quality, quality - 0.01, quality + 0.01),
        Interval(energy, energy - 0.1, energy + 0.1),
        quality - 0.2,
        energy / 2,
    )


FAMILY = FamilyOutcome(
    family="logic",
    n_train=1400,
    n_prompts=300,
    n_known=600,
    auroc=Interval(0.97, 0.95, 0.99),
    novel=0.91,
    false_alarms=0.02,
    reference="large",
    reference_quality=0.66,
    bars=(outcome(0.9, 0.95), outcome(0.98, 0.97)),
    known=(outcome(0.9, 0.91, 0.2), outcome(0.98, 0.985, 0.4)),
)
MISSED = replace(
    FAMILY,
    family="games",
    auroc=Interval(0.6, 0.5, 0.7),
    bars=(outcome(0.9, 0.87), *FAMILY.bars[1:]),
)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
)
def test_the_area_under_the_curve_is_that_of_scikit_learn(unseen: list[int], known: list[int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unseen_tasks, "_RESAMPLES", 50)
        found = auroc_interval(
            np.array(unseen, float), np.array(known, float), np.random.default_rng(0)
        )
    labels = np.repeat([1, 0], [len(unseen), len(known)])
    assert found.mean == pytest.approx(roc_auc_score(labels, [*unseen, *known]))
    assert 0 <= found.low <= found.high <= 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unseen_tasks, "_RESAMPLES", 200)
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        found = auroc_interval(rng.normal(1.0, 1.0, 60), rng.normal(0.0, 1.0, 80), rng)
        covered.append(found.low <= 0.7602 <= found.high)  # Phi(1 / sqrt(2))
    assert 0.88 <= np.mean(covered) <= 0.99


def test_what_is_kept_and_spent():
    quality = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    energy_j = np.array([[1.0, 10.0]] * 4)
    rng = np.random.default_rng(0)
    found = bar_outcome(0.9, quality, energy_j, np.array([1, 0, 0, 1]), np.zeros(4, int), 1, rng)
    assert found.quality.mean == 1.0
    assert found.energy.mean == pytest.approx(22 / 40)
    assert found.unguarded_quality == pytest.approx(2 / 3)
    assert found.unguarded_energy == pytest.approx(0.1)
    assert found.quality.low <= 1.0 <= found.quality.high
    assert found.energy.low < 0.55 < found.energy.high
    assert found.within


def test_of_nothing_any_share_is_kept():
    found = bar_outcome(
        0.9,
        np.zeros((3, 2)),
        np.ones((3, 2)),
        np.zeros(3, int),
        np.zeros(3, int),
        1,
        np.random.default_rng(0),
    )
    assert (found.quality.mean, found.quality.low, found.unguarded_quality) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("bar", "quality", "within"),
    [(0.9, 0.88, True), (0.9, 0.8799, False), (0.98, 0.96, True), (0.95, 1.2, True)],
)
def test_a_bar_may_be_missed_by_the_allowance(bar: float, quality: float, within: bool):
    assert outcome(bar, quality).within is within


def test_the_verdict_names_what_is_missed_and_what_is_alike():
    good = UnseenTasks("three", 0, (FAMILY,))
    assert good.within
    assert good.verdict() == (
        "1 of 1 families keep every bar less 0.02. 1 of 1 are told apart (AUROC of 0.85 or more). "
        "On prompts of the known families 2.0% false alarms; the guard takes their energy, "
        "relative to the reference model's, from 0.100 -> 0.200 at 0.9, 0.200 -> 0.400 at 0.98."
    )
    bad = UnseenTasks("three", 0, (FAMILY, MISSED))
    assert not bad.within
    assert "1 of 2 families" in bad.verdict()
    assert "Below: games." in bad.verdict()
    assert "Not really different from the others: games." in bad.verdict()


def test_all_figures_are_json():
    found = UnseenTasks("three", 3, (FAMILY, MISSED), ("tiny",)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert found["within"] is False
    assert [family["within"] for family in found["families"]] == [True, False]
    assert [family["different"] for family in found["families"]] == [True, False]
    assert found["families"][1]["bars"][0]["within"] is False
    assert found["families"][0]["bars"][0]["quality"] == {"mean": 0.95, "low": 0.94, "high": 0.96}


def test_the_table_shows_every_family_at_every_bar():
    shown = render_unseen_tasks(UnseenTasks("three", 0, (FAMILY, MISSED), ("tiny", "small")))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "logic 300 1,400 0.970 [0.950, 0.990] 91.0% 2.0%" in lines
    assert "games 300 1,400 0.600 [0.500, 0.700] 91.0% 2.0% not really different" in lines
    assert "games 0.660 0.870 [0.860, 0.880] 0.500 [0.400, 0.600] 0.670 0.250 below 0.88" in lines
    assert lines.count("At a quality bar of 0.9, relative to the reference model:") == 1
    assert lines.count("At a quality bar of 0.98, relative to the reference model:") == 1
    assert lines[-1] == "Too few prompts to be left out: tiny, small."
