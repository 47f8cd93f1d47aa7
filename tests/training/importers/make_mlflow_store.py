"""Make an MLflow store with a table of `mlflow.models.evaluate` and one of traces.

Usage: make_mlflow_store.py FOLDER; the last line printed is where things are, as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

CHAT = [{"role": "user", "content": "Hi"}]


@mlflow.genai.scorer
def right(outputs: str) -> bool:
    return outputs == "2"


@mlflow.genai.scorer
def verdict(outputs: str) -> str:
    return "no"


@mlflow.genai.scorer
def comment(outputs: str) -> str:
    return "nice"


def metric(name: str, scores: list[float]) -> Any:
    return mlflow.metrics.make_metric(
        eval_fn=lambda predictions, targets, metrics=None: mlflow.metrics.MetricValue(
            scores=scores
        ),
        greater_is_better=True,
        name=name,
    )


def main(folder: Path) -> dict[str, str]:
    uri = f"sqlite:///{folder}/m.db"
    mlflow.set_tracking_uri(uri)
    location = (folder / "a").as_uri()
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", artifact_location=location))
    frame = pd.DataFrame(
        {"inputs": ["1 + 1?", "Where?"], "target": ["2", "Rome"], "answer": ["2", "Oslo"]}
    )
    with mlflow.start_run() as run:
        mlflow.log_param("model", "small")
        mlflow.models.evaluate(
            data=frame,
            predictions="answer",
            targets="target",
            extra_metrics=[metric("right", [1.0, 0.0]), metric("style", [4.0, 5.0])],
        )
    table = run.info.run_id
    traces = mlflow.genai.evaluate(
        data=[
            {"inputs": {"question": "1 + 1?"}, "outputs": "2"},
            {"inputs": {"messages": CHAT}, "outputs": "Hi"},
        ],
        scorers=[right, verdict, comment],
    ).run_id
    for trace in mlflow.search_traces(run_id=traces, return_type="list"):
        mlflow.log_feedback(trace_id=trace.info.trace_id, name="verdict", value="yes")
    with mlflow.start_run() as run:
        pass
    return {"uri": uri, "table": table, "traces": traces, "empty": run.info.run_id}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(main(Path(sys.argv[1]))))
