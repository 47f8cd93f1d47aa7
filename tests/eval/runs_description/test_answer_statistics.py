from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from router.eval.runs_description.answers import coverage, model_answers


def test_coverage_by_hand():
    nan = np.nan
    quality = np.array([[1.0, nan], [0.0, 1.0], [nan, nan], [1.0, nan]])
    found = coverage(quality, ["sums", "sums", "words", ""])
    assert [(kind.label, kind.n_prompts, kind.answered) for kind in found] == [
        ("sums", 2, (1.0, 0.5)),
        ("", 1, (1.0, 0.0)),
        ("words", 1, (0.0, 0.0)),
    ]


def test_right_and_wrong_have_wilsons_interval(make_matrix):
    """8 of 10: 0.490 to 0.943 (Wilson 1927)."""
    found = model_answers(make_matrix([[1.0]] * 8 + [[0.0]] * 2, models=["m"]))[0]
    assert found.quality.mean == 0.8
    assert (found.quality.low, found.quality.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert (found.kind, found.n, found.between) == ("binary", 10, 0.0)


def test_graded_qualities_have_students_interval(make_matrix):
    found = model_answers(make_matrix([[0.2], [0.4], [0.6], [1.0]], models=["m"]))[0]
    assert (found.kind, found.between) == ("graded", 0.75)
    assert found.quality.mean == pytest.approx(0.55)
    assert found.quality.high - found.quality.mean == pytest.approx(3.1824 * 0.17078, rel=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_grades_keep_an_interval(make_matrix, value: float):
    found = model_answers(make_matrix([[value]] * 10, models=["m"]))[0]
    assert found.kind == "constant"
    assert 0 <= found.quality.low <= value <= found.quality.high <= 1
    assert found.quality.high - found.quality.low == pytest.approx(0.2775, abs=1e-3)


def test_lengths_count_graded_answers_alone(make_matrix):
    nan = np.nan
    quality = [[1.0], [1.0], [0.0], [nan], [1.0]]
    tokens = [[10.0], [20.0], [30.0], [999.0], [nan]]
    matrix = make_matrix(quality, completion_tokens=tokens, energy_j=[[1.0], [nan]] * 2 + [[nan]])
    found = model_answers(matrix)[0]
    assert (found.completion_tokens.median, found.completion_tokens.missing) == (20.0, 0.25)
    assert found.completion_tokens.p90 == pytest.approx(28.0)
    assert (found.longest, found.at_longest, found.truncated) == (30.0, 0, None)
    assert found.energy_measured == 0.5


def test_nothing_known(make_matrix):
    nan = np.nan
    matrix = make_matrix([[nan], [nan]], completion_tokens=nan, prompt_tokens=nan)
    found = model_answers(matrix, {})[0]
    assert (found.n, found.truncated) == (0, 0)
    for number in (
        found.quality.mean,
        found.completion_tokens.median,
        found.longest,
        found.between,
    ):
        assert math.isnan(number)


def test_answers_piled_up_at_the_greatest_length(make_matrix):
    rng = np.random.default_rng(0)
    tokens = rng.permutation(np.arange(100, 300)).astype(float)[:, None]
    matrix = make_matrix(np.ones((200, 1)), completion_tokens=tokens)
    assert model_answers(matrix)[0].at_longest == 0
    tokens[:8] = 1024
    found = model_answers(replace(matrix, completion_tokens=tokens), {"small": 3})[0]
    assert (found.at_longest, found.longest, found.truncated) == (8, 1024, 3)
    # equal lengths throughout are a constant, not a limit
    same = replace(matrix, completion_tokens=np.full((200, 1), 300.0))
    assert model_answers(same)[0].at_longest == 0
