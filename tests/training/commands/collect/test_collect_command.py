"""``wattroute collect`` and its ways to be used and misused."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fault_server as faults
from router.training.ingest import load_runs

SMALL, LARGE = "gemma-3-4b", "llama-3.3-70b"
N_PROMPTS = 60


def test_without_a_terminal_it_begins_only_with_yes(here: Any):
    result = here.run(*here.words(), code=2)
    assert "add --yes" in result.stderr
    assert "In all 120 requests" in result.stderr
    assert not here.server.chats


def test_the_estimate_alone(here: Any):
    told = json.loads(here.run(*here.words("--estimate", "--json", "--plan", "free")).stdout)
    estimate = told["estimate"]
    assert estimate["n_requests"] == 120
    assert estimate["seconds"] >= 86_400, "60 requests a day"
    energy = estimate["energy_j"]
    assert 0 < energy["low"] < energy["value"] < energy["high"]
    assert energy["basis"] == "assumed"
    assert not here.server.chats


def test_grading_again_asks_nothing(here: Any):
    here.collect()
    n_asked = len(here.server.chats)
    before = here.log.read_bytes()
    result = here.run("--regrade", "--grader", "exact", "--out", "runs", "--json")
    assert len(here.server.chats) == n_asked
    assert here.log.read_bytes() == before
    told = json.loads(result.stdout)
    assert told["n_graded"] == sum(told["n_runs"].values()) > 100
    here.run("--regrade", "--grader", "number", "--grade-truncated", "--out", "runs")
    assert len(load_runs(here.folder / "runs").frame) == 120


def test_an_estimate_binds_to_nothing(here: Any):
    here.run(*here.words("--estimate"))
    assert here.told("--temperature", 0.5)["complete"]


def test_a_changed_reference_is_graded_again_and_nothing_asked(here: Any):
    here.collect()
    n_asked = len(here.server.chats)
    file = here.folder / "prompts.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["reference"] = -1
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = here.told()
    assert len(here.server.chats) == n_asked
    assert 1 <= told["n_graded"] <= 2


def test_changed_prompts_are_noticed(here: Any):
    here.collect()
    file = here.folder / "prompts.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[5:]) + '{"prompt": "What is 1 plus 1?", "reference": 2}\n')
    result = here.collect(code=2)
    assert "1 new, 5 gone, 0 changed" in result.stderr
    told = here.told("--accept-changes")
    assert (told["n_asked"], told["n_prompts"]) == (2, N_PROMPTS - 4)


def test_changed_settings_are_noticed(here: Any):
    here.collect("--max-requests", 3, code=1)
    result = here.collect("--temperature", f"{LARGE}=0.7", code=2)
    assert f"answers of '{LARGE}' with other settings: temperature was 0.0, is 0.7" in result.stderr


def test_another_model_joins_later(here: Any):
    first = [w.replace(f"{SMALL},{LARGE}", SMALL) for w in here.words("--yes")]
    here.run(*first)
    told = here.told()
    assert told["n_asked"] == N_PROMPTS
    assert set(told["n_runs"]) == {SMALL, LARGE}


def test_two_collectors_on_one_folder(here: Any):
    from router.eval.collect.store import AnswerStore

    with AnswerStore(here.folder / "runs"):
        result = here.collect(code=2)
    assert "another collector is at work" in result.stderr


def test_a_damaged_line_is_named(here: Any):
    here.collect()
    log = here.log
    lines = log.read_text().splitlines(keepends=True)
    lines[9] = lines[9].replace("The answer is", "The answer was")
    log.write_text("".join(lines))
    result = here.collect(code=2)
    assert "answers.jsonl, row 10: the line is damaged" in result.stderr


def test_the_budget_ends_it_with_a_finding(here: Any):
    result = here.collect("--max-requests", 40, code=1)
    assert "Stopped: the budget is used up: 40 requests" in result.stdout
    assert len(here.server.chats) == 40
    told = here.told()
    assert told["complete"]
    assert len(here.server.chats) == 120


def test_parquet_holds_the_same(here: Any):
    here.collect("--format", "parquet")
    parquet = load_runs(here.folder / "runs").frame
    here.run("--regrade", "--grader", "number", "--out", "runs", "--format", "parquet")
    again = load_runs(here.folder / "runs").frame
    assert len(parquet) == len(again) > 100
    result = here.collect(code=2)
    assert "would read its runs twice" in result.stderr


def test_files_of_others_are_not_overwritten(here: Any):
    (here.folder / "runs").mkdir()
    (here.folder / "runs" / "runs.jsonl").write_text("mine\n")
    result = here.collect(code=2)
    assert "was not made by collect" in result.stderr
    assert (here.folder / "runs" / "runs.jsonl").read_text() == "mine\n"


def test_a_judge_and_its_agreement_with_gold(here: Any):
    more = ("--yes", "--json", "--grader", f"judge:model={LARGE}", "--gold", "number")
    told = json.loads(here.run(*here.words(*more)).stdout)
    assert told["agreement"]["n"] == sum(told["n_runs"].values())
    assert told["agreement"]["agreement"] == 1.0
    n_asked = len(here.server.chats)
    here.run(*here.words(*more))
    assert len(here.server.chats) == n_asked, "a judge is not asked twice"


def test_a_pair_is_judged_in_both_orders(here: Any):
    grader = f"pairwise:model={LARGE},baseline={LARGE}"
    told = here.told("--grader", grader)
    frame = load_runs(here.folder / "runs").frame
    of_large = frame[frame["model"] == LARGE]["quality"]
    assert (of_large == 0.5).all(), "the baseline is as good as itself"
    of_small = frame[frame["model"] == SMALL]["quality"]
    assert set(of_small) == {0.0, 0.5}, "it is right on nothing that the large one is not"
    judged = [r for r in here.server.chats if "[ANSWER B" in r.body["messages"][-1]["content"]]
    assert len(judged) == 2 * (of_small == 0.0).sum(), "equal answers need no judge"
    assert told["complete"]


def test_a_judge_without_a_verdict_leaves_no_grade(here: Any):
    here.collect()
    here.server.always(faults.answer("I would rather not."), model="shy")
    more = ("--grader", "judge:model=shy", "--base-url", f"shy={here.server.url}")
    words = ("--regrade", "--out", "runs", *more, "--json")
    result = here.run(*words, code=2)
    assert "no answer has a grade" in result.stderr
    assert len(load_runs(here.folder / "runs").frame) > 100, "the runs before are kept"


def test_adaptive_saves_requests_and_says_so(here: Any):
    rows = [
        {
            "prompt": f"What is {i} plus {i + 1}? ({kind})",
            "reference": 2 * i + 1 if kind == "easy" else "no such number",
            "grader": "number" if kind == "easy" else "exact",
            "task": kind,
        }
        for i in range(150)
        for kind in ("easy", "hopeless")
    ]
    (here.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = here.told("--adaptive")
    small, large = told["saved"]
    assert small["n_skipped"] == 0
    assert large["n_skipped"] > 30
    assert large["n_skipped"] + large["n_asked"] == 300
    assert large["energy_j"] > 0
    assert large["audit"]["upper"] <= 0.1
    assert told["complete"]
    assert len(here.server.chats) == 600 - large["n_skipped"]
    rest = here.told()
    assert rest["n_asked"] == large["n_skipped"], "without it they are asked after all"


def test_anchors_are_a_stable_choice(here: Any):
    told = here.told("--anchors", 12)
    assert (told["n_prompts"], told["n_asked"]) == (12, 24)
    again = here.told("--anchors", 12)
    assert again["n_asked"] == 0


def test_a_refused_key_is_one_line(here: Any):
    here.server.always(faults.status(401, {"error": {"message": "bad key"}}))
    result = here.collect(code=2)
    assert result.stderr.splitlines()[-1] == "error: bad key"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--models", "a,a"], "names a model twice"),
        (["--models", ","], "--models names no model"),
        (["--max-tokens", "0"], "max_tokens is 0"),
        (["--max-tokens", "many"], "'many' cannot be used"),
        (["--max-tokens", "gemma=5"], "there is no model 'gemma'"),
        (["--temperature", "-1"], "temperature is -1.0"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--base-url", "ftp://x"], "use one such as"),
        (["--base-url", "https://user:secret@api.oxlo.ai/v1"], "put no key into the base URL"),
        (["--base-url", "https://api.oxlo.ai/v1"], "set OXLO_API_KEY"),
        (["--grader", "nmber"], "did you mean 'number'?"),
        (["--grader", "judge"], "name the judge"),
        (["--grader", "pairwise:model=x"], "name the baseline"),
        (["--body", "[1]"], "cannot be used"),
        (["--body", '{"model": "x"}'], "has an option of its own"),
        (["--plan", "gold"], "plan 'gold' is not known"),
        (["--plan", "free", "--max-tokens", "9000"], "the plan gives 2,048"),
        (["--prompts", "missing.jsonl"], "missing.jsonl cannot be read"),
        (["--suite", "reasoning_gym:chain_sum"], "either --prompts or --suite"),
        (["--regrade"], "asks no model"),
        (["--adaptive", "--error-budget", "0.7"], "error_budget is 0.7"),
        (["--max-energy", "5", "--models", "my-own"], "needs the energy of my-own"),
        (["--api-id", "x"], "write NAME=ID"),
        (["--timeout", "nan"], "'--timeout': nan is not a finite number"),
        (["--max-energy", "inf"], "'--max-energy': inf is not a finite number"),
    ],
)
def test_wrong_usage_is_one_line(here: Any, change: list[str], message: str):
    given = here.words("--yes")
    if change[0] in given and change[0] != "--yes":
        place = given.index(change[0])
        given[place : place + 2] = []
    result = here.run(*given, *change, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not here.server.chats


def test_a_reference_that_no_grader_can_use_is_found_before_asking(here: Any):
    with (here.folder / "prompts.jsonl").open("a") as file:
        file.write('{"prompt": "What is 1 plus 1?", "reference": {"a": 1}}\n')
    result = here.collect(code=2)
    assert f"prompts.jsonl, row {N_PROMPTS + 1}" in result.stderr
    assert not here.server.chats
