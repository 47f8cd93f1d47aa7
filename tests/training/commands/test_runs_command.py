from __future__ import annotations

import json
import re

import pandas as pd
import pytest


def test_describing_with_a_pool(here):
    result = here.run("runs", "describe", "runs.csv", "--pool", "pool.toml", "--seeds", 2)
    for part in (
        "No bad rows or contradictory grades were found.",
        "Qualities",
        "Ladder: the smallest right model",
        "on the test parts of 2 splits",
        "Every model was graded on every prompt",
        "label noise cannot be estimated",
    ):
        assert part in " ".join(result.stdout.split())
    assert "60 prompts and 3 models" in result.stderr


def test_every_format_says_the_same(here):
    shown = [
        json.loads(here.run("runs", "describe", name, "--pool", "pool.toml", "--json").stdout)
        for name in ("runs.csv", "runs.jsonl", "runs.parquet")
    ]
    for found in shown:
        del found["grading"]
    assert shown[0] == shown[1] == shown[2]
    assert shown[0]["n_prompts"] == 60
    assert shown[0]["ladder"]["n_prompts"] == 60
    assert [rung["model"] for rung in shown[0]["ladder"]["rungs"]] == ["small", "middle", "large"]


def test_models_that_the_catalogue_does_not_know(here):
    result = here.run("runs", "describe", "runs.csv")
    assert "Ladder and headroom\nNot known: of 3 models in the runs the catalogue" in result.stdout


def test_models_that_the_catalogue_knows(here):
    frame = here.frame.replace({"model": {"small": "gemma-3-27b-it", "large": "Qwen2.5-7B"}})
    frame.to_csv("known.csv", index=False)
    result = here.run("runs", "describe", "known.csv", "--seeds", 1)
    assert "not in the catalogue, so without energy: middle" in result.stderr
    assert "Headroom" in result.stdout


def test_the_pool_names_the_runs(here):
    text = (here.folder / "pool.toml").read_text()
    (here.folder / "named.toml").write_text(f'runs = "runs.csv"\n{text}')
    assert "60 prompts" in here.run("runs", "describe", "--pool", "named.toml").stderr
    assert "names no runs" in here.fails("runs", "describe", "--pool", "pool.toml")


def test_held_out_prompts_that_are_in_the_runs_are_a_finding(here):
    new = pd.read_csv("new.csv")
    assert here.run("runs", "describe", "runs.csv", "--test", "new.csv").exit_code == 0
    leaked = here.frame[here.frame["prompt_id"] == "p0-7"].assign(prompt_id="other")
    pd.concat([new, leaked]).to_csv("leaky.csv", index=False)
    result = here.run("runs", "describe", "runs.csv", "--test", "leaky.csv", code=1)
    assert "1 of 91 prompts of the test runs are in the runs too" in result.stdout


def test_splits_in_the_runs(here):
    frame = here.frame.copy()
    frame["split"] = frame["prompt_id"].map(lambda name: "test" if name > "p0-5" else "train")
    frame.to_csv("split.csv", index=False)
    shown = json.loads(here.run("runs", "describe", "split.csv", "--json").stdout)
    (leak,) = shown["leaks"]
    assert (leak["first"], leak["second"], leak["n_same"]) == ("train", "test", 0)
    assert leak["n_first"] + leak["n_second"] == 60


def test_bad_rows_are_a_finding_and_not_the_end(here):
    rows = here.frame.to_dict("records")
    rows.append({**rows[0], "quality": 1 - rows[0]["quality"]})
    rows.append({**rows[5], "quality": 3})
    pd.DataFrame(rows).to_csv("bad.csv", index=False)
    result = here.run("runs", "describe", "bad.csv", "--json", code=1)
    shown = json.loads(result.stdout)
    assert shown["findings"] == [
        "1 row cannot be used",
        "2 rows contradict another grade of the same answer",
    ]
    assert shown["n_answers"] == 179


def test_the_page(here):
    result = here.run("runs", "describe", "runs.csv", "--pool", "pool.toml", "--html", "out/r.html")
    page = (here.folder / "out" / "r.html").read_text(encoding="utf-8")
    assert "description written to out/r.html" in result.stderr
    for part in ("<!doctype html>", "Coverage by task", "puzzles", "Headroom"):
        assert part in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.csv",), "nowhere.csv"),
        (("runs.csv", "--pool", "nowhere.toml"), "nowhere.toml"),
        (("runs.csv", "--test", "nowhere.csv"), "nowhere.csv"),
        (("runs.csv", "--html", "runs.csv/out.html"), "cannot be made"),
        (("runs.csv", "--html", "."), "must end in .html"),
        (("runs.csv", "--html", "runs.csv"), "must end in .html"),
    ],
)
def test_wrong_usage(here, words: tuple[str, ...], message: str):
    result = here.run("runs", "describe", *words, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_page_that_cannot_be_written(here):
    (here.folder / "taken.html").mkdir(exist_ok=True)
    assert (
        "taken.html"
        in here.run("runs", "describe", "runs.csv", "--html", "taken.html", code=2).stderr
    )


def test_nothing_to_describe(here):
    assert "give files of runs" in here.run("runs", "describe", code=2).stderr
