from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.dial import Dial, PoolMeans, Setting
from router.model import Scores
from router.pool import Pool
from router.training.calibration import (
    CONFIDENCES,
    CalibrationPrompts,
    calibrate,
    calibration_prompts,
    hold_out,
    today,
    why_none_held_out,
)
from router.training.certify.floors import floor_evidence

PATH = (Setting(0.0005, 0.0), Setting(0.004, 0.0), Setting(0.03, 0.0))
MEANS = PoolMeans((0.55, 0.7, 0.9), (1.0, 10.0, 100.0))
DIAL = Dial(PATH, (0.99, 0.95, 0.8), (0.7, 0.3, 0.05), MEANS, 400)


def make_prompts(n: int = 800, seed: int = 0, **changes: Any) -> CalibrationPrompts:
    """Prompts of a ladder of three models, with expectations that are right."""
    rng = np.random.default_rng(seed)
    hard = rng.random((n, 1))
    chance = np.clip(1.25 - hard * [1.4, 1.1, 0.7], 0.02, 0.98)
    energy_j = np.array([1.0, 10.0, 100.0]) * np.exp(0.1 * rng.standard_normal((n, 3)))
    parts: dict[str, Any] = {
        "expected_quality": chance,
        "probability": chance,
        "expected_energy_j": energy_j,
        "quality": (rng.random((n, 3)) < chance).astype(float),
        "energy_j": energy_j,
        "groups": tuple(np.where(hard[:, 0] < 0.3, "easy", "").tolist()),
        "draws": np.sort(rng.random(n)),
    }
    return CalibrationPrompts(**(parts | changes))


def make_calibration(prompts: CalibrationPrompts, method: str = "exact"):
    return calibrate(prompts, PATH, DIAL, 2, method=method, data_digest="ab", date="2026-11-23")


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=700),
    st.floats(0, 0.99),
    st.integers(0, 5),
)
@settings(max_examples=30, deadline=None)
def test_whole_groups_are_held_out(groups: list[int], share: float, seed: int) -> None:
    complete = np.array([g % 3 > 0 for g in groups])
    train, held = hold_out(np.array(groups), complete, share, seed)
    assert sorted([*train, *held]) == list(range(len(groups)))
    of = np.array(groups)
    assert not set(of[train]) & set(of[held])
    assert complete[held].all()
    assert len(held) == 0 or len(set(of[held])) >= 100


def test_the_share_is_of_the_groups_without_gaps() -> None:
    groups, complete = np.arange(1000), np.arange(1000) % 2 == 0
    train, held = hold_out(groups, complete, 0.4, 0)
    assert (len(train), len(held)) == (800, 200)
    again = hold_out(groups, complete, 0.4, 0)[1]
    np.testing.assert_array_equal(held, again)
    assert set(held) != set(hold_out(groups, complete, 0.4, 1)[1])


def test_a_group_with_a_gap_is_not_held_out() -> None:
    groups = np.repeat(np.arange(300), 2)
    complete = np.ones(600, bool)
    complete[1::2] = False
    assert len(hold_out(groups, complete, 0.9, 0)[1]) == 0


@pytest.mark.parametrize(("share", "needed"), [(0.25, 400), (0.07, 1429), (0.99, 102), (0.1, 1000)])
def test_too_few_prompts_are_told_how_many_it_takes(share: float, needed: int) -> None:
    groups, complete = np.arange(needed + 50) % (needed - 1), np.ones(needed + 50, bool)
    assert len(hold_out(groups, complete, share, 0)[1]) == 0
    said = why_none_held_out(groups, complete, share)
    assert f"of {needed - 1:,} prompts with grades of every model" in said
    assert f"It takes {needed:,} such prompts, or `wattroute calibrate`" in said
    assert len(hold_out(np.arange(needed), complete[:needed], share, 0)[1]) >= 100


def test_repeated_texts_count_once_and_in_the_order_of_their_hashes(pool: Pool) -> None:
    hashes = np.array([5, 1, 5, 2**47, 1])
    quality = np.arange(15, dtype=float).reshape(5, 3)
    scores = Scores(quality / 20, quality / 30, np.ones(5), np.ones((5, 3)))
    found = calibration_prompts(scores, pool, quality, quality + 1, list("abcde"), hashes)
    assert found.groups == ("b", "a", "d")
    np.testing.assert_array_equal(found.quality, quality[[1, 0, 3]])
    np.testing.assert_array_equal(found.probability, scores.probability[[1, 0, 3]])
    np.testing.assert_allclose(found.draws, [1 / 2**48, 5 / 2**48, 0.5])
    familiar = np.array([True, False, True, False, False])
    some = calibration_prompts(
        scores, pool, quality, quality + 1, list("abcde"), hashes, familiar=familiar
    )
    assert some.groups == ("a",)  # rows 0 and 2 are one text


