from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tracking store with a table of `mlflow.models.evaluate` and one of traces."""
    folder = tmp_path_factory.mktemp("store")
    # MLflow keeps the store and the experiment in use for the whole process
    command = [sys.executable, str(Path(__file__).with_name("make_mlflow_store.py")), str(folder)]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {**json.loads(made.stdout.splitlines()[-1]), "at": folder}


@pytest.mark.slow
def test_a_table_by_its_run(importing, store):
    rows = importing.rows(
        "mlflow", f"run:{store['table']}", tracking_uri=store["uri"], metric=("right",)
    )
    assert {(r["prompt"], r["model"], r["quality"]) for r in rows} == {
        ("1 + 1?", "small", 1.0),
        ("Where?", "small", 0.0),
    }


@pytest.mark.slow
def test_a_table_by_its_path(importing, store):
    (path,) = Path(store["at"]).rglob("*eval_results_table.json")
    for source in (path, path.parent):
        rows = importing.rows("mlflow", source, metric=("style",), scale="1:5", model=("mine",))
        assert {(r["prompt"], r["quality"]) for r in rows} == {("1 + 1?", 0.75), ("Where?", 1.0)}
        assert {r["model"] for r in rows} == {"mine"}
    said = importing.fails("mlflow", path, metric=("right",))
    assert "there is no column 'model': say which it is with --column model=NAME" in said
    rows = importing.rows(
        "mlflow", path, metric=("right",), column=("prompt=target", "model=answer")
    )
    assert {(r["prompt"], r["model"]) for r in rows} == {("2", "2"), ("Rome", "Oslo")}


@pytest.mark.slow
def test_a_grade_must_be_told_and_exist(importing, store):
    source = {"tracking_uri": store["uri"]}
    said = importing.fails("mlflow", f"run:{store['table']}", **source)
    assert "say which grade to take with --metric NAME; there are right/score, style/score" in said
    said = importing.fails("mlflow", f"run:{store['table']}", metric=("wrong",), **source)
    assert "there is no grade 'wrong'; there are right/score, style/score" in said
    said = importing.fails("mlflow", f"run:{store['table']}", metric=("style",), **source)
    assert "field 'style/score': is 4, outside 0 to 1" in said


@pytest.mark.slow
def test_traces_of_a_run(importing, store):
    words: dict[str, Any] = {"tracking_uri": store["uri"], "model": ("mine",)}
    rows = importing.rows("mlflow", f"run:{store['traces']}", metric=("right",), **words)
    found = {row["prompt"]: row["quality"] for row in rows}
    chat = [{"role": "user", "content": "Hi"}]
    assert found == {"1 + 1?": 1.0, json.dumps(chat, sort_keys=True, separators=(",", ":")): 0.0}
    rows = importing.rows("mlflow", f"run:{store['traces']}", metric=("verdict",), **words)
    assert {row["quality"] for row in rows} == {1.0}  # the newer verdict
    said = importing.fails("mlflow", f"run:{store['traces']}", **words)
    assert "there are right, verdict" in said
    del words["model"]
    said = importing.fails("mlflow", f"run:{store['traces']}", metric=("right",), **words)
    assert "field 'model': is missing: say which model answered with --model NAME" in said


@pytest.mark.slow
def test_runs_that_hold_nothing(importing, store):
    source = f"run:{store['empty']}"
    said = importing.fails("mlflow", source, tracking_uri=store["uri"])
    assert f"{source}: the run has neither a table *eval_results_table.json nor traces" in said
    said = importing.fails("mlflow", "run:0123", tracking_uri=store["uri"])
    assert "run:0123: MLflow cannot give the run" in said
    said = importing.fails("mlflow", "run:0123", tracking_uri="gopher://x")
    assert "run:0123: MLflow cannot give the run" in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"columns": ["inputs", "a/score"], "data": [["Why?", 1', "broken or truncated JSON"),
        ('{"columns": ["inputs", "a/score"], "data": [["Why?"]]}', "the row does not fit"),
        ('{"columns": ["inputs", "a/score"]}', "it needs 'columns' and 'data'"),
        ('{"columns": ["inputs", "a/score"], "data": []}', "the table has no rows"),
        ('{"columns": ["x", "a/score"], "data": [[1, 1]]}', "there is no column 'inputs'"),
        ('{"columns": ["inputs"], "data": [["x"]]}', "say which grade to take"),
        (
            '{"columns": ["inputs", "a/score"], "data": [["", 1]]}',
            "row 1, field 'prompt': is empty",
        ),
    ],
)
def test_bad_tables(importing, write, content: str, reason: str):
    path = write("eval_results_table.json", content)
    said = importing.fails("mlflow", path, model=("m",))
    assert str(path) in said
    assert reason in said


def test_columns_of_the_table_beside_the_grade(importing, write):
    table = {
        "columns": ["question", "a/v1/score", "source", "token_count", "latency"],
        "data": [["Why?", 1, "a.pdf", 12, 0.5], ["How?", None, "", 3, 0.5]],
    }
    path = write("eval_results_table.json", json.dumps(table))
    (row,) = importing.rows("mlflow", path, model=("m",), metric=("a",))
    assert (row["prompt"], row["completion_tokens"], row["latency_s"]) == ("Why?", 12, 0.5)
    assert row["source"] == "mlflow"
    result = importing.result("mlflow", path, model=("m",), metric=("a/v1",))
    assert result.left_out == {"the grade 'a/v1/score' is empty": 1}
