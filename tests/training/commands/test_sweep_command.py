from __future__ import annotations

import json
import sys
from collections.abc import Callable

import mlflow
import pytest

from router.training.sweep import FIGURE


@pytest.mark.slow
def test_a_sweep_is_nested_runs_and_goes_on(here, make_store: Callable[[], str]):
    uri = make_store()
    words = ("sweep", "new.csv", "--pool", "pool.toml", "--jobs", 1, "--tracking-uri", uri)
    first = here.run(*words, "--trials", 2)
    assert f"2 trials; {FIGURE}" in first.stdout
    assert "prompts that took no part" in first.stdout
    second = json.loads(here.run(*words, "--trials", 3, "--json").stdout)
    assert second["n_trials"] <= 3
    assert second["best"] <= second["default"]
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("wattroute")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.data.tags["wattroute.kind"] == "sweep")
    trials = [run for run in runs if run.data.tags["wattroute.kind"] == "trial"]
    assert parent.info.run_name == "sweep three"
    assert parent.data.metrics[FIGURE] == pytest.approx(second["best"])
    assert {run.info.run_name for run in trials} == {"trial 0", "trial 1", "trial 2"}
    for run in trials:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert FIGURE in run.data.metrics
        assert run.data.params["pool"] == "three"


def test_wrong_usage(here, monkeypatch: pytest.MonkeyPatch):
    words = ("sweep", "runs.csv", "--pool", "pool.toml")
    assert "--no-tracking" in here.fails(*words, "--no-tracking", "--tracking-uri", "x")
    journal = here.folder / "notes.journal"
    journal.write_text("hello\n", encoding="utf-8")
    said = here.fails(*words, "--no-tracking", "--study", "notes.journal")
    assert "notes.journal is not the journal of a sweep" in said
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "wattroute[sweep]" in here.fails(*words, "--no-tracking")
