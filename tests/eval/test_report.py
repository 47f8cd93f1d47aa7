import hashlib
import json
import re
import sys
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import router.eval.report
from router.calibration import Calibration, GroupEvidence
from router.dial import Setting
from router.errors import ConfigError, MissingExtraError
from router.eval.baselines import Cheapest, Clusters, ZeroRouter
from router.eval.benchmark import run_benchmark
from router.eval.learning_curve import CurvePoint, LearningCurve
from router.eval.protocol import QUALITY_BARS, SERVED_BARS
from router.eval.report import render_benchmark, write_report
from router.eval.report.explorer import script_json
from router.eval.report.sections import Section, Table
from router.eval.result import HEADLINE, TASK_BAR, MethodResult
from router.eval.served import SERVED_DIFFERENCE
from router.floors import FloorEvidence

HOSTILE = '<script>alert("x")</script> & $a_b$ | `c` *d*'
UGLY = f"{HOSTILE}</script>\x00\x07\u202e\ud800 ' onload=x]]>--><!-- {{}}"
VOID = {"meta", "br", "link", "img", "input"}
SECTIONS = [
    "Energy at equal quality",
    "Quality against energy",
    "What you get at a quality bar",
    "Energy saved per day",
    "Certificates",
    "Tasks",
    "Worst decisions",
    "Predictions",
    "Learning curve",
    "Cost of the router itself",
    "Models",
    "Data",
    "Tuning of the baselines",
    "Method and limits",
]


class ServingRouter:
    """The router of the other tests, which here says what it would serve."""

    name = "WattRoute"

    def __init__(self, router):
        self.router = router

    def run(self, split):
        outcome = self.router.run(split)
        settings = np.linspace(0, len(outcome.choices) - 1, len(SERVED_BARS)).astype(int)
        return replace(outcome, served=outcome.choices[settings])


@pytest.fixture(scope="module")
def result(specialists, router_method):
    return run_benchmark(
        specialists.matrix,
        specialists.pool,
        ServingRouter(router_method),
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
        reliability=tuple(replace(curve, model=UGLY) for curve in result.reliability),
        lengths=tuple(replace(fit, model=UGLY) for fit in result.lengths),
        tasks=tuple(replace(task, task=f"{UGLY}{i}") for i, task in enumerate(result.tasks)),
        regrets=tuple(
            replace(regret, text=UGLY, prompt_id=UGLY, chosen=UGLY, better=HOSTILE)
            for regret in result.regrets
        ),
    )


@pytest.fixture(scope="module")
def calibration():
    n_levels, n_bars = 2, 4

    def group(name, n, steps):
        rows = tuple((steps,) * n_bars for _ in range(n_levels))
        return GroupEvidence(name, n, 0.8, (0.99, 0.97), (0.6, 0.4), (0.2, 0.3), rows)

    return Calibration(
        path=(Setting(0.1, 0.0), Setting(0.2, 0.0)),
        confidences=(0.8, 0.9),
        bars=QUALITY_BARS,
        groups=(group("", 500, 2), group(HOSTILE, 60, 0)),
        floors=FloorEvidence(0, (), (), (), (), ()),
        method="exact",
        date="2026-11-30",
        data_digest="d",
    )


@pytest.fixture(scope="module")
def curve():
    point = CurvePoint(60, {HEADLINE: (-0.1, -0.2), SERVED_DIFFERENCE: (-0.1, 0.0)})
    return LearningCurve("three", (0, 1), (point,))


@pytest.fixture(scope="module")
def files(result, curve, calibration, tmp_path_factory):
    """A report of everything."""
    folder = tmp_path_factory.mktemp("full")
    return _written(result, folder, curve, calibration=calibration)


