"""Number formats, and plots that fit the page that they stand in."""

from __future__ import annotations

import math
import re
from xml.dom import minidom

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.eval.intervals import Interval
from router.eval.report.figures import energies, energy, number, percent, points, share, span, tidy
from router.eval.report.labels import place_labels
from router.eval.report.svg import INK, OWN, new_figure, plot_text, series, style, to_svg

NAN = float("nan")
NONE = Interval(NAN, NAN, NAN)


@pytest.mark.parametrize(
    ("joules", "text"),
    [
        (0.0, "0.000 Wh"),
        (3600.0, "1.00 Wh"),
        (-7.2e6, "-2.00 kWh"),
        (3.6e6, "1.00 kWh"),
        (4.5e8, "125 kWh"),
        (8.1e12, "2,250 MWh"),
        (NAN, "-"),
    ],
)
def test_energy_in_a_unit_that_fits(joules, text):
    assert energy(joules) == text


def test_a_column_of_energies_has_one_unit():
    column = [Interval(3.6e8, 3.5e8, 3.7e8), Interval(-3.6e5, -3.6e6, 2.88e6), NONE]
    column.append(Interval(36.0, NAN, NAN))
    assert energies(column) == ["100.0 ± 2.8 kWh", "-0.1 ± 0.9 kWh", "-", "0.0 kWh"]
    assert energies([NONE]) == ["-"]
    assert energies([]) == []


def test_what_rounds_to_nothing_has_no_minus():
    assert span(Interval(0.0, -0.0001, -0.0)) == "+0.000 to +0.000"
    assert share(0.0) == "0%"
    assert share(0.001) == "<1%"
    assert percent(Interval(0.5, NAN, NAN)) == "50.0"
    assert points(Interval(-0.041, -0.1, 0.018)) == "-4.1 ± 5.9"
    assert number(1.7e3) == "1,700"


@given(st.text())
def test_tidy_text_can_be_written_and_shown(text):
    found = tidy(text)
    assert len(found) == len(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e]", found)
    found.encode("utf-8")


@settings(max_examples=12)
@given(st.text(max_size=60))
def test_any_text_can_be_plotted(text):
    figure = new_figure(2, 1)
    axes = figure.add_subplot()
    axes.set_title(plot_text(text))
    page = minidom.parseString(to_svg(figure, "x", text).encode("utf-8"))
    assert page.documentElement.tagName == "svg"


def test_colours_fonts_and_ids_are_the_pages():
    figure = new_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([1, 2], color=OWN)
    axes.plot([2, 1], color=series(3), gid="line-1")
    style(axes)
    axes.set_ylabel("text", color=INK)
    drawn = to_svg(figure, "first", 'a "label" <b>', axes, "wide")
    assert "var(--own)" in drawn
    assert "var(--s3)" in drawn
    assert "currentColor" in drawn
    assert "DejaVu" not in drawn
    assert "<style" not in drawn
    assert "<metadata" not in drawn
    svg = minidom.parseString(drawn).documentElement
    assert svg.getAttribute("aria-label") == 'a "label" <b>'
    ids = [e.getAttribute("id") for e in svg.getElementsByTagName("*") if e.hasAttribute("id")]
    assert len(ids) == len(set(ids))
    assert "first-line-1" in ids
    assert all(key.startswith("first-") for key in ids)
    links = re.findall(r'(?:href="#|url\(#)([^")]+)', drawn)
    assert links
    assert set(links) <= set(ids)


def test_scales_say_where_a_point_is():
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set(xlim=(0.01, 1), ylim=(0.5, 1))
    axes.plot([0.1], [0.75], "o", color=OWN, gid="spot")
    svg = minidom.parseString(to_svg(figure, "x", "", axes)).documentElement
    at = {key: float(svg.getAttribute(f"data-{key}")) for key in ("left", "right", "top", "bottom")}
    (spot,) = [e for e in svg.getElementsByTagName("g") if e.getAttribute("id") == "x-spot"]
    (use,) = spot.getElementsByTagName("use")
    assert float(use.getAttribute("x")) == pytest.approx((at["left"] + at["right"]) / 2, abs=0.01)
    assert float(use.getAttribute("y")) == pytest.approx((at["top"] + at["bottom"]) / 2, abs=0.01)
    assert svg.getAttribute("data-x0") == "0.01"


def test_labels_do_not_lie_on_each_other_and_stay_inside():
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    rng = np.random.default_rng(0)
    spots = rng.random((25, 2))
    n = place_labels(figure, axes, spots, [f"model-number-{i}" for i in range(25)], 8)
    assert 5 < n < 25
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == n
    room = axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert room.x0 <= box.x0 <= box.x1 <= room.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_labels_of_no_points():
    figure = new_figure(2, 2)
    assert place_labels(figure, figure.add_subplot(), np.empty((0, 2)), [], 8) == 0


def test_long_names_are_shortened_in_plots_and_dollars_are_text():
    assert plot_text("a" * 100, 10) == f"{'a' * 9}…"
    assert plot_text("$x$ \n y") == r"\$x\$ y"
    assert math.isnan(NONE.mean)
