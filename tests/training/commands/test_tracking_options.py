from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest


@pytest.fixture(scope="module")
def uri(make_store: Callable[[], str]) -> str:
    return make_store()


def runs_of(uri: str, kind: str) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("wattroute")
    query = f"tags.`wattroute.kind` = '{kind}'"
    return list(client.search_runs([experiment.experiment_id], query))


def test_without_being_asked_nothing_is_logged(here, monkeypatch: pytest.MonkeyPatch):
    before = {path.name for path in Path.cwd().iterdir()}
    here.run("evaluate", "router", "new.csv")
    assert {path.name for path in Path.cwd().iterdir()} == before


def test_evaluations_and_benchmarks_have_the_names_of_trainings(here, uri: str):
    here.run("evaluate", "router", "new.csv", "--tracking-uri", uri)
    words = ("new.csv", "--pool", "pool.toml", "--out", "tracked", "--no-forecast")
    here.run("train", *words, "--tracking-uri", uri, "--register", "wattroute")
    here.run("benchmark", "pool.toml", "new.csv", "--seeds", 1, "--tracking-uri", uri)
    (trained,) = runs_of(uri, "train")
    (evaluated,) = runs_of(uri, "evaluate")
    (benchmarked,) = runs_of(uri, "benchmark")
    names = {"log_energy_ratio", "auc", "brier", "ece", "energy_at_0.98", "served_energy_0.98"}
    params = {"pool", "models", "n_models", "data_digest", "n_prompts", "seed"}
    for run in (trained, evaluated, benchmarked):
        assert names <= set(run.data.metrics)
        assert params <= set(run.data.params)
        assert len(run.data.metrics) <= 30
        assert len(run.data.params) <= 16
        assert run.data.tags["mlflow.note.content"]
        assert run.inputs.dataset_inputs[0].dataset.name == "three"
    # the same runs have the same digest wherever they are used
    assert trained.data.params["data_digest"] == evaluated.data.params["data_digest"]
    assert evaluated.inputs.dataset_inputs[0].tags[0].value == "evaluation"
    assert trained.inputs.dataset_inputs[0].tags[0].value == "training"
    methods = {run.data.params["method"] for run in runs_of(uri, "baseline")}
    assert {"zero router", "oracle", "reference"} <= methods
    assert all("log_energy_ratio" in run.data.metrics for run in runs_of(uri, "baseline"))


def test_figures_of_a_registered_router_are_its_own(
    here, make_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    from router.training.tracking import MlflowTracker

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := make_store())
    with MlflowTracker(uri, "wattroute", "train", "train") as run:
        model_id = run.log_router("router")
        run.register("wattroute", "router")
    found = json.loads(
        here.run("evaluate", "models:/wattroute/1", "new.csv", "--track", "--json").stdout
    )
    (evaluated,) = runs_of(uri, "evaluate")
    assert evaluated.info.run_name == "evaluate models:/wattroute/1"
    model = mlflow.MlflowClient(tracking_uri=uri).get_logged_model(model_id)
    own = {metric.key: metric for metric in model.metrics}
    assert own["auc"].value == pytest.approx(found["figures"]["auc"], abs=1e-5)
    assert own["auc"].run_id == evaluated.info.run_id
    assert own["auc"].dataset_digest == evaluated.inputs.dataset_inputs[0].dataset.digest
