from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.eval.protocol import QUALITY_BARS, SERVED_BARS
from router.eval.regrets import Loss, worst_decisions
from router.eval.scoring import Truth
from router.eval.task_outcomes import task_outcomes
from router.eval.traffic import SeedTraffic, served_traffic

MODELS = ("small", "large")


def _part(chosen, quality, energy_j, *, tasks=None, ids=None, texts=None, seed=0, probability=None):
    """Traffic that is served alike at every bar; the large model is the reference."""
    chosen = np.array(chosen)
    quality, energy_j = np.array(quality, float), np.array(energy_j, float)
    n = len(chosen)
    points = np.stack([energy_j.mean(axis=0), quality.mean(axis=0)], axis=1)
    return SeedTraffic(
        seed=seed,
        prompt_ids=tuple(ids or (f"p{i}" for i in range(n))),
        tasks=tuple(tasks or [""] * n),
        texts=tuple(texts or (f"Question {i}?" for i in range(n))),
        truth=Truth(quality, energy_j, np.full(quality.shape, np.nan), 1, points),
        choices=np.tile(chosen, (len(SERVED_BARS), 1)),
        probability=np.full(quality.shape, 0.5) if probability is None else np.array(probability),
        energy_j=energy_j,
        mixtures=np.tile([0.0, 1.0], (len(SERVED_BARS), 1)),
    )


def test_bars_are_those_of_the_headline_and_more():
    assert set(QUALITY_BARS) <= set(SERVED_BARS)
    assert list(SERVED_BARS) == sorted(set(SERVED_BARS))
    assert SERVED_BARS[-1] == 1.0


def test_what_a_bar_leads_to_is_counted_by_hand():
    part = _part([0, 0, 1, 1], [[1, 1], [0, 1], [1, 1], [0, 0]], [[1, 10]] * 4)
    served = served_traffic([part])
    bar = served.at(0.98)
    assert bar.quality == pytest.approx((2 / 3,))
    assert bar.energy == pytest.approx((22 / 40,))
    assert bar.energy_j == pytest.approx((5.5,))
    assert bar.reference_energy_j == (10.0,)
    assert bar.zero_energy == pytest.approx((1.0,))
    assert bar.shares == (0.5, 0.5)
    assert bar.saved_j.mean == pytest.approx(4.5)
    assert bar.saved_against_zero_j.mean == pytest.approx(4.5)
    assert bar.n_kept == 0
    assert np.isnan(bar.saved_j.low)


def test_seeds_are_averaged_with_an_interval():
    alike = [[1, 1]] * 3
    parts = [_part([0, 0, 0], alike, [[1, 10]] * 3), _part([0, 0, 1], alike, [[1, 10]] * 3, seed=1)]
    served = served_traffic(parts)
    bar = served.at(0.9)
    assert bar.energy == pytest.approx((0.1, 0.4))
    assert bar.shares == pytest.approx((5 / 6, 1 / 6))
    assert bar.n_kept == 2
    assert bar.saved_j.low < bar.saved_j.mean < bar.saved_j.high
    stored = json.loads(json.dumps(served.to_dict()))
    found = next(entry for entry in stored["bars"] if entry["bar"] == 0.9)
    assert found["energy"]["per_seed"] == pytest.approx([0.1, 0.4])
    assert found["energy"]["mean"] == pytest.approx(0.25)
    assert set(stored["figures"]) == {
        "served_log_energy_ratio",
        "zero_served_log_energy_ratio",
        "served_minus_zero_served",
    }


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans()), min_size=1))
def test_shares_sum_to_one_and_the_reference_keeps_every_bar(rows):
    chosen = [row[0] for row in rows]
    quality = [row[1:] for row in rows]
    energy_j = [[1.0, 5.0]] * len(rows)
    served = served_traffic([_part(chosen, quality, energy_j)])
    assert all(sum(bar.shares) == pytest.approx(1) for bar in served.bars)
    always = served_traffic([_part([1] * len(rows), quality, energy_j)])
    if any(right for _, _, right in rows):
        assert all(bar.quality == pytest.approx((1.0,)) for bar in always.bars)
        assert all(bar.energy == (1.0,) and bar.saved_j.mean == 0 for bar in always.bars)


