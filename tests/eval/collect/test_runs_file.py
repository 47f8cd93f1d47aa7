from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from router.errors import ConfigError
from router.eval.collect.answers import Answer
from router.eval.collect.grades import GradingOutcome
from router.eval.collect.runs_file import check_out, run_rows, write_runs
from router.eval.grading import Grade
from router.eval.suites import SuitePrompt
from router.training.ingest import load_runs

CHAT = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Why? 為什麼\u2028"}]
PROMPTS = (
    SuitePrompt("6 * 7?", "a", task="sums", metadata={"split": "test"}),
    SuitePrompt(CHAT, "b"),
)


def outcome() -> GradingOutcome:
    found = GradingOutcome()
    bases = {"small": "measured: 1 GPU (NVML)", "large": "estimated: codecarbon"}
    for model, basis in bases.items():
        for prompt in PROMPTS:
            pair = model, prompt.key
            found.answers[pair] = Answer(
                model, prompt.key, prompt.prompt_id, "", prompt_tokens=9, completion_tokens=4,
                latency_s=0.5, energy_j=2.0, energy_basis=basis,
            )  # fmt: skip
            found.grades[pair] = Grade(0.5, "so so")
    return found


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_training_reads_what_is_written(tmp_path: Path, form: Literal["jsonl", "parquet"]):
    rows = list(run_rows(outcome(), PROMPTS, ["small", "large"]))
    path = write_runs(tmp_path, rows, form)
    assert path.suffix == f".{form}"
    matrix = load_runs(tmp_path).to_matrix()
    assert "6 * 7?" in matrix.prompts
    assert CHAT in [list(prompt) for prompt in matrix.prompts]
    assert (matrix.quality == 0.5).all()
    assert (matrix.completion_tokens == 4).all()
    small, large = matrix.models.index("small"), matrix.models.index("large")
    assert (matrix.energy_j[:, small] == 2.0).all()
    assert (matrix.energy_j[:, large] != 2.0).all(), "an estimate is no measurement"
    assert {"sums", ""} == set(matrix.tasks)


def test_an_answer_without_a_grade_is_no_run():
    found = outcome()
    del found.grades["small", PROMPTS[0].key]
    rows = list(run_rows(found, PROMPTS, ["small", "large"]))
    assert [(row["model"], row["prompt_id"]) for row in rows] == [
        ("large", "a"), ("small", "b"), ("large", "b"),
    ]  # fmt: skip


def test_nothing_graded_leaves_the_old_file(tmp_path: Path):
    (tmp_path / "runs.jsonl").write_text("old\n")
    with pytest.raises(ConfigError, match="no answer has a grade"):
        write_runs(tmp_path, [], "jsonl")
    assert (tmp_path / "runs.jsonl").read_text() == "old\n"


def test_a_file_of_the_other_format_is_in_the_way(tmp_path: Path):
    check_out(tmp_path, "jsonl")
    rows: list[dict[str, Any]] = list(run_rows(outcome(), PROMPTS, ["small"]))
    write_runs(tmp_path, rows, "jsonl")
    with pytest.raises(ConfigError, match="twice"):
        check_out(tmp_path, "parquet")
    with pytest.raises(ConfigError, match="not made by collect"):
        check_out(tmp_path, "jsonl")
    (tmp_path / "collect").mkdir()
    check_out(tmp_path, "jsonl")
    assert [
        json.loads(x)["model"] for x in (tmp_path / "runs.jsonl").read_bytes().split(b"\n")[:-1]
    ] == ["small"] * 2
