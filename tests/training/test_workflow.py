from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from router import Router
from router.artifact import artifact_digest
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureExtractor, FeatureSpec
from router.training.tracker import NullTracker
from router.training.tracking import MlflowTracker
from router.training.workflow import TrainingJob, run_training

DIGEST = "cd" * 32


@dataclass
class Tracked:
    """A training that was tracked, and what the store says about it."""

    job: TrainingJob
    lines: list[str]
    client: Any
    runs: list[Any]

    @property
    def parent(self) -> Any:
        (parent,) = (run for run in self.runs if "mlflow.parentRunId" not in run.data.tags)
        return parent

    @property
    def nested(self) -> list[Any]:
        return [run for run in self.runs if run is not self.parent]

    def files(self, path: str | None = None) -> set[str]:
        return {entry.path for entry in self.client.list_artifacts(self.parent.info.run_id, path)}


@dataclass
class Recorder(NullTracker):
    """A tracker that only remembers the names of the metrics and whether it was entered."""

    metrics: set[str] = field(default_factory=set)
    entered: bool = False

    def __enter__(self) -> Recorder:
        self.entered = True
        return self

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        self.metrics |= set(metrics)


@pytest.fixture(scope="module")
def make_job(make_matrix: Callable[..., AnswerMatrix], pool) -> Callable[..., TrainingJob]:
    matrix = make_matrix(80)

    def make(out: Path, **changes: object) -> TrainingJob:
        extractor = FeatureExtractor(FeatureSpec(n_buckets=2**10))
        job = TrainingJob(matrix, pool, extractor, out, "Made up.", DIGEST, "wattroute train")
        return replace(job, **changes)

    return make


@pytest.fixture(scope="module")
def tracked(make_job: Callable[..., TrainingJob], tmp_path_factory) -> Tracked:
    folder = tmp_path_factory.mktemp("tracked")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    job = make_job(folder / "router", n_splits=2, seed=5, register="three models")
    lines: list[str] = []
    run_training(job, MlflowTracker(uri, "training", "train three"), lines.append)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("training")
    return Tracked(job, lines, client, list(client.search_runs([experiment.experiment_id])))


def test_one_run_a_training_and_one_below_it_a_head(tracked: Tracked):
    parent = tracked.parent
    assert parent.info.run_name == "train three"
    assert all(run.info.status == "FINISHED" for run in tracked.runs)
    names = {run.info.run_name for run in tracked.nested}
    assert len(names) == len(tracked.nested) >= 5
    assert any(name.startswith("ridge") for name in names)
    for run in tracked.nested:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["head"] == run.info.run_name
        assert run.data.tags["wattroute.kind"] == "head"
        assert set(run.data.metrics) == {
            "out_of_fold_brier",
            "out_of_fold_log_energy_ratio",
            "weight",
        }


def test_parameters_and_data_are_written_down(tracked: Tracked):
    params = tracked.parent.data.params
    assert params["pool"] == "three"
    assert params["models"] == "small,middle,large"
    assert (params["seed"], params["n_splits"], params["data_digest"]) == ("5", "2", DIGEST)
    assert params["features.encoder"] == "static"
    (given,) = tracked.parent.inputs.dataset_inputs
    assert DIGEST.startswith(given.dataset.digest)
    profile = json.loads(given.dataset.profile)
    assert (profile["digest"], profile["n_prompts"]) == (DIGEST, 80)
    assert json.loads(given.dataset.source) == {"uri": "Made up."}
    assert params["reference"] == "large-api"
    assert params["router_digest"] == artifact_digest(tracked.job.out)


def test_the_figures_of_the_protocol_are_written_down(tracked: Tracked):
    metrics = tracked.parent.data.metrics
    for name in (
        "log_energy_ratio",
        "energy_at_0.90",
        "energy_at_1.00",
        "peak_quality",
        "auc",
        "brier",
        "ece",
        "length_error",
        "decision_us_p50",
        "train_s",
        "artifact_mb",
        "out_of_fold_log_energy_ratio",
    ):
        assert np.isfinite(metrics[name]), name
    assert metrics["log_energy_ratio_low"] < metrics["log_energy_ratio"]
    assert len(metrics) <= 30  # a table of runs with more columns is not read
    assert "zero router" in tracked.parent.data.tags["mlflow.note.content"]