def test_a_prompt_in_several_splits_counts_once_in_its_task():
    first = _part([0, 1], [[0, 1], [1, 1]], [[1, 10]] * 2, tasks=["a", "b"], ids=["x", "y"])
    second = _part([1, 1], [[0, 1], [1, 0]], [[1, 10]] * 2, tasks=["a", "a"], ids=["x", "z"])
    a, b = task_outcomes([first, second], 0.98)
    assert (a.task, a.n_prompts, b.task, b.n_prompts) == ("a", 2, "b", 1)
    assert a.quality == pytest.approx(0.25)  # x: half of the time, z: never
    assert a.reference_quality == pytest.approx(0.5)
    assert a.difference.mean == pytest.approx(-0.25)
    assert a.shares == pytest.approx((1 / 3, 2 / 3))
    assert a.energy == pytest.approx(21 / 30)
    assert np.isnan(b.difference.low)


def test_tasks_without_energy_or_label_are_no_error():
    (found,) = task_outcomes([_part([0, 0], [[1, 0], [1, 1]], [[0, 0]] * 2)], 0.9)
    assert found.task == ""
    assert np.isnan(found.energy)
    assert found.difference.low < 0.5 < found.difference.high


def test_the_most_confident_mistakes_come_first():
    part = _part(
        [0, 0, 0, 1],
        [[0, 1], [0, 1], [1, 1], [0, 0]],
        [[1, 10]] * 4,
        probability=[[0.6, 0.5], [0.9, 0.95], [0.9, 0.9], [0.1, 0.9]],
    )
    lost = [
        regret for regret in worst_decisions([part], 0.98, MODELS) if regret.loss is Loss.QUALITY
    ]
    assert [regret.prompt_id for regret in lost] == ["p1", "p0"]
    assert lost[0].reason == "large was expected to be better by 5 points, too little for 9 J more."
    assert lost[1].reason == "small was expected to be at least as good (60% against 50%)."
    assert (lost[0].chosen, lost[0].better) == ("small", "large")


def test_energy_is_in_vain_only_where_a_cheaper_answer_was_as_good():
    part = _part(
        [1, 1, 1],
        [[1, 1], [0, 1], [1, 0]],
        [[2, 100], [2, 100], [2, 100]],
        probability=[[0.3, 0.9]] * 3,
    )
    (found,) = worst_decisions([part], 0.98, MODELS)
    assert (found.loss, found.prompt_id, found.better) == (Loss.ENERGY, "p0", "small")
    assert found.reason == "large was expected to be better by 60 points (90% against 30%)."


def test_a_perfect_router_has_no_regrets():
    part = _part([0, 1], [[1, 1], [0, 1]], [[1, 10]] * 2)
    assert worst_decisions([part], 0.98, MODELS) == ()


def test_every_prompt_once_and_no_more_than_asked_for():
    part = _part([0] * 30, [[0, 1]] * 30, [[1, 10]] * 30)
    again = _part([0] * 30, [[0, 1]] * 30, [[1, 10]] * 30, seed=1)
    found = worst_decisions([part, again], 0.98, MODELS, n=5)
    assert len({regret.prompt_id for regret in found}) == len(found) == 5


def test_long_prompts_lose_their_middle():
    text = f"Begin {'word ' * 5000} End\n\n of it"
    part = _part([0], [[0, 1]], [[1, 10]], texts=[text])
    (regret,) = worst_decisions([part], 0.98, MODELS)
    assert len(regret.text) < 300
    assert regret.text.startswith("Begin word word")
    assert regret.text.endswith("word End of it")
    assert " … " in regret.text


def test_points_and_joules_read_well():
    part = _part(
        [0, 0],
        [[0, 1], [0, 1]],
        [[0.5, 1], [1, 2500]],
        probability=[[0.7, 0.704], [0.6, 0.61]],
    )
    first, second = worst_decisions([part], 0.98, MODELS)
    assert first.reason.endswith("better by less than 1 point, too little for 0.5 J more.")
    assert second.reason.endswith("better by 1 point, too little for 2,499 J more.")
