from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from router.eval.baselines import default_baselines
from router.eval.result import BenchmarkResult
from router.training.ingest import load_runs
from router.training.tracking import NullTracker

COMMANDS = ("train", "benchmark", "evaluate", "demo")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the baselines that take long, the last ones; they have tests of their own."""
    methods = default_baselines()[:6]
    monkeypatch.setattr("router.eval.benchmark.default_baselines", lambda: methods)


@pytest.mark.usefixtures("quick")
def test_a_benchmark_with_all_its_files(here):
    result = here.run(
        "benchmark", "pool.toml", "runs.csv", "--seeds", 2, "--json",
        "--report", "out/report", "--decisions", "out/decisions.parquet",
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert shown["seeds"] == [0, 1]
    assert {"zero router", "oracle", "kNN"} <= set(shown["figures"])
    assert shown == json.loads((here.folder / "out" / "report" / "report.json").read_text())
    decisions = pd.read_parquet(here.folder / "out" / "decisions.parquet")
    assert set(decisions["run_name"]) <= {"small", "middle", "large"}
    assert "seed 1 (2 of 2)" in result.stderr


def test_benchmark_errors_are_one_line(here):
    assert "either POOL.toml or --default-runs" in here.fails(
        "benchmark", "pool.toml", "--default-runs"
    )
    assert "no.toml" in here.fails("benchmark", "no.toml")
    assert "names no runs" in here.fails("benchmark", "pool.toml")
    taken = ("benchmark", "pool.toml", "runs.csv", "--report", "runs.csv")
    assert "runs.csv cannot be made" in here.fails(*taken)
    usage = here.run("benchmark", code=2)
    assert "give a POOL.toml or --default-runs" in usage.stderr


def test_what_a_benchmark_reads_is_not_overwritten(here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("router.training.commands.benchmark.run_benchmark")  # refused before it
    text = Path("pool.toml").read_text(encoding="utf-8")
    Path("named.toml").write_text('runs = ["runs.parquet"]\n' + text, encoding="utf-8")
    rules = ("--rules", "rules.toml")
    Path("rules.toml").write_text("", encoding="utf-8")
    for words in (
        ("pool.toml", "runs.csv", "--decisions", "./runs.csv"),
        ("pool.toml", "runs.csv", "--decisions", "pool.toml"),
        ("named.toml", "--decisions", "runs.parquet"),
        ("pool.toml", "runs.csv", *rules, "--decisions", "rules.toml"),
    ):
        before = Path(words[-1]).read_bytes()
        assert "is a file that is read" in here.fails("benchmark", *words)
        assert Path(words[-1]).read_bytes() == before
    folder = ("pool.toml", "runs.csv", "--decisions", "router")
    assert "router is a folder" in here.fails("benchmark", *folder)


@pytest.mark.usefixtures("quick")
def test_decisions_that_cannot_be_written_leave_the_figures(here, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError("error writing bytes to file")  # as pyarrow says it, without a name

    monkeypatch.setattr(BenchmarkResult, "write_decisions", full)
    words = ("benchmark", "pool.toml", "runs.csv", "--seeds", 1, "--decisions", "no.parquet")
    result = here.run(*words, code=2)
    assert "zero router" in result.stdout
    assert "error: no.parquet cannot be written: error writing bytes" in result.stderr


@pytest.fixture
def default_runs(here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand small runs in for the default ones, which take minutes to regenerate."""
    loaded = SimpleNamespace(runs=load_runs("runs.csv"), summary=lambda: "Default runs: 180.")
    for module in ("train", "benchmark", "demo"):
        name = f"router.training.commands.{module}"
        monkeypatch.setattr(f"{name}.load_default_runs", lambda **options: loaded)
        monkeypatch.setattr(f"{name}.DEFAULT_POOL_FILE", here.folder / "pool.toml")


@pytest.mark.usefixtures("default_runs", "quick")
def test_the_default_runs(here):
    assert "Default runs: 180." in here.train("--default-runs", "--out", "f").stderr
    card = (here.folder / "f" / "README.md").read_text(encoding="utf-8")
    assert "wattroute train --default-runs --splits 0 --seed 0 --out f" in card
    assert "reasoning-gym" in card
    shown = here.run("benchmark", "--default-runs", "--seeds", 1, "--json").stdout
    assert json.loads(shown)["seeds"] == [0]


@pytest.mark.usefixtures("default_runs", "quick")
def test_the_demo_does_everything_once(here, monkeypatch: pytest.MonkeyPatch):
    class Tracker(NullTracker):
        tracking_uri = "sqlite:///mlflow.db"

    monkeypatch.setattr("router.training.commands.demo.MlflowTracker", lambda run_name: Tracker())
    result = here.run("demo", "--out", "tried", "--seeds", 1)
    for step in range(1, 5):
        assert f"{step} of 4: " in result.stderr
    assert "tracked in sqlite:///mlflow.db" in result.stderr
    assert (here.folder / "tried" / "report" / "report.html").is_file()
    assert result.stdout.count("\n> ") == 3
    for model in ("small-api", "middle-api", "large-api"):
        assert result.stdout.count(model) >= 3
    route = ("route", "--router", "tried/router", "Add 4 to 5.", "--json")
    assert json.loads(here.run(*route).stdout)["model"].endswith("-api")
    (here.folder / "taken").write_text("x", encoding="utf-8")
    assert "taken cannot be made" in here.fails("demo", "--out", "taken")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(here, command: str):
    shown = here.run(command, "--help").stdout
    assert f"  wattroute {command}" in shown.partition("Examples:")[2]
    assert "--json" in shown
