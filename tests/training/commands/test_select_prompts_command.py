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
        (["runs.csv", "--n", 61], "60 distinct prompts to choose from, 61 are asked for"),
        (["runs.csv", "--out", "best.txt"], "must end in .jsonl, .ndjson or .csv"),
        (["bad.jsonl"], "bad.jsonl"),
        (["bare.jsonl", "--model", "small"], "--model needs runs"),
        (["bad-router", "runs.csv"], "bad-router"),
        (["bare.jsonl", "--n", 1, "--out", "bare.jsonl"], "is a file that is read"),
        (["runs.csv", "--n", 1, "--out", "./runs.csv"], "is a file that is read"),
        (["runs.csv", "bare.jsonl", "--n", 1], "either prompts or runs"),
        (["bare.jsonl", "--n", 2], "1 distinct prompts to choose from, 2 are asked for"),
        (["typo.jsonl"], "did you mean 'promt'?"),
        (["empty.jsonl"], "no prompts"),
        (["runs.csv", "--n", 1, "--out", "no/where.jsonl"], "no/where.jsonl"),
        (["router", "few.csv", "--model", "small", "--n", 3], "0 distinct prompts"),
    ],
)
def test_wrong_input_is_one_line(here, words: list[str], message: str):
    Path("bad.jsonl").write_text("not json\n", encoding="utf-8")
    Path("bare.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "why? "}\n', encoding="utf-8")
    Path("typo.jsonl").write_text('{"promt": "Why?"}\n', encoding="utf-8")
    Path("empty.jsonl").write_text("\n", encoding="utf-8")
    here.frame.head(30).to_csv("few.csv", index=False)
    Path("bad-router").mkdir(exist_ok=True)
    Path("bad-router/manifest.json").write_text("{}", encoding="utf-8")
    assert message in here.fails("select-prompts", *words)


@pytest.mark.parametrize("n", ["0", "-3", "many", "1.5"])
def test_a_number_that_is_none_is_refused(here, n: str):
    result = here.run("select-prompts", "runs.csv", "--n", n, code=2)
    assert "--n" in result.stderr
    assert result.stdout == ""


def test_a_folder_that_is_no_router_is_a_folder_of_runs(here):
    result = here.run("select-prompts", "nowhere", "runs.csv", code=2)
    assert "nowhere: there is no such file or folder" in result.stderr
    Path("some-runs").mkdir(exist_ok=True)
    here.frame.to_csv("some-runs/a.csv", index=False)
    assert len(here.run("select-prompts", "some-runs", "--n", 4).stdout.splitlines()) == 4


def test_runs_are_never_overwritten(here):
    Path("graded").mkdir(exist_ok=True)
    here.frame.to_csv("graded/a.csv", index=False)
    Path("linked.csv").unlink(missing_ok=True)
    Path("linked.csv").hardlink_to("graded/a.csv")
    before = Path("graded/a.csv").read_bytes()
    words = ("select-prompts", "graded", "--n", 4, "--out")
    for out in ("graded/a.csv", "linked.csv", "graded/../graded/a.csv"):
        assert f"--out {out} is a file that is read" in here.fails(*words, out)
    assert "would be read as runs" in here.fails(*words, "graded/new.jsonl")
    Path("a-folder.jsonl").mkdir(exist_ok=True)
    assert "is a folder" in here.fails(*words, "a-folder.jsonl")
    assert [path.name for path in Path("graded").iterdir()] == ["a.csv"]
    assert Path("graded/a.csv").read_bytes() == before


def test_a_choice_that_cannot_be_written_leaves_the_last_one(here, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    here.run("select-prompts", "runs.csv", "--n", 4, "--out", "kept.jsonl")
    before = Path("kept.jsonl").read_bytes()
    monkeypatch.setattr("router.training.commands.select_prompts._write", full)
    words = ("select-prompts", "runs.csv", "--n", 5, "--out", "kept.jsonl")
    assert "kept.jsonl cannot be written: No space left" in here.fails(*words)
    assert Path("kept.jsonl").read_bytes() == before
    assert not list(Path().glob("*.part"))


def test_a_mistyped_model_is_pointed_out(here):
    words = ("select-prompts", "router", "runs.csv", "--model", "smal", "--n", 2)
    assert "0 prompts are graded for 'smal'; did you mean 'small'?" in here.run(*words).stderr


def test_bad_grades_are_named_and_the_prompt_is_left_out(here):
    bad = here.frame.astype({"quality": object})
    bad.iloc[0, bad.columns.get_loc("quality")] = "NaN"
    bad.to_csv("nan.csv", index=False)
    words = ("select-prompts", "router", "nan.csv", "--n", 3)
    assert "nan.csv, row 1, field 'quality'" in here.run(*words, code=2).stderr
    assert len(here.run(*words, "--on-bad", "skip").stdout.splitlines()) == 3
    # a prompt with two grades of one answer
    rows = here.frame.head(1)
    twice = pd.concat([here.frame, rows.assign(quality=1.0 - rows["quality"])])
    twice.to_csv("twice.csv", index=False)
    failed = here.run("select-prompts", "router", "twice.csv", "--n", 3, code=2)
    assert "for the same prompt and model" in failed.stderr


def test_what_was_selected_can_be_graded_and_added(here):
    here.run("select-prompts", "router", "runs.csv", "--n", 30, "--out", "ask.jsonl")
    prompts = read_prompts("ask.jsonl")
    rows = [
        {"prompt_id": p.prompt_id, "prompt": p.prompt, "model": "Qwen2.5-7B-Instruct"}
        | {"quality": float(p.task != "puzzles"), "completion_tokens": 40}
        for p in prompts
    ]
    pd.DataFrame(rows).to_csv("answers.csv", index=False)
    words = ("runs.csv", "answers.csv", "--model", "Qwen2.5-7B-Instruct", "--json")
    found = json.loads(here.run("add-model", "router", *words, "--out", "more").stdout)
    assert (found["n_graded"], found["n_alone"]) == (30, 0)
    assert found["n_trained_on"] == 30
