from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from router.eval.suites.jsonl import read_prompts


def lines(file: str) -> list[dict]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def test_prompts_for_a_model_that_is_to_be_added(here):
    result = here.run("select-prompts", "router", "runs.csv", "--n", 12, "--out", "best.jsonl")
    assert result.stdout == ""
    assert "12 prompts written to best.jsonl" in result.stderr
    assert "uncertainty left of what is expected of a model" in result.stderr
    chosen = lines("best.jsonl")
    assert len({row["prompt_id"] for row in chosen}) == 12
    known = here.frame.set_index("prompt_id")["prompt"].to_dict()
    assert all(known[row["prompt_id"]] == row["prompt"] for row in chosen)
    assert {row["task"] for row in chosen} == {"sums", "words", "puzzles"}
    # in the form that prompts are collected from
    assert [p.prompt_id for p in read_prompts("best.jsonl")] == [r["prompt_id"] for r in chosen]


def test_the_choice_is_the_same_each_time_and_best_first(here):
    first = here.run("select-prompts", "router", "runs.csv", "--n", 5).stdout
    again = here.run("select-prompts", "router", "runs.parquet", "--n", 9).stdout
    assert len(again.splitlines()) == 9
    assert again.splitlines()[:5] == first.splitlines()


def test_prompts_to_start_from_are_kept_as_they_are(here):
    rows = [
        {"prompt": f"What is {i} times {i + 3}?", "reference": i * (i + 3), "note": {"level": i}}
        for i in range(30)
    ]
    rows.append({"messages": [{"role": "user", "content": "Write a poem."}], "task": "poems"})
    Path("all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    here.run("select-prompts", "all.jsonl", "--n", 31, "--out", "chosen.jsonl")
    assert {p.key for p in read_prompts("chosen.jsonl")} == {
        p.key for p in read_prompts("all.jsonl")
    }
    chosen = {row["prompt_id"]: row for row in lines("chosen.jsonl")}
    for prompt in read_prompts("all.jsonl"):
        row = chosen[prompt.prompt_id]
        assert row.get("reference") == prompt.reference
        assert row.get("note") == prompt.metadata.get("note")


def test_csv_and_json(here):
    here.run("select-prompts", "runs.csv", "--n", 7, "--out", "best.csv")
    with Path("best.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert set(rows[0]) == {"prompt_id", "task", "prompt"}
    shown = json.loads(here.run("select-prompts", "runs.csv", "--n", 7, "--json").stdout)
    assert [p["prompt_id"] for p in shown["prompts"]] == [row["prompt_id"] for row in rows]
    assert shown["n_candidates"] == 60
    assert 0.0 < shown["uncertainty_left"]["7"] < 1.0


def test_what_is_graded_of_a_model_is_not_asked_again(here):
    first = here.run("select-prompts", "router", "runs.csv", "--n", 10).stdout.splitlines()
    done = [json.loads(line)["prompt_id"] for line in first]
    rows = here.frame[(here.frame["model"] == "small") & here.frame["prompt_id"].isin(done)]
    pd.concat([here.frame, rows.assign(model="new")]).to_csv("some.csv", index=False)
    result = here.run("select-prompts", "router", "some.csv", "--model", "new", "--n", 10)
    assert "10 prompts are graded for 'new'" in result.stderr
    more = [json.loads(line)["prompt_id"] for line in result.stdout.splitlines()]
    assert len(more) == 10
    assert not set(more) & set(done)
    unknown = here.run("select-prompts", "router", "runs.csv", "--model", "none", "--n", 10)
    assert unknown.stdout.splitlines() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["router"], "give files of prompts or runs"),
        (["runs.csv", "--n", 61], "60 distinct prompts to choose from: 61 are asked for"),
        (["runs.csv", "--out", "best.txt"], "must end in .jsonl, .ndjson or .csv"),
        (["bad.jsonl"], "bad.jsonl"),
        (["bare.jsonl", "--model", "small"], "--model needs runs"),
        (["bad-router", "runs.csv"], "bad-router"),
    ],
)
def test_wrong_input_is_one_line(here, words: list[str], message: str):
    Path("bad.jsonl").write_text("not json\n", encoding="utf-8")
    Path("bare.jsonl").write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    Path("bad-router").mkdir(exist_ok=True)
    Path("bad-router/manifest.json").write_text("{}", encoding="utf-8")
    assert message in here.fails("select-prompts", *words)
