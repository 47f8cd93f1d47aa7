import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.eval.learning_curve import CurvePoint, LearningCurve, Standing, first_prompts
from router.eval.report import render_curve, write_curve_report
from router.eval.result import HEADLINE
from router.eval.served import SERVED_DIFFERENCE


def _point(size, frontier, served):
    return CurvePoint(size, {HEADLINE: tuple(frontier), SERVED_DIFFERENCE: tuple(served)})


@pytest.fixture
def curve():
    return LearningCurve(
        "three",
        (0, 1, 2),
        (
            _point(50, (-0.01, 0.0, 0.03), (0.3, 0.31, 0.32)),
            _point(200, (-0.2, -0.1, -0.15), (-0.2, 0.3, 0.1)),
            _point(700, (-0.3, -0.3, -0.3), (-0.2, -0.25, -0.2)),
        ),
    )


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.integers(1, 45),
    st.integers(0, 5),
)
def test_the_first_prompts_are_whole_groups_and_nested(groups, size, seed):
    labels = np.array(groups)
    some, more = first_prompts(labels, size, seed), first_prompts(labels, size + 3, seed)
    assert set(some) <= set(more)
    assert set(labels[some]).isdisjoint(np.delete(labels, some))
    assert len(some) >= min(size, len(labels))
    largest = np.bincount(labels).max()
    assert len(some) < size + largest
    assert np.array_equal(some, np.sort(some))


def test_the_seed_decides_which_prompts_come_first():
    groups = np.arange(100)
    assert set(first_prompts(groups, 10, 0)) != set(first_prompts(groups, 10, 1))


def test_a_mean_above_the_margin_is_a_miss_only_beyond_chance(curve):
    standings = [
        (point.standing(HEADLINE), point.standing(SERVED_DIFFERENCE)) for point in curve.points
    ]
    assert standings == [
        (Standing.WITHIN, Standing.ABOVE),
        (Standing.WITHIN, Standing.UNCLEAR),
        (Standing.WITHIN, Standing.WITHIN),
    ]
    assert curve.broken
    assert not LearningCurve("three", (0,), curve.points[1:]).broken
    verdict = curve.verdict()
    assert "Frontier: at or below the zero router + 0.02 at every size." in verdict
    assert "+0.310 with 50 prompts, +0.067 with 200 prompts (within chance)" in verdict


def test_one_seed_has_no_interval_and_so_no_clear_miss():
    point = _point(50, (0.4,), (0.4,))
    assert point.standing(HEADLINE) is Standing.UNCLEAR
    curve = LearningCurve("three", (0,), (point,))
    assert not curve.broken
    assert json.loads(json.dumps(curve.to_dict(), allow_nan=False))["points"][0]["size"] == 50


def test_the_report_of_a_curve_has_its_plot_and_says_what_was_spoilt(curve, tmp_path):
    spoilt = LearningCurve(curve.pool, curve.seeds, curve.points, "flip:0.2")
    write_curve_report(spoilt, tmp_path / "deep")
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / "deep").iterdir()}
    assert sorted(files) == ["report.html", "report.json", "report.md"]
    assert "<svg" in files["report.html"]
    assert "nan" not in files["report.html"].lower()
    assert "flip:0.2" in files["report.md"]
    stored = json.loads(files["report.json"])
    assert stored["broken"] is True
    assert stored["points"][0]["standing"] == {HEADLINE: "yes", SERVED_DIFFERENCE: "no"}
    write_curve_report(spoilt, tmp_path / "again")
    assert (tmp_path / "again" / "report.html").read_text("utf-8") == files["report.html"]


def test_the_text_has_a_row_for_each_size(curve):
    text = render_curve(curve)
    for size in (" 50 ", " 200 ", " 700 "):
        assert size in text
    assert "+0.300 to" not in text.partition("Learning curve")[0]
