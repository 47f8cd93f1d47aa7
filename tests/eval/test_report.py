import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from router.errors import MissingExtraError
from router.eval.baselines import Cheapest, Clusters, ZeroRouter
from router.eval.benchmark import run_benchmark
from router.eval.learning_curve import CurvePoint, LearningCurve
from router.eval.report import render_benchmark, write_report
from router.eval.result import HEADLINE, MethodResult
from router.eval.served import SERVED_DIFFERENCE

HOSTILE = '<script>alert("x")</script> & $a_b$ | `c` *d*'
VOID = {"meta", "br", "link", "img"}


@pytest.fixture(scope="module")
def result(specialists, router_method):
    return run_benchmark(
        specialists.matrix,
        specialists.pool,
        router_method,
        features=specialists.features,
        baselines=(Cheapest(), ZeroRouter(), Clusters()),
        seeds=(0, 1, 2),
    )


@pytest.fixture(scope="module")
def hostile(result):
    names = {"cheapest": HOSTILE, "k-means clusters": "集群 ☃"}
    return replace(
        result,
        pool=HOSTILE,
        models=tuple(replace(model, name=f"{HOSTILE} {model.name}") for model in result.models),
        baselines=tuple(
            replace(method, name=names.get(method.name, method.name)) for method in result.baselines
        ),
        data=replace(result.data, runs=(HOSTILE,)),
    )


def _written(result, folder):
    write_report(result, folder)
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


class _Page(HTMLParser):
    """Text and tags of a page; fails on tags that do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "title" not in self.open and data.strip():
            self.texts.append(data.strip())


def test_three_files_that_say_the_verdict_first(result, tmp_path):
    files = _written(result, tmp_path / "deep" / "report")
    assert list(files) == ["report.html", "report.json", "report.md"]
    assert _Page(files["report.html"]).texts[0] == result.verdict()
    assert files["report.md"].replace("\\", "").startswith(f"**{result.verdict()}**")
    assert next(iter(json.loads(files["report.json"]).items())) == ("verdict", result.verdict())
    assert json.loads(files["report.json"]) == result.to_dict()


def test_page_needs_nothing_else_and_is_small(result, tmp_path):
    page = _written(result, tmp_path)["report.html"]
    assert len(page) < 2_000_000
    for tag, attributes in _Page(page).tags:
        assert tag not in {"script", "link", "img", "iframe"}
        for name in ("src", "href", "xlink:href", "data"):
            assert attributes.get(name, "#").startswith("#")
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_page_follows_light_and_dark_screens(result, tmp_path):
    page = _written(result, tmp_path)["report.html"]
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") == 3
    assert "currentColor" in page
    assert "#010203" not in page
    assert page.count('role="img"') == 3


def test_tables_have_every_method_and_no_nan(result, tmp_path):
    files = _written(result, tmp_path)
    texts = _Page(files["report.html"]).texts
    for method in result.methods:
        assert method.name in texts
    assert not any(re.search(r"\bnan\b", text) for text in texts)
    assert "nan" not in re.findall(r"\w+", files["report.md"])
    assert not re.search(r"\bnan\b", render_benchmark(result))
    found = result.router.interval("log_energy_ratio")
    assert f"{found.mean:+.3f}" in texts
    assert f"{found.low:+.3f} to {found.high:+.3f}" in texts


def test_markdown_tables_have_one_cell_for_each_column(hostile, tmp_path):
    lines = _written(hostile, tmp_path)["report.md"].splitlines()
    widths = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            width = len(re.split(r"(?<!\\)\|", line)) - 2
            widths.append(width)
            if before.startswith("|"):
                assert width == widths[-2]
    assert len(widths) > 30


def test_hostile_names_are_only_text(hostile, tmp_path):
    files = _written(hostile, tmp_path)
    page = _Page(files["report.html"])
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert HOSTILE in page.texts
    # Once in a table and once in each plot that names it.
    assert page.texts.count(HOSTILE) >= 3
    assert "集群 ☃" in page.texts
    assert "<script" not in files["report.html"]
    assert "<script" not in files["report.md"].replace("\\<", "")
    json.loads(files["report.json"])


def test_same_result_same_files(result, tmp_path):
    assert _written(result, tmp_path / "a") == _written(result, tmp_path / "b")


def test_terminal_shows_verdict_and_tables(result):
    text = render_benchmark(result)
    assert " ".join(text.split()).startswith(result.verdict())
    assert "Energy at equal quality" in text
    assert "oracle" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_one_seed_and_unknown_lengths_read_well(make_case, make_matrix, router_method, tmp_path):
    quality = np.random.default_rng(0).integers(0, 2, (40, 3))
    tokens = np.full((40, 3), 50.0)
    tokens[:, 2] = np.nan
    case = make_case(make_matrix(quality, completion_tokens=tokens))
    result = run_benchmark(
        case.matrix,
        case.pool,
        router_method,
        seeds=[0],
        features=case.features,
        baselines=[Cheapest()],
    )
    files = _written(result, tmp_path)
    text = "\n".join(_Page(files["report.html"]).texts)
    assert "No verdict on WattRoute, one seed gives no interval" in text
    assert "assumed or typical one for large: their energy rests on it" in text
    assert "nan" not in re.findall(r"\w+", text)


def test_method_without_a_frontier_is_left_out_of_the_plot(result, tmp_path):
    blank = MethodResult("blank", result.router.per_seed, np.empty((0, 2)))
    files = _written(replace(result, baselines=(*result.baselines, blank)), tmp_path)
    assert "blank" in files["report.html"]


def test_more_baselines_than_colours(result, tmp_path):
    many = [replace(result.baselines[0], name=f"copy {i}") for i in range(30)]
    files = _written(replace(result, baselines=(*result.baselines, *many)), tmp_path)
    assert files["report.html"].count("copy 29") >= 3


def test_without_matplotlib_the_extra_is_named(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[train\]"):
        write_report(result, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_learning_curve_takes_its_place_before_the_method(result, tmp_path):
    point = CurvePoint(60, {HEADLINE: (-0.1, -0.2), SERVED_DIFFERENCE: (-0.1, 0.0)})
    curve = LearningCurve("three", (0, 1), (point,))
    write_report(result, tmp_path, curve)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.index("Learning curve</h2>") < page.index("Method and limits</h2>")
    assert page.count("<svg") == 4
    assert json.loads((tmp_path / "report.json").read_text())["learning_curve"]["pool"] == "three"
    assert "learning_curve" not in result.to_dict()
