from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """Return a copy of a run folder that may be changed."""
    return Path(shutil.copytree(next((data / "helm").glob("*large")), tmp_path / "run"))


def change(path: Path, edit: Any) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_what_helm_wrote(importing, data):
    result = importing.result("helm", data / "helm")
    assert result.left_out == {"a perturbed copy of an instance": 2, "the request failed": 1}
    assert (result.n_runs, result.n_read) == (5, 8)
    assert result.notes == ("legs_and_sums:subject=mixed: the grade is exact_match",)
    rows = importing.rows("helm", data / "helm")
    found = {(row["model"], row["prompt_id"].rpartition(":")[2]): row for row in rows}
    assert found["invented/small", "id1"] == {
        "prompt": "Question: What is 10 + 7?\nAnswer:",
        "model": "invented/small",
        "quality": 0.0,
        "prompt_id": "legs_and_sums:subject=mixed:id1",
        "prompt_tokens": 9.0,
        "completion_tokens": 2.0,
        "task": "legs_and_sums:subject=mixed",
        "source": "helm",
        "split": "test",
        "latency_s": 0.25,
    }
    assert found["invented/large", "id1"]["quality"] == 1.0


def test_a_statistic_must_be_told_where_there_are_several(importing, run):
    def add(stats: Any) -> None:
        for entry in stats:
            other = json.loads(json.dumps(entry["stats"][0]))
            other["name"]["name"] = "f1_score"
            other["mean"] = 0.75
            entry["stats"].append(other)

    change(run / "per_instance_stats.json", add)
    said = importing.fails("helm", run)
    assert "say which statistic is the grade with --metric NAME" in said
    assert "there are exact_match, f1_score" in said
    assert {row["quality"] for row in importing.rows("helm", run, metric=("f1_score",))} == {0.75}
    assert "no statistic 'bleu'" in importing.fails("helm", run, metric=("bleu",))


def test_chats_references_and_trials(importing, run):
    def edit(state: Any) -> None:
        first, perturbed, second, third = state["request_states"]
        first["request"]["messages"] = [{"role": "user", "content": "Chat?"}]
        second["reference_index"] = 1
        third["train_trial_index"] = 2
        perturbed["instance"].pop("perturbation")  # the same instance asked again

    change(run / "scenario_state.json", edit)
    result = importing.result("helm", run)
    assert result.left_out == {
        "another request for the same instance": 1,
        "the instance has no exact_match": 1,
    }
    first, second = importing.rows("helm", run)
    assert json.loads(first["prompt"]) == [{"role": "user", "content": "Chat?"}]
    assert second["prompt"] == "What is 10 + 7?"


def test_broken_runs(importing, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "copy")
    (folder / "per_instance_stats.json").unlink()
    assert "the run has no per_instance_stats.json" in importing.fails("helm", folder)
    text = (run / "scenario_state.json").read_text()
    (run / "scenario_state.json").write_text(text[: len(text) // 2])
    assert "scenario_state.json: is broken or truncated JSON" in importing.fails("helm", run)
    (run / "scenario_state.json").write_text("{}")
    said = importing.fails("helm", run)
    assert "field 'request_states': is missing: not a file of this format" in said
    (run / "scenario_state.json").write_text('{"request_states": [{}]}')
    assert "row 1: has no instance with an id" in importing.fails("helm", run)
    (run / "scenario_state.json").write_text(text)
    (run / "per_instance_stats.json").write_text('[{"instance_id": 3}]')
    assert "row 1: is no statistic of an instance" in importing.fails("helm", run)
    (run / "run_spec.json").write_text("[]")
    assert "run_spec.json, field 'name': is missing" in importing.fails("helm", run)
    said = importing.fails("helm", run / "run_spec.json")
    assert "give the folder that holds scenario_state.json" in said
    assert "the folder has no file scenario_state.json" in importing.fails("helm", importing.folder)


def test_grades_out_of_range(importing, run):
    def grow(stats: Any) -> None:
        for entry in stats:
            entry["stats"][0]["mean"] = 4

    change(run / "per_instance_stats.json", grow)
    said = importing.fails("helm", run)
    assert "row 1, field 'exact_match': is 4, outside 0 to 1: say the range" in said
    rows = importing.rows("helm", run, scale="0:5")
    assert {row["quality"] for row in rows} == {0.8}