def test_router_and_report_are_stored_with_the_run(tracked: Tracked):
    assert tracked.files() == {"report"}
    (output,) = tracked.parent.outputs.model_outputs
    model = tracked.client.get_logged_model(output.model_id)
    assert (model.name, model.source_run_id) == ("router", tracked.parent.info.run_id)
    assert {"log_energy_ratio", "auc"} <= {metric.key for metric in model.metrics}
    assert {"report/report.html", "report/report.md", "report/report.json"} <= tracked.files(
        "report"
    )


def test_the_router_is_registered_and_works(tracked: Tracked, monkeypatch: pytest.MonkeyPatch):
    version = tracked.client.get_model_version("three models", "1")
    assert version.run_id == tracked.parent.info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.client.tracking_uri)
    expected = Router.load(tracked.job.out).route("Add 1 to 2.")
    for uri in ("models:/three models/1", f"runs:/{tracked.parent.info.run_id}"):
        assert Router.load(uri).route("Add 1 to 2.") == expected


def test_the_card_has_figures_with_intervals(tracked: Tracked):
    card = (tracked.job.out / "README.md").read_text(encoding="utf-8")
    assert "wattroute train" in card
    (row,) = (line for line in card.splitlines() if "log_energy_ratio to" in line)
    mean = tracked.parent.data.metrics["log_energy_ratio"]
    assert row.startswith(f"| log_energy_ratio to the zero router | {mean:.3f} [")
    assert "nan" not in card


def test_every_step_is_told(tracked: Tracked):
    text = "\n".join(tracked.lines)
    for word in ("seed 0 (1 of 2)", "seed 1 (2 of 2)", "cross-fitting", "router written to"):
        assert word in text


def test_one_split_gives_figures_without_an_interval(make_job, tmp_path: Path):
    tracker = Recorder()
    _, result = run_training(make_job(tmp_path / "r"), tracker, lambda line: None)
    assert result is not None
    assert "log_energy_ratio" in tracker.metrics
    card = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    assert "nan" not in card
    assert "| log_energy_ratio to the zero router | -" in card


def test_gaps_in_the_grades_leave_no_held_out_figures(make_job, tmp_path: Path):
    job = make_job(tmp_path / "r")
    quality = job.matrix.quality.copy()
    quality[np.arange(80), np.arange(80) % 3] = np.nan
    lines: list[str] = []
    job = replace(job, matrix=replace(job.matrix, quality=quality))
    trained, result = run_training(job, NullTracker(), lines.append)
    assert result is None
    assert trained.artifact.lineage["n_answers"] == 160
    assert any("no held-out figures" in line and "0 of 80 prompts" in line for line in lines)
    assert "without held-out prompts" in (tmp_path / "r" / "README.md").read_text("utf-8")


def test_without_splits(make_job, tmp_path: Path):
    tracker = Recorder()
    _, result = run_training(make_job(tmp_path / "r", n_splits=0), tracker, lambda line: None)
    assert result is None
    assert tracker.metrics == {"out_of_fold_log_energy_ratio"}
    assert Router.load(tmp_path / "r").reference == "large-api"


@pytest.mark.parametrize("kind", ["folder", "file", "below a file"])
def test_a_folder_that_cannot_be_used_is_refused_before_the_work(
    make_job, tmp_path: Path, kind: str
):
    taken = tmp_path / "taken"
    out = taken
    if kind == "folder":
        taken.mkdir()
        (taken / "thesis.tex").write_text("x", encoding="utf-8")
    else:
        taken.write_text("x", encoding="utf-8")
        out = taken / "router" if kind == "below a file" else taken
    tracker = Recorder()
    with pytest.raises(ConfigError, match="taken"):
        run_training(make_job(out), tracker, lambda line: None)
    assert not tracker.entered


def test_a_router_that_is_there_is_replaced(make_job, tmp_path: Path):
    for seed in (0, 1):
        job = make_job(tmp_path / "new" / "router", n_splits=0, seed=seed)
        run_training(job, NullTracker(), lambda line: None)
    manifest = json.loads((tmp_path / "new" / "router" / "manifest.json").read_text("utf-8"))
    assert manifest["lineage"]["seed"] == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["router"]


def test_runs_without_a_model_of_the_pool(make_job, tmp_path: Path):
    job = make_job(tmp_path / "r")
    with pytest.raises(DataError, match="no model 'large'"):
        run_training(
            replace(job, matrix=job.matrix.columns(["small", "middle"])),
            NullTracker(),
            lambda line: None,
        )
    assert not (tmp_path / "r").exists()
