from __future__ import annotations

import json

import pytest

from router.eval.baselines import default_baselines
from router.training.commands.learning_curve import parse_sizes


def test_a_curve_with_its_report(here):
    result = here.run(
        "learning-curve", "pool.toml", "runs.csv", "--sizes", "25,9999", "--seeds", 2,
        "--out", "out/curve", "--json",
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert [point["size"] for point in shown["points"]] == [25, 42]
    assert shown["seeds"] == [0, 1]
    for point in shown["points"]:
        assert len(point["figures"]["served_log_energy_ratio"]["per_seed"]) == 2
        assert point["figures"]["log_energy_ratio"]["mean"] < 0.02
    stored = json.loads((here.folder / "out" / "curve" / "report.json").read_text())
    assert stored == shown
    assert "25 prompts, seed 1: log_energy_ratio" in result.stderr


def test_spoilt_runs_as_text(here):
    result = here.run(
        "learning-curve", "pool.toml", "runs.csv", "--sizes", "", "--seeds", 1,
        "--corrupt", "flip:0.1",
    )  # fmt: skip
    assert result.stdout.startswith("Runs made worse by flip:0.1.")
    assert "What is served at each bar" in result.stdout


def test_mistakes_are_one_line(here):
    curve = ("learning-curve", "pool.toml", "runs.csv")
    assert "whole numbers" in here.fails(*curve, "--sizes", "50,many")
    assert "sizes has 5: training takes at least 20" in here.fails(*curve, "--sizes", "5")
    assert "did you mean 'flip'" in here.fails(*curve, "--corrupt", "flop")
    assert "no tasks" not in here.fails(*curve, "--corrupt", "flip:2")
    assert "no.toml" in here.fails("learning-curve", "no.toml")
    assert "runs.csv cannot be made" in here.fails(*curve, "--out", "runs.csv")


def test_sizes_may_be_few():
    assert parse_sizes("50, 200,") == (50, 200)
    assert parse_sizes("") == ()


def test_help_has_an_example(here):
    shown = here.run("learning-curve", "--help").stdout
    assert "  wattroute learning-curve pool.toml" in shown.partition("Examples:")[2]


def test_a_benchmark_with_a_curve(here, monkeypatch: pytest.MonkeyPatch):
    methods = default_baselines()[:3]
    monkeypatch.setattr("router.eval.benchmark.default_baselines", lambda: methods)
    bench = ("benchmark", "pool.toml", "runs.csv", "--seeds", 1, "--learning-curve")
    shown = here.run(*bench, "--json", "--report", "with-curve").stdout
    curve = json.loads(shown)["learning_curve"]
    assert [point["size"] for point in curve["points"]] == [42]
    # The full split is the benchmark's own.
    figures = json.loads(shown)["figures"]["wattroute"]["log_energy_ratio"]
    assert curve["points"][0]["figures"]["log_energy_ratio"]["mean"] == figures["mean"]
    page = (here.folder / "with-curve" / "report.html").read_text(encoding="utf-8")
    assert "Learning curve</h2>" in page
    assert "training prompts  frontier" in here.run(*bench).stdout


def test_training_warns_that_prompts_are_few(here):
    shown = here.train("runs.csv", "--pool", "pool.toml", "--out", "few").stdout
    assert "Warning: 60 graded prompts, more would pay" in shown
    card = (here.folder / "few" / "README.md").read_text(encoding="utf-8")
    assert "60 graded prompts, more would pay" in card
    words = ("runs.csv", "--pool", "pool.toml", "--out", "few", "--json")
    assert json.loads(here.train(*words).stdout)["forecast"]["worth_it"] is True
    shown = here.train(*words, "--no-forecast").stdout
    assert json.loads(shown)["forecast"] is None
    assert "More prompts" not in (here.folder / "few" / "README.md").read_text(encoding="utf-8")