def test_certificates_rise_with_confidence_and_fall_with_the_bar() -> None:
    found = make_calibration(make_prompts())
    assert found.confidences == CONFIDENCES
    table = np.array(found.groups[0].steps)
    assert (np.diff(table, axis=0) <= 0).all()
    assert table[0, 0] == 3  # half of the quality is kept by all settings
    assert table[-1, -1] == 0
    assert found.groups[0].n == 800
    assert (found.method, found.date, found.data_digest) == ("exact", "2026-11-23", "ab")


def test_what_is_measured_is_relative_to_the_reference() -> None:
    prompts = make_prompts()
    everything = found = make_calibration(prompts).groups[0]
    assert everything.name == ""
    assert found.reference_quality == pytest.approx(prompts.quality[:, 2].mean(), abs=1e-6)
    assert list(found.energy) == sorted(found.energy, reverse=True)
    assert list(found.kept) == sorted(found.kept, reverse=True)
    assert all(0 < energy < 1 for energy in found.energy)


def test_kinds_with_enough_prompts_get_their_own_certificates() -> None:
    prompts = make_prompts()
    found = make_calibration(prompts)
    assert [group.name for group in found.groups] == ["", "easy"]
    assert found.groups[1].n == prompts.groups.count("easy")
    rare = tuple("easy" if i < 49 else "" for i in range(800))
    assert len(make_calibration(replace(prompts, groups=rare)).groups) == 1


@pytest.mark.parametrize("method", ["exact", "betting"])
def test_grades_between_0_and_1(method: str) -> None:
    prompts = make_prompts()
    found = make_calibration(replace(prompts, quality=prompts.quality * 0.7 + 0.2), method)
    assert found.method == method
    assert found.groups[0].steps[0][0] == 3


def test_a_reference_that_is_never_right_certifies_nothing() -> None:
    quality = make_prompts().quality
    quality[:, 2] = 0.0
    found = make_calibration(make_prompts(quality=quality))
    assert found.groups[0].kept == (0.0, 0.0, 0.0)
    assert found.certificate(0.9, 0.9).n_needed is None
    nobody = make_calibration(make_prompts(quality=np.zeros((800, 3))))
    assert not nobody.certificate(0.5, 0.8).holds


def test_an_empty_path_certifies_nothing() -> None:
    prompts = make_prompts()
    found = calibrate(prompts, (), DIAL, 2, method="exact", data_digest="ab")
    assert not found.certificate(0.5, 0.8).holds
    assert found.certificate(0.5, 0.8).n_needed is None


def test_floors_are_counted_at_the_settings_that_serve_under_them() -> None:
    prompts = make_prompts()
    floors = make_calibration(prompts).floors
    assert floors.settings[0] == PATH[2]  # what the dial says of the lowest bars
    assert None in floors.settings
    row, column = floors.levels.index(0.8), floors.settings.index(None)
    # without a setting the reference answers wherever it reaches the floor
    reached = prompts.probability[:, 2] >= 0.8
    assert floors.routed[row][column][2] == reached.sum()
    assert floors.good[row][column][2] == (prompts.quality[reached, 2] >= 0.5).sum()
    others = (prompts.probability[~reached] >= 0.8).any(axis=1).sum()
    assert sum(floors.routed[row][column]) == reached.sum() + others


def test_floors_are_kept_where_probabilities_are_right_and_refused_where_they_are_bold() -> None:
    prompts = make_prompts(3000)
    honest = make_calibration(prompts).floors.certificate(0.8, 0.9, 1, None, 2)
    assert honest.holds
    assert 0.8 < honest.n_good / honest.n < 1
    bold = replace(prompts, probability=np.clip(prompts.probability + 0.3, 0, 1))
    refused = make_calibration(bold).floors.certificate(0.95, 0.9, 1, None, 2)
    assert not refused.holds


def test_floors_that_do_not_hold_are_hardly_ever_certified() -> None:
    """Probabilities of 0.8 that are 0.79 in truth, for all models together."""
    rng = np.random.default_rng(5)
    wrong = 0
    for seed in range(150):
        n = 200
        prompts = make_prompts(
            n,
            seed,
            expected_quality=rng.random((n, 3)),
            probability=np.full((n, 3), 0.8),
            quality=(rng.random((n, 3)) < 0.79).astype(float),
        )
        floors = floor_evidence(
            prompts.expected_quality,
            prompts.probability,
            prompts.expected_energy_j,
            prompts.quality,
            PATH[:1],
            MEANS,
            2,
            CONFIDENCES,
        )
        wrong += any(passed > 1 for passed in floors.passed[floors.levels.index(0.8)][0])
    assert wrong / 150 <= 0.1 + 3 * sqrt(0.09 / 150)


def test_the_day_can_be_set_for_builds_that_must_come_out_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert today() == "1970-01-02"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert today() > "2026-01-01"