@pytest.fixture(scope="module")
def hostile_files(hostile, curve, calibration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return _written(hostile, folder, curve, calibration=calibration)


@pytest.fixture
def _no_plots(monkeypatch):
    """Leave the plots out, which take longest, where they do not matter."""
    monkeypatch.setattr(router.eval.report, "benchmark_figures", lambda result: {})
    monkeypatch.setattr(router.eval.report, "curve_figure", lambda curve: "")


def _written(result, folder, *args, **options):
    write_report(result, folder, *args, **options)
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


class _Page(HTMLParser):
    """Text and tags of a page; fails on tags that do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.scripts, self.rows = [], [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open and "title" not in self.open and data.strip():
            self.texts.append(data.strip())
        if self.open[-1:] in (["th"], ["td"]):
            self.rows[-1][-1] += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def _markdown_rows(text):
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows if not set(row) <= set("|-: ")]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in cells]


@pytest.mark.usefixtures("_no_plots")
def test_three_files_that_say_the_verdict_first(result, tmp_path):
    files = _written(result, tmp_path / "deep" / "report")
    assert list(files) == ["report.html", "report.json", "report.md"]
    texts = _Page(files["report.html"]).texts
    assert texts[0].startswith("WattRoute beats every random mix of fixed models: ")
    assert result.verdict() in texts
    markdown = files["report.md"].replace("\\", "")
    assert markdown.startswith(f"**{texts[0]}**")
    assert result.verdict() in markdown
    assert next(iter(json.loads(files["report.json"]).items())) == ("verdict", result.verdict())
    assert json.loads(files["report.json"]) == result.to_dict()


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize(
    ("values", "tone", "words"),
    [
        ((-0.5, -0.4, -0.45), "good", "beats every random mix of fixed models: 36% less"),
        ((0.3, 0.31, 0.32), "bad", "does not beat a random mix of fixed models: 36% more"),
        ((-0.5, 0.4, 0.0), "unclear", "is not shown to beat a random mix of fixed models"),
        ((0.0, 0.0, 0.0), "unclear", "is not shown to beat a random mix of fixed models: about"),
    ],
)
def test_first_line_says_when_a_random_mix_is_not_beaten(result, tmp_path, values, tone, words):
    router = replace(result.router, per_seed={**result.router.per_seed, HEADLINE: values})
    files = _written(replace(result, router=router), tmp_path)
    page = _Page(files["report.html"])
    assert words in page.texts[0]
    assert page.named("header")[0]["class"] == tone
    assert words in files["report.md"].splitlines()[0]


@pytest.mark.usefixtures("_no_plots")
def test_a_bar_that_was_missed_is_said_in_the_summary(result, tmp_path):
    missed = replace(result.served.at(TASK_BAR), quality=(0.9, 0.99, 0.97))
    bars = tuple(missed if bar.bar == TASK_BAR else bar for bar in result.served.bars)
    other = replace(result, served=replace(result.served, bars=bars))
    texts = " ".join(_Page(_written(other, tmp_path)["report.html"]).texts[:4])
    assert "kept less than the bar 0.98 in 2 of 3 splits, 90.0% at worst" in texts


def test_all_sections_are_there_in_both(files):
    found = re.findall(r"<h2>(.*?)</h2>", files["report.html"])
    assert found == [*SECTIONS[:9], "What is served at each bar", *SECTIONS[9:]]
    assert re.findall(r"^## (.*)$", files["report.md"], re.MULTILINE) == found
    links = [a["href"][1:] for a in _Page(files["report.html"]).named("a")]
    ids = [tag["id"] for _, tag in _Page(files["report.html"]).tags if "id" in tag]
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))
    assert len(links) == len(found) + 1


def test_sections_without_data_are_left_out(result, tmp_path):
    bare = replace(result, served=None, tasks=(), regrets=(), lengths=(), reliability=())
    files = _written(bare, tmp_path)
    found = re.findall(r"<h2>(.*?)</h2>", files["report.html"])
    gone = {*SECTIONS[2:7], "Learning curve"}
    assert found == [title for title in SECTIONS if title not in gone]
    page = _Page(files["report.html"])
    assert "explorer" not in {tag.get("id") for _, tag in page.tags}
    assert page.named("svg")
    assert "Lengths of answers" not in files["report.md"]
    assert json.loads(files["report.json"])["served"] is None


@pytest.mark.usefixtures("_no_plots")
def test_a_description_of_the_runs_is_shown_with_the_data(result, tmp_path):
    runs = Section("Repeats", ("Some.",), Table(("what", "n"), (("same", "3"),), "<>"))
    files = _written(result, tmp_path, runs=(runs, runs))
    page = files["report.html"]
    assert page.index("<h2>Data</h2>") < page.index("<h3>Repeats</h3>")
    assert page.index("<h3>Repeats</h3>") < page.index("<h2>Method and limits</h2>")
    assert "### Repeats" in files["report.md"]


def test_page_needs_nothing_else_and_is_small(hostile_files):
    page = hostile_files["report.html"]
    assert len(page.encode("utf-8")) < 2_000_000
    for tag, attributes in _Page(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert attributes.get(name, "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_policy_allows_no_script_but_the_pages_own(hostile_files):
    page = _Page(hostile_files["report.html"])
    (policy,) = [meta["content"] for meta in page.named("meta") if "http-equiv" in meta]
    data, script = page.scripts
    digest = b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert [tag.get("type") for tag in page.named("script")] == ["application/json", None]
    assert json.loads(data)["n_seeds"] == 3
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in script


def test_page_follows_light_and_dark_screens_and_both_widths(files):
    page = files["report.html"]
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "currentColor" in page
    assert not re.search(r"#0103[0-9a-f]{2}|#01020[345]", page)
    drawn = [svg for svg in _Page(page).named("svg") if svg.get("role") == "img"]
    assert [svg["class"] for svg in drawn] == ["wide", "narrow"] * 5
    assert all(svg["aria-label"] for svg in drawn)


def test_tables_have_every_method_and_no_nan(result, files):
    texts = _Page(files["report.html"]).texts
    for method in result.methods:
        assert method.name in texts
    assert not any(re.search(r"\bnan\b", text) for text in texts)
    assert "nan" not in re.findall(r"\w+", files["report.md"])
    assert not re.search(r"\bnan\b", render_benchmark(result))
    found = result.router.interval("log_energy_ratio")
    assert f"{found.mean:+.3f}" in texts
    assert f"{found.low:+.3f} to {found.high:+.3f}" in texts


def test_page_and_markdown_have_the_same_tables(files):
    page = [row for row in _Page(files["report.html"]).rows if row]
    cards = [row for row in _markdown_rows(files["report.md"])[:7] if len(row) == 3]
    markdown = _markdown_rows(files["report.md"])[len(cards) :]
    assert [[" ".join(cell.split()) for cell in row] for row in page] == markdown
    assert len(page) > 60


def test_page_and_json_have_the_same_figures(files):
    rows = [tuple(row) for row in _Page(files["report.html"]).rows]
    found = json.loads(files["report.json"])
    for bar in found["served"]["bars"]:
        if bar["bar"] not in QUALITY_BARS:
            continue
        kept, spent = bar["quality"], bar["energy"]
        cells = [row for row in rows if len(row) == 8 and row[0] == f"{bar['bar']:.2f}"]
        half = kept["high"] - kept["mean"]
        assert [row[1] for row in cells] == [f"{100 * kept['mean']:.1f} ± {100 * half:.1f}"]
        assert cells[0][2].startswith(f"{100 * spent['mean']:.1f} ± ")
        assert cells[0][3] == f"{bar['n_kept']} of 3"
        saved_wh = bar["saved_j"]["mean"] * 1000 / 3600
        (line,) = [row for row in rows if len(row) == 5 and row[0] == f"{bar['bar']:.2f}"]
        assert float(line[1].removesuffix(" Wh")) == pytest.approx(saved_wh, rel=0.01)
    for task in found["tasks"]:
        (row,) = [row for row in rows if row[:1] == (task["task"],)]
        assert row[1:4] == (
            f"{task['n_prompts']:,}",
            f"{100 * task['quality']:.1f}",
            f"{100 * task['reference_quality']:.1f}",
        )
    for fit in found["lengths"]:
        assert any(row[0] == fit["model"] and f"{fit['half_within']:.2f}" in row for row in rows)


def test_script_gets_the_figures_of_the_json(files):
    data = json.loads(_Page(files["report.html"]).scripts[0])
    found = json.loads(files["report.json"])
    assert data["bars"] == found["served"]["bars"]
    assert [model["name"] for model in data["models"]] == [m["name"] for m in found["models"]]
    for method in data["methods"]:
        assert method["points"] == [
            [round(x, 5), round(y, 5)] for x, y in found["frontiers"][method["name"]]
        ]
    ids = {tag.get("id") for _, tag in _Page(files["report.html"]).tags}
    for i in range(len(data["methods"])):
        assert {f"frontier-wide-line-{i}", f"frontier-narrow-line-{i}"} <= ids


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>", "\u2028 & '"])
def test_data_cannot_end_the_script_that_it_stands_in(text):
    stored = script_json({"name": text})
    assert not set(stored) & set("<>&\u2028")
    assert json.loads(stored) == {"name": text}


def test_certificates_say_what_is_promised_and_what_is_not(files):
    rows = _Page(files["report.html"]).rows
    assert ["all traffic", "500", "0.9", "40%", "40%", "40%", "40%"] in rows
    (group,) = [row for row in rows if row[0] == HOSTILE and row[1] == "60"]
    assert group[3].startswith("no (about ")
    assert group[6] == "no"
    assert "certified are 0.90, 0.95, 0.98, 1.00" in files["report.md"]
    assert json.loads(files["report.json"])["calibration"]["date"] == "2026-11-30"


@pytest.mark.usefixtures("_no_plots")
def test_prompts_can_be_left_out(result, tmp_path):
    files = _written(result, tmp_path / "with")
    texts = {regret.text for regret in result.regrets}
    assert texts
    assert all(text in files["report.html"] for text in texts)
    without = _written(result, tmp_path / "without", prompts=False)
    for name, page in without.items():
        assert not [text for text in texts if text in page], name
        assert result.regrets[0].prompt_id in page
    found = json.loads(without["report.json"])["worst_decisions"]
    assert {decision["text"] for decision in found} == {None}


@pytest.mark.usefixtures("_no_plots")
def test_long_tables_are_folded_in_pages_alone(result, tmp_path):
    task = result.tasks[0]
    many = tuple(replace(task, task=f"task {i}") for i in range(90))
    files = _written(replace(result, tasks=many), tmp_path)
    assert "<summary>The other 70 rows</summary>" in files["report.html"]
    assert all(f"task {i}" in files["report.md"] for i in range(90))
    assert all(f">task {i}<" in files["report.html"] for i in range(90))


def test_markdown_tables_have_one_cell_for_each_column(hostile_files):
    lines = hostile_files["report.md"].splitlines()
    widths = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            width = len(re.split(r"(?<!\\)\|", line)) - 2
            widths.append(width)
            if before.startswith("|"):
                assert width == widths[-2]
    assert len(widths) > 30


def test_hostile_texts_are_only_text(hostile_files):
    files = hostile_files
    page = _Page(files["report.html"])
    assert len(page.named("script")) == 2
    assert HOSTILE in page.texts
    assert "集群 ☃" in page.texts
    assert page.texts.count(HOSTILE) >= 3
    outside = files["report.html"].replace("<script>", "", 1)
    assert "<script>alert" not in outside
    assert outside.count("</script>") == 2
    assert not re.search("[\x00\x07\u202e]", files["report.html"] + files["report.md"])
    assert "<script" not in files["report.md"].replace("\\<", "")
    json.loads(files["report.json"])


def test_same_result_same_files(result, files, curve, calibration, tmp_path):
    assert files == _written(result, tmp_path, curve, calibration=calibration)


def test_terminal_shows_verdict_and_tables(result):
    text = render_benchmark(result)
    assert " ".join(text.split()).startswith(result.verdict())
    assert "Energy at equal quality" in text
    assert "What you get at a quality bar" in text
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
        ServingRouter(router_method),
        seeds=[0],
        features=case.features,
        baselines=[Cheapest()],
    )
    files = _written(result, tmp_path)
    text = "\n".join(_Page(files["report.html"]).texts)
    assert "is not shown to beat a random mix of fixed models: one split gives" in text
    assert "No verdict on WattRoute, one seed gives no interval" in text
    assert "assumed or typical one for large: their energy rests on it" in text
    assert "none of known length" in text
    assert "nan" not in re.findall(r"\w+", text)


def test_what_is_served_must_fit(specialists, router_method):
    class Wrong(ServingRouter):
        def run(self, split):
            outcome = super().run(split)
            return replace(outcome, served=outcome.served[:3])

    class Unknown(ServingRouter):
        def run(self, split):
            outcome = super().run(split)
            return replace(outcome, served=outcome.served + 5)

    for method, words in ((Wrong, r"served must have shape \(21, "), (Unknown, "columns from 0")):
        with pytest.raises(ConfigError, match=words):
            run_benchmark(
                specialists.matrix,
                specialists.pool,
                method(router_method),
                features=specialists.features,
                baselines=(),
                seeds=[0],
            )


def test_method_without_a_frontier_is_left_out_of_the_plot(result, tmp_path):
    blank = MethodResult("blank", result.router.per_seed, np.empty((0, 2)))
    files = _written(replace(result, baselines=(*result.baselines, blank)), tmp_path)
    data = json.loads(_Page(files["report.html"]).scripts[0])
    assert "blank" in files["report.html"]
    assert "blank" not in [method["name"] for method in data["methods"]]


def test_more_baselines_than_colours(result, tmp_path):
    many = [replace(result.baselines[0], name=f"copy {i}") for i in range(30)]
    files = _written(replace(result, baselines=(*result.baselines, *many)), tmp_path)
    assert files["report.html"].count("copy 29") >= 3


def test_without_matplotlib_the_extra_is_named(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[train\]"):
        write_report(result, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_learning_curve_takes_its_place_before_the_method(result, files):
    page = files["report.html"]
    assert page.index("Learning curve</h2>") < page.index("Method and limits</h2>")
    assert 'id="plot-curve"' in page
    assert json.loads(files["report.json"])["learning_curve"]["pool"] == "three"
    assert "learning_curve" not in result.to_dict()
