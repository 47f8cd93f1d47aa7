"""The decision log of a proxy becomes evaluation runs that training reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from router.cli.graded_runs import graded_runs
from router.serve.decision_log import DecisionLog
from router.training.ingest import load_runs
from router.training.schema import RunsError

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def write_log(path: Path, *records: dict[str, Any]) -> Path:
    log = DecisionLog(path)
    for record in records:
        log.append(record)
    log.close()
    return path


def decision(request_id: str, model: str, prompt: Any) -> dict[str, Any]:
    return {
        "kind": "decision",
        "request_id": request_id,
        "model": f"api/{model}",
        "run_name": model,
        "outcome": "answered",
        "usage": {"prompt_tokens": 9, "completion_tokens": 30, "estimated": False},
        "latency_s": 0.25,
        "prompt": prompt,
    }


def grade(request_id: str, quality: float) -> dict[str, Any]:
    return {"kind": "feedback", "request_id": request_id, "quality": quality}


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(graded_runs, [str(argument) for argument in arguments])


def test_training_reads_the_log_itself(tmp_path: Path):
    """As it is, beside runs from elsewhere, and gives the same as `wattroute graded-runs`."""
    log = write_log(
        tmp_path / "decisions.jsonl",
        decision("wr-1", "small", MESSAGES),
        decision("wr-2", "large", MESSAGES),
        decision("wr-3", "large", "never graded"),
        decision("wr-4", "small", MESSAGES),
        grade("wr-1", 0.0),
        grade("wr-2", 1.0),
        grade("wr-4", 1.0),
    )
    read = load_runs(log)
    found = dict(zip(read.frame["model"], read.frame["quality"], strict=True))
    assert found == {"small": 0.5, "large": 1.0}
    out = tmp_path / "runs.jsonl"
    assert invoke(log, "--out", out).exit_code == 0
    assert load_runs(out).digest == read.digest
    (tmp_path / "more.csv").write_text("prompt,model,quality\nWhat?,small,1\n")
    assert len(load_runs([log, tmp_path / "more.csv"]).frame) == 3


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([decision("wr-1", "small", MESSAGES)], "--log-prompts"),
        ([decision("wr-1", "small", None), grade("wr-1", 1.0)], "--log-prompts"),
        ([decision("wr-1", "small", [{"role": "x"}]), grade("wr-1", 1.0)], "--log-prompts"),
        ([decision("wr-1", "small", MESSAGES), grade("wr-1", 7.0)], "quality"),
    ],
    ids=["no grade", "no prompt", "no text", "wrong grade"],
)
def test_a_log_without_what_training_needs(tmp_path: Path, records: list[Any], said: str):
    log = write_log(tmp_path / "decisions.jsonl", *records)
    with pytest.raises(RunsError, match=said):
        load_runs(log)


def test_a_log_that_is_broken_is_named_with_its_line(tmp_path: Path):
    log = write_log(tmp_path / "decisions.jsonl", decision("wr-1", "small", MESSAGES))
    with log.open("a") as file:
        file.write("no JSON\n")
    with pytest.raises(RunsError, match=r"row 2.*is this a decision log"):
        load_runs(log)


def test_graded_decisions_load_as_runs(tmp_path: Path):
    parts = [{"role": "user", "content": [{"type": "text", "text": "And why \ud800?"}]}]
    log = write_log(
        tmp_path / "decisions.jsonl",
        decision("wr-1", "small", MESSAGES),
        decision("wr-2", "large", MESSAGES),
        decision("wr-3", "small", parts),
        decision("wr-4", "small", "never graded"),
        decision("wr-5", "small", MESSAGES),  # the same again, with another grade
        grade("wr-5", 0.5),
        grade("wr-1", 0.0),
        grade("wr-2", 1.0),
        grade("wr-3", 0.5),
    )
    out = tmp_path / "runs.jsonl"
    result = invoke(log, "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 graded runs of 2 models" in result.output
    runs = load_runs(out)
    frame = runs.frame.sort_values(["model", "quality"])
    assert frame["model"].tolist() == ["large", "small", "small"]
    assert frame["quality"].tolist() == [1.0, 0.25, 0.5]
    assert set(frame["completion_tokens"]) == {30.0}
    assert set(frame["latency_s"]) == {0.25}
    assert set(frame["source"]) == {"decision log"}
    assert runs.frame["prompt_id"].nunique() == 2
    assert out.stat().st_mode & 0o077 == 0


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
WITHOUT_TEXT = {
    "unknown role": [{"role": "robot", "content": "Why?"}],
    "no role": [{"content": "Why?"}],
    "null": [{"role": "user", "content": None}],
    "null after text": [*MESSAGES, {"role": "assistant", "content": None}],
    "image": [{"role": "user", "content": [IMAGE]}],
    "blank": " \n",
    "blank part": [{"role": "user", "content": [{"type": "text", "text": " "}, IMAGE]}],
    "part without text": [{"role": "user", "content": [{"type": "text"}]}],
    "part without type": [{"role": "user", "content": ["Why?"]}],
    "number": [{"role": "tool", "content": 7}],
    "calls that are none": [*MESSAGES, {"role": "assistant", "content": "", "tool_calls": "x"}],
    "no messages": [],
    "object": {"role": "user", "content": "Why?"},
}


@pytest.mark.parametrize("prompt", WITHOUT_TEXT.values(), ids=WITHOUT_TEXT)
def test_prompts_without_text_are_passed_over_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prompt: Any
):
    useful = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]
    log = write_log(
        tmp_path / "log.jsonl",
        decision("wr-1", "small", prompt),
        decision("wr-2", "large", useful),
        grade("wr-1", 1.0),
        grade("wr-2", 1.0),
    )
    read = load_runs(log)
    assert read.frame["model"].tolist() == ["large"]
    assert "log.jsonl: 1 graded runs passed over" in caplog.text
    out = tmp_path / "runs.jsonl"
    result = invoke(log, "--out", out)
    assert "1 graded runs of 1 models" in result.stdout
    assert "1 graded runs passed over" in result.stderr
    assert load_runs(out).digest == read.digest


def test_what_has_text_can_be_learned_from(tmp_path: Path):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    prompts = [
        "Why?",
        [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call]}],
        [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}],
        [{"role": "system", "content": "Describe images."}, {"role": "user", "content": [IMAGE]}],
    ]
    records = [decision(f"wr-{i}", "small", prompt) for i, prompt in enumerate(prompts)]
    grades = [grade(f"wr-{i}", 1.0) for i in range(len(prompts))]
    runs = load_runs(write_log(tmp_path / "log.jsonl", *records, *grades))
    assert len(runs.frame) == len(prompts)
    assert len(runs.to_matrix().prompts) == len(prompts)


def test_counts_as_json(tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", decision("wr-1", "small", "Why?"), grade("wr-1", 1.0))
    result = invoke(log, "--out", tmp_path / "runs.jsonl", "--json")
    assert json.loads(result.output) == {
        "runs": 1,
        "passed_over": 0,
        "models": ["small"],
        "out": str(tmp_path / "runs.jsonl"),
    }


def test_nothing_graded_is_a_finding_and_writes_nothing(tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", decision("wr-1", "small", "Why?"))
    result = invoke(log, "--out", tmp_path / "runs.jsonl")
    assert result.exit_code == 1
    assert "no graded runs" in result.stderr
    assert list(tmp_path.iterdir()) == [log]


def test_the_log_itself_is_not_overwritten(tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", decision("wr-1", "small", "Why?"), grade("wr-1", 1.0))
    before = log.read_bytes()
    assert isinstance(invoke(log, "--out", log).exception, ValueError)
    assert log.read_bytes() == before


@pytest.mark.parametrize("content", [b"no log\n", b"[]\n"])
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    other = tmp_path / "other.jsonl"
    other.write_bytes(content)
    result = invoke(other, "--out", tmp_path / "runs.jsonl")
    assert isinstance(result.exception, ValueError)
    assert "row 1" in str(result.exception)
    assert list(tmp_path.iterdir()) == [other]
