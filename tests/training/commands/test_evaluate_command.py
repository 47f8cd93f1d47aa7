from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from router import Router
from router.artifact import read_artifact, write_artifact
from router.eval.stored import evaluate_stored


def test_evaluating_leaves_trained_prompts_out(here):
    result = here.run("evaluate", "router", "runs.csv", "new.csv")
    assert "90 new prompts; left out: 60 that it was trained on, 0 that" in result.stderr
    assert "0 without a grade" in result.stderr
    assert "quality and energy relative to large" in result.stdout
    for name in ("0.90", "1.00", "log_energy_ratio", "length_error"):
        assert name in result.stdout
    assert "no prompt is left" in here.fails("evaluate", "router", "runs.csv")


def test_evaluating_leaves_prompts_of_the_certification_out(here, make_frame, make_matrix):
    here.run("calibrate", "router", "new.csv", "--out", "certified")
    count = len(Router.load("certified").artifact.lineage["calibration_hashes"])
    make_frame(make_matrix(50, seed=4)).to_csv("newer.csv", index=False)
    result = here.run("evaluate", "certified", "new.csv", "newer.csv")
    assert f"{140 - count} new prompts; left out: 0 that it was trained on, " in result.stderr
    assert f"{count} that it was certified on" in result.stderr


def test_runs_without_lengths_take_those_that_the_router_expects(here):
    frame = pd.read_csv("new.csv")
    frame.drop(columns="completion_tokens").to_csv("silent.csv", index=False)
    counted = json.loads(here.run("evaluate", "router", "new.csv", "--json").stdout)
    result = here.run("evaluate", "router", "silent.csv", "--json")
    assert "no completion tokens of small, middle, large: lengths, and so energy" in result.stderr
    silent = json.loads(result.stdout)
    for bar, guessed in zip(counted["bars"], silent["bars"], strict=True):
        assert guessed["energy"] == pytest.approx(bar["energy"], rel=0.15)
    some = frame["model"].eq("middle") & frame["prompt_id"].isin(["p1-0", "p1-7"])
    frame["completion_tokens"] = frame["completion_tokens"].mask(some)
    frame.to_csv("some.csv", index=False)
    result = here.run("evaluate", "router", "some.csv")
    assert "no completion tokens of middle (2 of 90 answers):" in result.stderr


def test_repeated_texts_are_no_further_evidence(here, make_matrix):
    router, once = Router.load("router"), make_matrix(90, seed=1)
    rows = np.repeat(np.arange(90), 10)
    ids = tuple(f"p{i}" for i in range(900))
    often = replace(once.rows(rows), prompt_ids=ids)
    bars, repeated = (evaluate_stored(router, runs).bars for runs in (once, often))
    assert any(bar.quality_high > bar.quality_low for bar in bars)
    for bar, again in zip(bars, repeated, strict=True):
        assert again.quality_low == pytest.approx(bar.quality_low)
        assert again.quality_high == pytest.approx(bar.quality_high)


def test_evaluating_as_json(here):
    shown = json.loads(here.run("evaluate", "router", "new.csv", "--json").stdout)
    assert (shown["n_prompts"], shown["reference"]) == (90, "large")
    assert [bar["bar"] for bar in shown["bars"]] == [0.9, 0.95, 0.98, 1.0]
    for bar in shown["bars"]:
        assert sum(bar["shares"].values()) == pytest.approx(1)
        assert bar["quality_low"] <= bar["quality"] <= bar["quality_high"]
        assert bar["broken"] == (bar["quality_high"] < bar["bar"])
    assert shown["figures"]["log_energy_ratio"] < 0


def test_a_bar_that_is_broken_is_a_finding(here):
    """Other traffic: now only the largest model is ever right."""
    new = pd.read_csv(here.folder / "new.csv")
    new["quality"] = (new["model"] == "large").astype(float)
    new.to_csv("other.csv", index=False)
    result = here.run("evaluate", "router", "other.csv", code=1)
    assert " no" in result.stdout
    shown = json.loads(here.run("evaluate", "router", "other.csv", "--json", code=1).stdout)
    assert any(bar["broken"] for bar in shown["bars"])


def test_incomplete_prompts_are_left_out_with_a_count(here):
    new = pd.read_csv(here.folder / "new.csv")
    gone = (new["model"] == "middle") & new["prompt_id"].isin(["p1-0", "p1-7"])
    new[~gone].to_csv("gaps.csv", index=False)
    assert "88 new prompts" in (result := here.run("evaluate", "router", "gaps.csv")).stderr
    assert "2 without a grade of every model" in result.stderr


def test_too_few_new_prompts(here):
    new = pd.read_csv(here.folder / "new.csv")
    new[new["prompt_id"].isin([f"p1-{i}" for i in range(9)])].to_csv("few.csv", index=False)
    assert "9 new prompts: at least 10" in here.fails("evaluate", "router", "few.csv")


@pytest.mark.parametrize("folder", ["nowhere", "runs.csv"])
def test_what_is_not_a_router_is_one_line(here, folder: str):
    assert folder in here.fails("evaluate", folder, "new.csv")


def test_prompts_that_nobody_can_answer(here):
    new = pd.read_csv(here.folder / "new.csv").assign(quality=0, energy_j=0)
    new.to_csv("hopeless.csv", index=False)
    shown = json.loads(here.run("evaluate", "router", "hopeless.csv", "--json").stdout)
    assert shown["figures"]["peak_quality"] is None
    for bar in shown["bars"]:
        assert (bar["quality"], bar["energy"], bar["broken"]) == (1, 0, False)


def test_embeddings_of_another_encoder_are_not_mixed_up(here):
    new = pd.read_csv(here.folder / "new.csv")
    vectors = np.random.default_rng(0).standard_normal((len(new), 256))
    first = dict(zip(new["prompt"], vectors.tolist(), strict=True))
    new.assign(embedding=new["prompt"].map(first)).to_parquet("vectors.parquet", index=False)
    shown = [here.run("evaluate", "router", name).stdout for name in ("new.csv", "vectors.parquet")]
    assert shown[0] == shown[1]


def test_a_router_of_unknown_origin(here):
    artifact = replace(read_artifact(here.folder / "router"), lineage={})
    write_artifact(artifact, here.folder / "unknown", "card")
    error = here.fails("evaluate", "unknown", "new.csv")
    assert "does not say what it was trained on" in error
