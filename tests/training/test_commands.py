from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.eval.matrix import AnswerMatrix
from router.training.ingest import load_runs

COMMANDS = ("train", "benchmark", "evaluate", "demo")


@dataclass
class Here:
    """A working folder with runs in three formats, a pool file and a router."""

    folder: Path
    frame: pd.DataFrame

    def run(self, *words: object, code: int = 0) -> Result:
        """Run a command in the folder and check its exit code."""
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result

    def train(self, *words: object, code: int = 0) -> Result:
        """Train quickly: no held-out splits, no MLflow."""
        words = ("train", *words, "--splits", 0, "--no-tracking")
        return self.run(*words, code=code)

    def fails(self, *words: object) -> str:
        """Run a command that must fail, and return its one line of error."""
        result = self.run(*words, code=2)
        assert result.stdout == ""
        errors = [line for line in result.stderr.splitlines() if not re.match(r" +[\d.]+ s ", line)]
        assert errors[0].startswith("error: ")
        assert len(errors) == 1, errors
        return errors[0].removeprefix("error: ")


@pytest.fixture(scope="module")
def material(
    make_matrix: Callable[..., AnswerMatrix],
    make_frame: Callable[[AnswerMatrix], pd.DataFrame],
    pool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Here:
    folder = tmp_path_factory.mktemp("commands")
    frame = make_frame(make_matrix(60))
    frame.to_csv(folder / "runs.csv", index=False)
    frame.to_parquet(folder / "runs.parquet", index=False)
    frame.to_json(folder / "runs.jsonl", orient="records", lines=True)
    make_frame(make_matrix(90, seed=1)).to_csv(folder / "new.csv", index=False)
    (folder / "pool.toml").write_text(pool.to_toml(), encoding="utf-8")
    here = Here(folder, frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        here.train("runs.csv", "--pool", "pool.toml", "--out", "router")
    return here


@pytest.fixture
def here(material: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(material.folder)
    return material


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(here: Here, command: str):
    shown = here.run(command, "--help").stdout
    assert f"  wattroute {command}" in shown.partition("Examples:")[2]
    assert "--json" in shown


def test_training_shows_progress_and_the_result(here: Here):
    result = here.run("train", "runs.csv", "--pool", "pool.toml", "--out", "a", "--no-tracking")
    assert "a: 3 models, reference large-api" in result.stdout
    assert "log_energy_ratio" in result.stdout
    for line in result.stderr.splitlines():
        assert re.match(r" +\d+\.\d s   *\S", line)
    assert "180 runs of 60 prompts and 3 models from 1 file" in result.stderr
    assert not (here.folder / "mlruns").exists()
    card = (here.folder / "a" / "README.md").read_text(encoding="utf-8")
    assert "wattroute train runs.csv --pool pool.toml --splits 1 --seed 0 --out a" in card


def test_every_format_gives_the_same_router(here: Here):
    manifests = []
    for suffix in ("csv", "jsonl", "parquet"):
        found = here.train(
            f"runs.{suffix}", "--pool", "pool.toml", "--out", f"from-{suffix}", "--json"
        )
        shown = json.loads(found.stdout)
        assert shown["router"] == f"from-{suffix}"
        assert shown["n_prompts"] == 60
        assert shown["reference"] == "large-api"
        assert shown["held_out"] is None
        manifests.append(json.loads((here.folder / f"from-{suffix}/manifest.json").read_text()))
    digests = {manifest["lineage"]["data_digest"] for manifest in manifests}
    assert digests == {load_runs(here.folder / "runs.csv").digest}
    models = {(here.folder / f"from-{s}/model.npz").read_bytes() for s in ("csv", "jsonl")}
    assert len(models) == 1


def test_the_seed_decides(here: Here):
    for seed in (0, 1):
        here.train("runs.csv", "--pool", "pool.toml", "--out", f"s{seed}", "--seed", seed)
    stored = [(here.folder / name / "model.npz").read_bytes() for name in ("router", "s0", "s1")]
    assert stored[0] == stored[1] != stored[2]


def test_training_with_held_out_figures_as_json(here: Here):
    words = ("train", "runs.csv", "--pool", "pool.toml", "--out", "b", "--splits", 2)
    shown = json.loads(here.run(*words, "--no-tracking", "--json").stdout)
    assert shown["held_out"]["seeds"] == [0, 1]
    assert "wattroute" in shown["held_out"]["figures"]
    assert shown["data_digest"]


def test_training_is_tracked_and_registered(here: Here):
    import mlflow

    words = ("train", "runs.csv", "--pool", "pool.toml", "--out", "c", "--splits", 0)
    here.run(*words, "--experiment", "mine", "--register", "my router")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{here.folder / 'mlflow.db'}")
    (version,) = client.search_model_versions("name='my router'")
    assert client.get_run(version.run_id).info.run_name == "train three"
    experiment = client.get_experiment_by_name("mine")
    assert len(client.search_runs([experiment.experiment_id])) > 5


def test_without_a_pool_file_the_catalogue_says_the_energy(here: Here):
    names = {"small": "gemma-3-12b-it", "middle": "gemma-3-27b-it", "large": "my-own-finetune"}
    frame = here.frame.assign(model=here.frame["model"].map(names))
    frame.to_csv(here.folder / "known.csv", index=False)
    result = here.train("known.csv", "--out", "known", "--json")
    shown = json.loads(result.stdout)
    assert shown["pool"] == ["gemma-3-12b-it", "gemma-3-27b-it"]
    assert "not in the catalogue, so not in the pool: my-own-finetune" in result.stderr
    manifest = json.loads((here.folder / "known" / "manifest.json").read_text())
    assert manifest["lineage"]["extra_models"] == ["my-own-finetune"]
    assert "at least two" in here.fails("train", "runs.csv", "--out", "none", "--no-tracking")


def test_a_pool_file_may_name_the_runs(here: Here):
    text = (here.folder / "pool.toml").read_text(encoding="utf-8")
    (here.folder / "with-runs.toml").write_text(f'runs = ["runs.csv"]\n{text}', encoding="utf-8")
    here.train("--pool", "with-runs.toml", "--out", "d")
    assert "names no runs" in here.fails("train", "--pool", "pool.toml", "--out", "e")
    assert "give files of runs" in here.fails("train", "--out", "e")


def test_chat_messages(here: Here):
    chats = [[{"role": "user", "content": text}] for text in here.frame["prompt"]]
    here.frame.assign(prompt=chats).to_json("chats.jsonl", orient="records", lines=True)
    here.train("chats.jsonl", "--pool", "pool.toml", "--out", "chats")
    # the same words: nothing is new to this router
    error = here.fails("evaluate", "chats", "runs.csv")
    assert "no prompt is left that the router was not trained on" in error


def test_an_embedding_column(here: Here):
    kinds = pd.factorize(here.frame["task"])[0]
    vectors = [np.eye(3)[kind].tolist() for kind in kinds]
    here.frame.assign(embedding=vectors).to_parquet("embedded.parquet", index=False)
    here.train("embedded.parquet", "--pool", "pool.toml", "--out", "embedded")
    manifest = json.loads((here.folder / "embedded" / "manifest.json").read_text())
    assert manifest["features"]["encoder"] == "precomputed:3"
    error = here.fails("evaluate", "embedded", "new.csv")
    assert "embedding" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs.csv", "--default-runs"), "either RUNS or --default-runs"),
        (("runs.csv", "--no-tracking", "--register", "x"), "--no-tracking rules out --register"),
        (("runs.csv", "--no-tracking", "--tracking-uri", "x"), "rules out"),
        (("runs.csv", "--pool", "no.toml"), "no.toml"),
        (("runs.csv", "--encoder", ""), "encoder is empty"),
        (("runs.csv", "--encoder", "precomputed:x"), "whole number"),
        (("runs.csv", "--tracking-uri", "nosuch://server"), "tracking URI nosuch://server"),
    ],
)
def test_what_cannot_be_trained_is_one_line(here: Here, words: tuple[str, ...], message: str):
    pool = () if "--pool" in words else ("--pool", "pool.toml")
    assert message in here.fails("train", *words, *pool, "--out", "z")
    assert not (here.folder / "z").exists()


def test_a_folder_with_something_else_is_left_alone(here: Here):
    (here.folder / "notes").mkdir(exist_ok=True)
    (here.folder / "notes" / "a.txt").write_text("x", encoding="utf-8")
    words = ("train", "runs.csv", "--pool", "pool.toml", "--no-tracking", "--out", "notes")
    assert "notes holds something else than a router" in here.fails(*words)
    assert [path.name for path in (here.folder / "notes").iterdir()] == ["a.txt"]


def test_models_that_the_runs_lack(here: Here):
    here.frame[here.frame["model"] != "large"].to_csv("two.csv", index=False)
    words = ("two.csv", "--pool", "pool.toml", "--out", "z", "--no-tracking")
    assert "the runs have no model 'large'" in here.fails("train", *words)
    assert "the runs have no model 'large'" in here.fails("evaluate", "router", "two.csv")
    assert "no model 'large'" in here.fails("benchmark", "pool.toml", "two.csv")


def test_bad_rows_are_named_or_set_aside(here: Here):
    bad = here.frame.copy()
    bad.loc[3, "quality"] = 7.0
    bad.to_csv("bad.csv", index=False)
    words = ("train", "bad.csv", "--pool", "pool.toml", "--out", "z", "--splits", 0)
    result = here.run(*words, "--no-tracking", code=2)
    error = result.stderr.partition("error: ")[2]  # a summary of several lines
    assert error.startswith("bad.csv, row 4, field 'quality': ")
    assert "--on-bad skip" in error
    missing = here.run("train", "no.csv", "--out", "z", code=2)
    assert "error: no.csv: there is no such file or folder" in missing.stderr
    result = here.run(*words, "--no-tracking", "--on-bad", "skip")
    assert "1 of 180 rows set aside in .wattroute/set_aside.jsonl" in result.stderr
    assert len((here.folder / ".wattroute" / "set_aside.jsonl").read_text().splitlines()) == 1


def test_evaluating_leaves_trained_prompts_out(here: Here):
    result = here.run("evaluate", "router", "runs.csv", "new.csv")
    assert "90 new prompts; left out: 60 that it was trained on, 0 without a grade" in result.stderr
    assert "quality and energy relative to large" in result.stdout
    for name in ("0.90", "1.00", "log_energy_ratio", "length_error"):
        assert name in result.stdout
    assert "no prompt is left" in here.fails("evaluate", "router", "runs.csv")


def test_evaluating_as_json(here: Here):
    shown = json.loads(here.run("evaluate", "router", "new.csv", "--json").stdout)
    assert (shown["n_prompts"], shown["reference"]) == (90, "large")
    assert [bar["bar"] for bar in shown["bars"]] == [0.9, 0.95, 0.98, 1.0]
    for bar in shown["bars"]:
        assert sum(bar["shares"].values()) == pytest.approx(1)
        assert bar["quality_low"] <= bar["quality"] <= bar["quality_high"]
        assert bar["broken"] == (bar["quality_high"] < bar["bar"])
    assert shown["figures"]["log_energy_ratio"] < 0


def test_a_bar_that_is_broken_is_a_finding(here: Here):
    """Other traffic: now only the largest model is ever right."""
    new = pd.read_csv(here.folder / "new.csv")
    new["quality"] = (new["model"] == "large").astype(float)
    new.to_csv("other.csv", index=False)
    result = here.run("evaluate", "router", "other.csv", code=1)
    assert " no" in result.stdout
    shown = json.loads(here.run("evaluate", "router", "other.csv", "--json", code=1).stdout)
    assert any(bar["broken"] for bar in shown["bars"])


def test_incomplete_prompts_are_left_out_with_a_count(here: Here):
    new = pd.read_csv(here.folder / "new.csv")
    gone = (new["model"] == "middle") & new["prompt_id"].isin(["p1-0", "p1-7"])
    new[~gone].to_csv("gaps.csv", index=False)
    assert "88 new prompts" in (result := here.run("evaluate", "router", "gaps.csv")).stderr
    assert "2 without a grade of every model" in result.stderr


def test_too_few_new_prompts(here: Here):
    new = pd.read_csv(here.folder / "new.csv")
    new[new["prompt_id"].isin([f"p1-{i}" for i in range(9)])].to_csv("few.csv", index=False)
    assert "9 new prompts: at least 10" in here.fails("evaluate", "router", "few.csv")


@pytest.mark.parametrize("folder", ["nowhere", "runs.csv"])
def test_what_is_not_a_router_is_one_line(here: Here, folder: str):
    assert folder in here.fails("evaluate", folder, "new.csv")


def test_a_benchmark_with_all_its_files(here: Here):
    result = here.run(
        "benchmark", "pool.toml", "runs.csv", "new.csv", "--seeds", 2, "--json",
        "--report", "out/report", "--decisions", "out/decisions.parquet",
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert shown["seeds"] == [0, 1]
    assert {"zero router", "oracle", "kNN"} <= set(shown["figures"])
    assert shown == json.loads((here.folder / "out" / "report" / "report.json").read_text())
    decisions = pd.read_parquet(here.folder / "out" / "decisions.parquet")
    assert set(decisions["run_name"]) <= {"small", "middle", "large"}
    assert "seed 1 (2 of 2)" in result.stderr


def test_benchmark_errors_are_one_line(here: Here):
    assert "either POOL.toml or --default-runs" in here.fails(
        "benchmark", "pool.toml", "--default-runs"
    )
    assert "no.toml" in here.fails("benchmark", "no.toml")
    assert "names no runs" in here.fails("benchmark", "pool.toml")
    taken = ("benchmark", "pool.toml", "runs.csv", "--report", "runs.csv")
    assert "runs.csv cannot be made" in here.fails(*taken)
    usage = here.run("benchmark", code=2)
    assert "give a POOL.toml or --default-runs" in usage.stderr


@pytest.fixture
def default_runs(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand small runs in for the default ones, which take minutes to regenerate."""
    loaded = SimpleNamespace(runs=load_runs("runs.csv"), summary=lambda: "Default runs: 180.")
    for module in ("train", "benchmark", "demo"):
        name = f"router.training.commands.{module}"
        monkeypatch.setattr(f"{name}.load_default_runs", lambda **options: loaded)
        monkeypatch.setattr(f"{name}.DEFAULT_POOL_FILE", here.folder / "pool.toml")


@pytest.mark.usefixtures("default_runs")
def test_the_default_runs(here: Here):
    assert "Default runs: 180." in here.train("--default-runs", "--out", "f").stderr
    card = (here.folder / "f" / "README.md").read_text(encoding="utf-8")
    assert "wattroute train --default-runs --splits 0 --seed 0 --out f" in card
    assert "reasoning-gym" in card
    shown = here.run("benchmark", "--default-runs", "--seeds", 1, "--json").stdout
    assert json.loads(shown)["seeds"] == [0]


@pytest.mark.usefixtures("default_runs")
def test_the_demo_does_everything_once(here: Here):
    result = here.run("demo", "--out", "tried", "--seeds", 1)
    for step in range(1, 5):
        assert f"{step} of 4: " in result.stderr
    assert "tracked in sqlite:///mlflow.db" in result.stderr
    assert (here.folder / "mlflow.db").is_file()
    assert (here.folder / "tried" / "report" / "report.html").is_file()
    assert result.stdout.count("\n> ") == 3
    for model in ("small-api", "middle-api", "large-api"):
        assert result.stdout.count(model) >= 3
    route = ("route", "--router", "tried/router", "Add 4 to 5.", "--json")
    assert json.loads(here.run(*route).stdout)["model"].endswith("-api")
    (here.folder / "taken").write_text("x", encoding="utf-8")
    assert "taken cannot be made" in here.fails("demo", "--out", "taken")
