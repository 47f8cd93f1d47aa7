from __future__ import annotations

import json
from typing import Any

import pytest

SPEC = {"spec": {"completion_fns": ["m"], "eval_name": "e.dev.v0", "base_eval": "e"}}


def event(kind: str, sample: str = "e.0", **data: Any) -> dict[str, Any]:
    return {"run_id": "r", "event_id": 0, "sample_id": sample, "type": kind, "data": data}


ASKED = event("sampling", prompt="Why?", sampled=["x"], usage={"completion_tokens": 3})
RIGHT = event("match", correct=True)


@pytest.fixture
def log(write):
    def written(*events: Any, name: str = "l.jsonl"):
        return write(name, "".join(json.dumps(one) + "\n" for one in events))

    return written


def test_what_the_recorder_wrote(importing, data):
    result = importing.result("openai-evals", data / "openai_evals", metric=("match",))
    assert result.left_out == {"the sample ended in an error": 1}
    assert (result.n_runs, result.n_read) == (5, 6)
    rows = importing.rows("openai-evals", data / "openai_evals", metric=("match",))
    found = {(row["model"], row["prompt_id"]): row for row in rows}
    row = found["invented-small", "legs.dev.1"]
    assert json.loads(row.pop("prompt"))[1]["content"] == "What is 10 + 7?"
    assert row == {
        "model": "invented-small",
        "quality": 0.0,
        "prompt_id": "legs.dev.1",
        "prompt_tokens": 21.0,
        "completion_tokens": 2.0,
        "task": "legs",
        "source": "openai-evals",
    }
    close = importing.rows("openai-evals", data / "openai_evals", metric=("closeness",))
    assert {row["quality"] for row in close} == {0.25, 1.0}


def test_a_grade_must_be_told_and_exist(importing, data):
    said = importing.fails("openai-evals", data / "openai_evals")
    assert "say which grade to take with --metric NAME; there are match, closeness" in said
    said = importing.fails("openai-evals", data / "openai_evals", metric=("accuracy",))
    assert "there is no grade 'accuracy'; there are match, closeness" in said


def test_a_model_that_grades_is_asked_second(importing, log):
    graded = event("sampling", prompt="Is it right?", sampled=["Y"], usage={"completion_tokens": 1})
    (row,) = importing.rows("openai-evals", log(SPEC, ASKED, graded, event("metrics", score=0.5)))
    assert (row["prompt"], row["completion_tokens"], row["quality"]) == ("Why?", 3, 0.5)


def test_older_specs(importing, log):
    old = {"spec": {"model_name": "gpt", "model_names": {"completions": ["gpt-4"]}}}
    (row,) = importing.rows("openai-evals", log(old, ASKED, RIGHT))
    assert row["model"] == "gpt-4"
    (row,) = importing.rows("openai-evals", log({"spec": {"model_name": "gpt"}}, ASKED, RIGHT))
    assert row["model"] == "gpt"
    two = {"spec": {"completion_fns": ["a", "b"]}}
    assert "give --model NAME" in importing.fails("openai-evals", log(two, ASKED, RIGHT))
    assert "give --model NAME" in importing.fails("openai-evals", log({"spec": {}}, ASKED, RIGHT))
    (row,) = importing.rows("openai-evals", log({"spec": {}}, ASKED, RIGHT), model=("mine",))
    assert row["model"] == "mine"


def test_what_has_no_prompt_or_grade_is_counted(importing, log):
    path = log(SPEC, ASKED, RIGHT, event("match", "e.1", correct=True), event("raw_sample", "e.2"))
    result = importing.result("openai-evals", path)
    assert result.left_out == {
        "the sample has no sampling event with its prompt": 1,
        "the sample has no grade": 1,
    }


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([ASKED, RIGHT], "has no line 'spec': not a log of OpenAI evals"),
        ([SPEC, ASKED, RIGHT, SPEC], "row 4: has a second spec"),
        ([SPEC, ASKED, RIGHT, {"a": 1}], "row 4: is no event: it needs type and sample_id"),
        ([SPEC, ASKED, RIGHT, event("match", correct=False)], "'e.0' has 2 different grades"),
        ([SPEC, ASKED, event("match", correct="maybe")], "field 'match': is 'maybe'"),
        ([SPEC, ASKED, event("match")], "field 'match': is missing"),
        ([SPEC, event("sampling", prompt=[1, 2]), RIGHT], "field 'prompt': message 1 is a number"),
        ([SPEC, event("sampling"), RIGHT], "field 'prompt': is null"),
        ([SPEC], "there is no graded answer to import"),
    ],
)
def test_bad_logs(importing, log, events: list[Any], reason: str):
    path = log(*events)
    said = importing.fails("openai-evals", path)
    assert str(path) in said
    assert reason in said


def test_a_truncated_log(importing, data, write):
    whole = (data / "openai_evals" / "invented-small.jsonl").read_bytes()
    path = write("cut.jsonl", whole[:-400])
    said = importing.fails("openai-evals", path, metric=("match",))
    assert "the line is broken or truncated JSON" in said
    assert importing.result("openai-evals", path, metric=("match",), on_bad="skip").n_runs >= 2
