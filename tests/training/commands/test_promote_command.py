from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from router import Router
from router.artifact import read_artifact, write_artifact
from router.training.tracking import MlflowTracker

# a bar that the routers of these tests keep on 90 prompts, whatever their luck
LENIENT = ("--quality", 0.9, "--margin", 0.4)


class Registry:
    """A store of its own, with what a test asks about it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client: Any = mlflow.MlflowClient(tracking_uri=uri)

    def champion(self) -> str | None:
        try:
            aliases = self.client.get_registered_model("wattroute").aliases
        except mlflow.exceptions.MlflowException:
            return None
        return str(aliases["champion"]) if "champion" in aliases else None

    def runs(self, kind: str = "promote") -> list[Any]:
        experiment = self.client.get_experiment_by_name("wattroute")
        if experiment is None:
            return []
        query = f"tags.`wattroute.kind` = '{kind}'"
        return list(self.client.search_runs([experiment.experiment_id], query))


@pytest.fixture
def registry(make_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Registry:
    uri = make_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return Registry(uri)


def test_the_first_champion(here, registry: Registry):
    result = here.run("promote", "router", "new.csv", *LENIENT)
    assert "none yet; the reference model stands in for it" in result.stderr
    assert "models:/wattroute@champion is version 1 now" in result.stdout
    assert registry.champion() == "1"
    assert Router.load("models:/wattroute@champion").reference == "large-api"
    (run,) = registry.runs()
    assert run.info.run_name == "promote router"
    assert run.data.metrics["promoted"] == 1.0
    assert run.data.metrics["served_energy_0.90"] < 1.0
    assert run.data.params["registered_model"] == "wattroute"
    assert run.data.tags["mlflow.note.content"].startswith("Better at the bar 0.9.")
    (given,) = run.inputs.dataset_inputs
    assert run.data.params["data_digest"].startswith(given.dataset.digest)
    version = registry.client.get_model_version("wattroute", "1")
    assert version.tags["wattroute.promoted_by"] == run.info.run_id
    assert "is the champion already: version 1" in here.fails("promote", "router", "new.csv")


def test_one_that_is_not_better_stays_a_challenger(here, registry: Registry):
    here.run("promote", "router", "new.csv", *LENIENT)
    here.train("runs.csv", "--pool", "pool.toml", "--out", "other", "--seed", 3)
    with MlflowTracker(registry.uri, "wattroute", "train other") as run:
        version = run.register("wattroute", "other")
        run_id = run.run_id
    for challenger in ("other", version, f"models:/wattroute/{version}", f"runs:/{run_id}"):
        words = ("promote", challenger, "new.csv", *LENIENT, "--level", 0.002, "--json")
        found = json.loads(here.run(*words, code=1).stdout)
        assert (found["promoted"], found["champion"], found["version"]) == (False, "1", None)
        assert not found["saves_energy"]
    assert registry.champion() == "1"
    assert len(registry.client.search_model_versions("name = 'wattroute'")) == 2
    assert any("have decided 4 comparisons of 'wattroute' before" in n for n in found["notes"])


def test_a_version_and_a_run_can_be_promoted(here, registry: Registry):
    with MlflowTracker(registry.uri, "wattroute", "train router", "train") as run:
        model_id = run.log_router("router")
        version = run.register("wattroute", "router")
        run_id = run.run_id
    words = ("promote", version, "new.csv", *LENIENT)
    assert "is version 1 now" in here.run(*words, "--alias", "one").stdout
    words = ("promote", f"runs:/{run_id}", "new.csv", *LENIENT)
    assert "models:/copy@champion is version 1 now" in here.run(*words, "--name", "copy").stdout
    # nothing is stored twice
    assert model_id in registry.client.get_model_version("copy", "1").source
    assert Router.load("models:/copy@champion").reference == "large-api"


def test_runs_without_lengths_take_those_that_the_routers_expect(here, registry: Registry):
    runs = pd.read_csv("new.csv")
    runs.drop(columns="completion_tokens").to_csv("silent.csv", index=False)
    words = (*LENIENT, "--dry-run", "--json")
    counted = json.loads(here.run("promote", "router", "new.csv", *words).stdout)
    result = here.run("promote", "router", "silent.csv", *words)
    assert "no completion tokens of small, middle, large: lengths" in result.stderr
    found = json.loads(result.stdout)
    assert found["challenger_energy"] == pytest.approx(counted["challenger_energy"], rel=0.15)


def test_a_dry_run_changes_nothing(here, registry: Registry):
    result = here.run("promote", "router", "new.csv", *LENIENT, "--dry-run")
    assert "Better: without --dry-run" in result.stdout
    assert (registry.champion(), registry.runs()) == (None, [])


def test_a_dry_run_makes_no_store(here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    uri = f"sqlite:///{tmp_path}/none.db"
    words = ("promote", "router", "new.csv", *LENIENT, "--dry-run", "--tracking-uri", uri)
    here.run(*words)
    assert list(tmp_path.iterdir()) == []


def test_prompts_of_the_training_are_refused(here, registry: Registry):
    said = here.fails("promote", "router", "runs.csv")
    assert "60 of 60 prompts were trained or certified on (the challenger 60)" in said
    words = ("promote", "router", "runs.csv", "new.csv", *LENIENT)
    assert "60 of 150 prompts" in here.fails(*words)
    result = here.run(*words, "--leave-out-seen")
    assert "60 prompts left out that were trained or certified on" in result.stderr
    assert "90 prompts; quality" in result.stdout
    words = ("promote", "router", "runs.csv", "--leave-out-seen", "--alias", "other")
    assert "0 new prompts" in here.fails(*words)


def test_a_router_that_does_not_say_what_it_saw_is_named(here, registry: Registry):
    artifact = read_artifact("router")
    lineage = {k: v for k, v in artifact.lineage.items() if not k.endswith("_hashes")}
    write_artifact(replace(artifact, lineage=lineage), "silent", "Silent.")
    result = here.run("promote", "silent", "new.csv", *LENIENT, "--dry-run")
    assert "the challenger does not say what it was trained on" in result.stderr
    shutil.rmtree("silent")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "new.csv"), "no router at nowhere"),
        (("7", "new.csv"), "no registered model 'wattroute'"),
        (("router", "new.csv", "--alias", "latest"), "--alias 'latest'"),
        (("router", "new.csv", "--alias", "v1"), "--alias 'v1'"),
        (("router", "new.csv", "--alias", "a b"), "--alias 'a b'"),
        (("router", "new.csv", "--margin", "2"), "margin is 2.0"),
        (("router", "new.csv", "--quality", "0"), "quality is 0.0"),
    ],
)
def test_wrong_usage_is_one_line(here, registry: Registry, words: tuple[str, ...], said: str):
    assert said in here.fails("promote", *words)
    assert (registry.champion(), registry.runs()) == (None, [])


def test_runs_without_a_model_of_the_pool(here, registry: Registry):
    here.frame[here.frame["model"] != "large"].to_csv("two.csv", index=False)
    assert "the runs have no model 'large'" in here.fails("promote", "router", "two.csv")
