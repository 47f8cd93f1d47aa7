from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router.training.ingest import load_runs
from router.training.tracking import NullTracker


def test_training_shows_progress_and_the_result(here):
    result = here.run("train", "runs.csv", "--pool", "pool.toml", "--out", "a", "--no-tracking")
    assert "a: 3 models, reference large-api" in result.stdout
    assert "log_energy_ratio" in result.stdout
    for line in result.stderr.splitlines():
        assert re.match(r" +\d+\.\d s   *\S", line)
    assert "180 runs of 60 prompts and 3 models from 1 file" in result.stderr
    assert "nothing is promised: a share of 0.25 of 60 prompts" in result.stderr
    assert "It takes 400 such prompts" in result.stderr
    assert not (here.folder / "mlruns").exists()
    card = (here.folder / "a" / "README.md").read_text(encoding="utf-8")
    assert "wattroute train runs.csv --pool pool.toml --splits 1 --seed 0 --out a" in card


def test_every_format_gives_the_same_router(here):
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


def test_the_seed_decides(here):
    for seed in (0, 1):
        here.train("runs.csv", "--pool", "pool.toml", "--out", f"s{seed}", "--seed", seed)
    stored = [(here.folder / name / "model.npz").read_bytes() for name in ("router", "s0", "s1")]
    assert stored[0] == stored[1] != stored[2]


def test_training_with_held_out_figures_as_json(here):
    words = ("train", "runs.csv", "--pool", "pool.toml", "--out", "b", "--splits", 2)
    shown = json.loads(here.run(*words, "--no-tracking", "--json").stdout)
    assert shown["held_out"]["seeds"] == [0, 1]
    assert "wattroute" in shown["held_out"]["figures"]
    assert shown["data_digest"]


def test_without_a_share_no_promise_is_missed(here):
    words = ("runs.csv", "--pool", "pool.toml", "--out", "none-asked", "--calibration-share", 0)
    assert "promised" not in here.train(*words).stderr


def test_training_is_tracked_and_registered(here, monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []

    class Tracker(NullTracker):
        def __init__(self, *arguments: object, run_name: str, kind: str) -> None:
            seen.append((*arguments, run_name, kind))

        def register(self, model_name: str, folder: str | Path) -> None:
            seen.append((model_name, str(folder)))

    monkeypatch.setattr("router.training.commands.train.MlflowTracker", Tracker)
    words = ("train", "runs.csv", "--pool", "pool.toml", "--out", "c", "--splits", 0)
    here.run(*words)
    assert seen == [(None, "wattroute", "train three seed 0", "train")]
    seen.clear()
    here.run(*words, "--tracking-uri", "sqlite:///x.db", "--experiment", "e", "--register", "r")
    assert seen == [("sqlite:///x.db", "e", "train three seed 0", "train"), ("r", "c")]


def test_energy_that_was_measured_and_does_not_reach_decisions_is_told(here, pool):
    tokens = here.frame["completion_tokens"]
    # the large model takes a tenth of what the pool says, the small one what it says, and the
    # middle one was measured on a few prompts only
    e_out = {model.name: model.joules_per_completion_token for model in pool.models}
    energy_j = here.frame["model"].map(e_out) * tokens
    energy_j[here.frame["model"] == "large"] /= 10
    energy_j[here.frame["model"] == "middle"] = np.nan
    middle = here.frame.index[here.frame["model"] == "middle"][:5]
    energy_j[middle] = 4 * e_out["middle"] * tokens[middle]
    here.frame.assign(energy_j=energy_j).to_csv("measured.csv", index=False)
    result = here.train("measured.csv", "--pool", "pool.toml", "--out", "measured")
    warnings = [line for line in result.stderr.splitlines() if "warning: " in line]
    assert len(warnings) == 2
    large = energy_j[here.frame["model"] == "large"].mean()
    middle_line = next(line for line in warnings if "'middle'" in line)
    assert "measured in 5 runs" in middle_line
    large_line = next(line for line in warnings if "'large'" in line)
    assert f"'large' took {large:.3g} J an answer, as measured in 60 runs" in large_line
    assert "joules_per_completion_token" in large_line


def test_without_a_pool_file_the_catalogue_says_the_energy(here):
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


def test_a_pool_file_may_name_the_runs(here):
    text = (here.folder / "pool.toml").read_text(encoding="utf-8")
    (here.folder / "with-runs.toml").write_text(f'runs = ["runs.csv"]\n{text}', encoding="utf-8")
    here.train("--pool", "with-runs.toml", "--out", "d")
    assert "names no runs" in here.fails("train", "--pool", "pool.toml", "--out", "e")
    assert "give files of runs" in here.fails("train", "--out", "e")


def test_chat_messages(here):
    chats = [[{"role": "user", "content": text}] for text in here.frame["prompt"]]
    here.frame.assign(prompt=chats).to_json("chats.jsonl", orient="records", lines=True)
    here.train("chats.jsonl", "--pool", "pool.toml", "--out", "chats")
    # the same words: nothing is new to this router
    error = here.fails("evaluate", "chats", "runs.csv")
    assert "no prompt is left that the router was not trained on" in error


def test_an_embedding_column(here):
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
def test_what_cannot_be_trained_is_one_line(here, words: tuple[str, ...], message: str):
    pool = () if "--pool" in words else ("--pool", "pool.toml")
    assert message in here.fails("train", *words, *pool, "--out", "z")
    assert not (here.folder / "z").exists()


def test_a_folder_with_something_else_is_left_alone(here):
    (here.folder / "notes").mkdir(exist_ok=True)
    (here.folder / "notes" / "a.txt").write_text("x", encoding="utf-8")
    words = ("train", "runs.csv", "--pool", "pool.toml", "--no-tracking", "--out", "notes")
    assert "notes holds something else than a router" in here.fails(*words)
    assert [path.name for path in (here.folder / "notes").iterdir()] == ["a.txt"]


def test_models_that_the_runs_lack(here):
    here.frame[here.frame["model"] != "large"].to_csv("two.csv", index=False)
    words = ("two.csv", "--pool", "pool.toml", "--out", "z", "--no-tracking")
    assert "the runs have no model 'large'" in here.fails("train", *words)
    assert "the runs have no model 'large'" in here.fails("evaluate", "router", "two.csv")
    assert "no model 'large'" in here.fails("benchmark", "pool.toml", "two.csv")


def test_bad_rows_are_named_or_set_aside(here):
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
