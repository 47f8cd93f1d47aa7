from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, DataError
from router.training.importers.column_tables import parse_columns
from router.training.importers.grades import Scale
from router.training.importers.merge import Repeats, RunMerger, count_reasons
from router.training.importers.model_names import ModelNames
from router.training.importers.records import ImportedRun, Item, LeftOut, MetricChoice
from router.training.schema import Problem


@given(
    low=st.floats(-1e6, 1e6),
    high=st.floats(-1e6, 1e6),
    share=st.floats(0, 1),
)
def test_a_scale_is_linear_either_way(low: float, high: float, share: float):
    if abs(high - low) < 1e-3:
        return
    scale = Scale(low, high)
    assert scale.quality(low) == 0
    assert scale.quality(high) == 1
    assert scale.quality(low + share * (high - low)) == pytest.approx(share, abs=1e-6)


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.lists(st.integers())))
def test_a_quality_is_in_range_or_refused(grade: object):
    with contextlib.suppress(ValueError):
        assert 0 <= Scale().quality(grade) <= 1


@pytest.mark.parametrize(
    ("grade", "quality"),
    [
        (True, 1),
        (False, 0),
        ("True", 1),
        (" no ", 0),
        ("0.25", 0.25),
        (1 + 1e-12, 1),
        (-1e-12, 0),
    ],
)
def test_grades(grade: object, quality: float):
    assert Scale().quality(grade) == quality


def test_truth_values_are_the_ends_of_any_scale():
    assert Scale(1, 10).quality(True) == 1
    assert Scale(1, 10).quality("false") == 0
    assert Scale(10, 1).quality(1) == 1


@pytest.mark.parametrize("text", ["", "1", "1:1", "a:b", "0:inf", "nan:1", "0:1:2"])
def test_scales_that_are_none(text: str):
    with pytest.raises(ConfigError, match=r"must be LOW:HIGH"):
        Scale.parse(text)


@pytest.mark.parametrize("text", ["=x", "x=", "", "="])
def test_metrics_that_are_none(text: str):
    with pytest.raises(ConfigError, match=r"must be NAME or TASK=NAME"):
        MetricChoice.parse((text,))


def test_metrics():
    choice = MetricChoice.parse(("acc", "a=f1", "a=f1"))
    assert [choice.of(task) for task in (None, "a", "b")] == ["acc", "f1", "acc"]
    with pytest.raises(ConfigError, match=r"both 'acc' and 'f1'"):
        MetricChoice.parse(("acc", "f1"))
    with pytest.raises(ConfigError, match=r"both 'acc' and 'f1'"):
        MetricChoice.parse(("a=acc", "a=f1"))


def test_names_of_models():
    names = ModelNames.parse(["org/a=x=small", "b=large"])
    assert names.of("org/a=x") == "small"
    assert names.of("c") == "c"
    names.check(["org/a=x", "b", ""])
    with pytest.raises(ConfigError, match=r"renames 'b', of which there is no row; there are c"):
        ModelNames.parse(["b=large"]).check(["c"])
    with pytest.raises(DataError, match=r"the rows are of 12 models: .* and 4 more"):
        ModelNames.parse(["one"]).check([f"m{i}" for i in range(12)])
    assert ModelNames.parse(["one"]).of("anything") == "one"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("",), "must be NAME or OLD=NEW"),
        (("a=",), "must be NAME or OLD=NEW"),
        (("=a",), "must be NAME or OLD=NEW"),
        (("a=b", "a=c"), "names 'a' twice"),
        (("a", "b"), "gives all rows two names"),
        (("a", "b=c"), "give either one NAME"),
    ],
)
def test_names_that_contradict(texts: tuple[str, ...], reason: str):
    with pytest.raises(ConfigError, match=reason):
        ModelNames.parse(texts)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("prompt",), "must be FIELD=NAME"),
        (("prompt=",), "must be FIELD=NAME"),
        (("promt=x",), "there is no field 'promt': did you mean 'prompt'"),
        (("embedding=x",), "there is no field 'embedding'"),
        (("prompt=x", "prompt=y"), "names 'prompt' twice"),
    ],
)
def test_columns_that_contradict(texts: tuple[str, ...], reason: str):
    with pytest.raises(ConfigError, match=reason):
        parse_columns(texts)


@pytest.mark.parametrize("grade", [math.nan, math.inf, 10**400, -(10**400), "nan", "", [], {}])
def test_what_is_no_grade(grade: object):
    with pytest.raises(ValueError, match=r"which is no grade"):
        Scale().quality(grade)


ITEMS = st.one_of(
    st.builds(
        ImportedRun,
        file=st.just("f"),
        row=st.integers(1, 9),
        prompt=st.sampled_from(["a", "b", "", 3]),
        model=st.sampled_from(["m", "n", ""]),
        grade=st.sampled_from([0, 0.5, 1, 2, None]),
        prompt_id=st.sampled_from([None, "1", "2"]),
    ),
    st.builds(LeftOut, st.sampled_from(["x", "y"]), st.just("f"), n_rows=st.integers(1, 3)),
    st.builds(Problem, st.just("bad"), st.just("is bad"), st.just("f"), st.integers(1, 9)),
)


@given(
    st.lists(ITEMS, max_size=30),
    st.sampled_from(["error", "first", "mean"]),
    st.one_of(st.none(), st.integers(1, 2)),
)
def test_every_row_is_accounted_for(items: list[Item], repeats: Repeats, limit: int | None):
    merger = RunMerger(Scale(), ModelNames(), "csv", repeats=repeats, limit=limit)
    merger.add(items)
    merged = merger.finish()
    assert merged.n_read == sum(getattr(item, "n_rows", 1) for item in items)
    lost = len(merged.problems) + count_reasons(merged.left_out).total() + merged.n_repeated
    if repeats != "mean":
        assert merged.n_read == len(merged.rows) + lost
    else:
        graded = merged.n_read - lost
        assert len(merged.rows) <= graded
        assert merged.n_averaged == 0 or len(merged.rows) < graded
    pairs = [(row["prompt_id"], row["prompt"], row["model"]) for row in merged.rows]
    assert len(set(pairs)) == len(pairs)
    assert limit is None or len({pair[:2] for pair in pairs}) <= limit
