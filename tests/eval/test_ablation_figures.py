import json
import math

import pytest

from router.eval.ablation import (
    ALL_PARTS,
    OUT_OF_FOLD,
    TEST,
    PoolAblation,
    ablation_sections,
)

NAN = float("nan")


def _pool(name, **changes):
    figures = {
        ALL_PARTS: {TEST: (-0.5, -0.7), OUT_OF_FOLD: (-0.6, -0.6)},
        "clusters": {TEST: (-0.4, -0.5), OUT_OF_FOLD: (-0.6, -0.6)},
        "task means": {TEST: (-0.8, -0.9), OUT_OF_FOLD: (NAN, NAN)},
    }
    return PoolAblation(name, 100, (0, 1), {**figures, **changes})


def test_changes_are_paired_seed_by_seed():
    change = _pool("one").change("clusters", TEST)
    assert change.mean == pytest.approx(0.15)
    assert change.high - change.mean == pytest.approx(12.706 * 0.05, abs=0.001)
    assert _pool("one").change("clusters", OUT_OF_FOLD).mean == 0


def test_tables_have_a_column_for_each_pool_and_one_for_the_mean():
    worse = {"clusters": {TEST: (-0.2, -0.4), OUT_OF_FOLD: (-0.5, -0.5)}}
    test, out_of_fold, figures = (
        section.table for section in ablation_sections([_pool("one"), _pool("two", **worse)])
    )
    assert test.headers == ("router", "one", "two", "mean")
    assert [row[0] for row in test.rows] == ["clusters", "task means"]
    row = test.rows[0]
    assert row[1].startswith("+0.150 ± ")
    assert row[2].startswith("+0.300 ± ")
    assert row[3].startswith("+0.225 ± ")
    assert out_of_fold.rows == (("clusters", "+0.000 ± 0.000", "+0.100 ± 0.000", "+0.050 ± 0.635"),)
    assert figures.rows[0] == (ALL_PARTS, "-0.600 / -0.600", "-0.600 / -0.600")
    assert figures.rows[2] == ("task means", "-0.850 / -", "-0.850 / -")


def test_one_seed_has_changes_without_an_interval():
    figures = {variant: {TEST: (-0.5,), OUT_OF_FOLD: (NAN,)} for variant in (ALL_PARTS, "clusters")}
    pool = PoolAblation("one", 100, (3,), figures)
    test, out_of_fold, _ = (section.table for section in ablation_sections([pool]))
    assert test.rows == (("clusters", "+0.000", "+0.000"),)
    assert out_of_fold.rows == ()


def test_json_has_no_nan():
    stored = json.loads(json.dumps(_pool("one").to_dict(), allow_nan=False))
    means = stored["variants"]["task means"]
    assert means[OUT_OF_FOLD] == {
        "mean": None,
        "change": {"mean": None, "low": None, "high": None},
        "per_seed": [None, None],
    }
    assert math.isclose(means[TEST]["mean"], -0.85)
