from __future__ import annotations

import json
import logging
import math
import os
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest

from router.errors import ConfigError, MissingExtraError
from router.training.tracking import DEFAULT_TRACKING_URI, MlflowTracker, NullTracker, Tracker

NEW_STORE = """
import os
before = dict(os.environ)
from router.training.tracking import MlflowTracker
with MlflowTracker(run_name="first") as run:
    run.log_metrics({"auc": 0.5})
import mlflow
assert not hasattr(mlflow, "telemetry") or mlflow.telemetry.get_telemetry_client() is None
assert dict(os.environ) == before
"""


@pytest.fixture(scope="module")
def new_store(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Make a SQLite store in a working folder, by default: its tables take seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    environment = {k: v for k, v in os.environ.items() if "MLFLOW" not in k}
    done = subprocess.run(
        [sys.executable, "-c", NEW_STORE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return folder, done


@pytest.fixture
def store(new_store: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    return new_store[0]


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "arrays").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    (folder / "arrays" / "heads.npz").write_bytes(b"\x00\x01")
    return folder


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def client_of(folder: Path) -> Any:
    return mlflow.MlflowClient(tracking_uri=uri_of(folder))


def test_a_training_can_be_read_back(store: Path, artifact: Path):
    with MlflowTracker(uri_of(store), "reading", run_name="reasoning-gym") as run:
        parent_id = run.run_id
        run.log_params({"seed": 3, "encoder": "static", "bars": (0.9, 0.98), "empty": ""})
        run.log_metrics({"log_energy_ratio": -0.58})
        run.log_metrics({"energy_at/0.98": 0.4}, step=1)
        run.log_metrics({"energy_at/0.98": 0.3}, step=2)
        run.log_dataset("reasoning-gym", "ab" * 32, 4766, ["gemma", "r1"], "runs.parquet")
        for name in ("knn", "ridge"):
            with run.nested(name) as head:
                head.log_params({"k": 50})
                head.log_metrics({"auc": 0.71})
        run.log_artifacts(artifact, "router")

    client = client_of(store)
    stored = client.get_run(parent_id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "reasoning-gym"
    assert stored.data.params == {
        "seed": "3",
        "encoder": "static",
        "bars": "(0.9, 0.98)",
        "empty": "",
    }
    assert stored.data.metrics == {"log_energy_ratio": -0.58, "energy_at/0.98": 0.3}
    history = client.get_metric_history(parent_id, "energy_at/0.98")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.4), (2, 0.3)]

    (dataset_input,) = stored.inputs.dataset_inputs
    dataset = dataset_input.dataset
    assert (dataset.name, json.loads(dataset.source)) == ("reasoning-gym", {"uri": "runs.parquet"})
    assert [column["name"] for column in json.loads(dataset.schema)["mlflow_colspec"]] == [
        "prompt",
        "gemma",
        "r1",
    ]
    assert dataset.digest == ("ab" * 32)[:36]
    assert '"digest": "' + "ab" * 32 in dataset.profile
    assert '"models": ["gemma", "r1"]' in dataset.profile

    nested = client.search_runs(
        [stored.info.experiment_id], f"tags.mlflow.parentRunId = '{parent_id}'"
    )
    assert {run.info.run_name for run in nested} == {"knn", "ridge"}
    assert all(run.data.metrics == {"auc": 0.71} for run in nested)
    assert all(run.info.status == "FINISHED" for run in nested)

    assert [entry.path for entry in client.list_artifacts(parent_id)] == ["router"]
    names = {entry.path for entry in client.list_artifacts(parent_id, "router")}
    assert names == {"router/manifest.json", "router/arrays"}
    assert (store / "mlartifacts" / parent_id / "artifacts" / "router" / "manifest.json").exists()


def test_a_registered_router_is_the_folder_and_no_code(store: Path, artifact: Path, tmp_path: Path):
    with MlflowTracker(uri_of(store), "registering") as run:
        run_id = run.run_id
        assert run.register("Bob's router", artifact) == "1"
    with MlflowTracker(uri_of(store), "registering") as run:
        model_id = run.log_router(artifact)
        assert run.log_router(artifact) == model_id
        assert run.register("Bob's router", artifact) == "2"

    client = client_of(store)
    version = client.get_model_version("Bob's router", "1")
    assert version.run_id == run_id
    assert model_id in client.get_model_version("Bob's router", "2").source
    assert "@champion" in client.get_registered_model("Bob's router").description
    fetched = Path(
        mlflow.artifacts.download_artifacts(
            artifact_uri=version.source,
            dst_path=str(tmp_path / "fetched"),
            tracking_uri=uri_of(store),
        )
    )
    files = {path.relative_to(fetched).as_posix() for path in fetched.rglob("*") if path.is_file()}
    assert {name for name in files if name.startswith("data/")} == {
        "data/router/manifest.json",
        "data/router/arrays/heads.npz",
    }
    assert {Path(name).suffix for name in files} <= {"", ".json", ".npz", ".txt", ".yaml"}


def test_figures_that_follow_are_those_of_the_router(store: Path, artifact: Path):
    with MlflowTracker(uri_of(store), "figures", "one", "train") as run:
        run_id = run.run_id
        run.log_dataset("runs", "ab" * 32, 10, ["gemma"], "runs.parquet", "evaluation")
        model_id = run.log_router(artifact)
        run.log_metrics({"auc": 0.7})
        run.describe("Better than **nothing**.")
        with run.nested("knn", "head") as head:
            head.log_metrics({"auc": 0.6})
    client = client_of(store)
    (metric,) = client.get_logged_model(model_id).metrics
    assert (metric.key, metric.value, metric.run_id) == ("auc", 0.7, run_id)
    assert (metric.dataset_name, metric.dataset_digest) == ("runs", ("ab" * 32)[:36])
    stored = client.get_run(run_id)
    assert [output.model_id for output in stored.outputs.model_outputs] == [model_id]
    assert stored.data.tags["mlflow.note.content"] == "Better than **nothing**."
    assert stored.data.tags["wattroute.kind"] == "train"
    (context,) = stored.inputs.dataset_inputs[0].tags
    assert (context.key, context.value) == ("mlflow.data.context", "evaluation")


def test_a_run_can_be_written_on(store: Path):
    with MlflowTracker(uri_of(store), "sittings", "sweep") as run:
        first = run.run_id
        run.log_params({"seed": 1})
    with MlflowTracker(uri_of(store), "sittings", "sweep", run_id=first) as run:
        assert run.run_id == first
        run.log_params({"seed": 1})
        run.log_metrics({"n_trials": 2})
    stored = client_of(store).get_run(first)
    assert (stored.info.status, stored.data.metrics) == ("FINISHED", {"n_trials": 2.0})
    with pytest.raises(ConfigError, match="nowhere"):
        MlflowTracker(uri_of(store), "sittings", "sweep", run_id="nowhere").__enter__()


def test_an_experiment_says_what_its_figures_are(store: Path):
    with MlflowTracker(uri_of(store), "described"):
        pass
    tags = client_of(store).get_experiment_by_name("described").tags
    assert "log_energy_ratio" in tags["mlflow.note.content"]
    assert tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_breaks_off_says_so(store: Path, error: BaseException, status: str):
    ids: list[str | None] = []

    def train() -> None:
        with MlflowTracker(uri_of(store), "broken") as run, run.nested("knn") as head:
            ids.extend([run.run_id, head.run_id])
            raise error

    with pytest.raises(type(error)):
        train()
    assert [client_of(store).get_run(run_id).info.status for run_id in ids] == [status] * 2


def test_clumsy_values(store: Path):
    with MlflowTracker(uri_of(store), "clumsy") as run:
        run.log_params({f"p{number}": number for number in range(250)})
        run.log_params({"long": "x" * 7000, "none": None})
        run.log_params({})
        run.log_metrics({f"m{number}": number for number in range(1100)})
        run.log_metrics({"nan": math.nan})
        run_id = run.run_id
    data = client_of(store).get_run(run_id).data
    assert len(data.params) == 252
    assert data.params["none"] == "None"
    assert data.params["long"] == "x" * 5999 + "…"
    assert len(data.metrics) == 1101
    assert math.isnan(data.metrics["nan"])


def test_a_setting_that_changes_is_refused(store: Path):
    with MlflowTracker(uri_of(store), "changing") as run:
        run.log_params({"seed": 1})
        with pytest.raises(ConfigError, match="seed"):
            run.log_params({"seed": 2})


def test_a_folder_that_is_not_there_is_refused(store: Path, tmp_path: Path):
    with MlflowTracker(uri_of(store), "missing") as run:
        with pytest.raises(ConfigError, match="none: not a folder"):
            run.log_artifacts(tmp_path / "none")
        with pytest.raises(ConfigError, match="none: not a folder"):
            run.register("router", tmp_path / "none")


def test_a_deleted_experiment_is_named(store: Path):
    with MlflowTracker(uri_of(store), "gone"):
        pass
    client = client_of(store)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(ConfigError, match="experiment 'gone' is deleted"):
        MlflowTracker(uri_of(store), "gone").__enter__()


def test_what_is_not_open_cannot_be_written(store: Path):
    tracker = MlflowTracker(uri_of(store))
    for write in (
        lambda: tracker.log_params({"a": 1}),
        lambda: tracker.nested("knn"),
        lambda: tracker.__exit__(None, None, None),
    ):
        with pytest.raises(RuntimeError, match="with statement"):
            write()
    with tracker:
        pass
    with pytest.raises(RuntimeError, match="with statement"):
        tracker.log_metrics({"a": 1.0})


def test_where_runs_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert MlflowTracker().tracking_uri == DEFAULT_TRACKING_URI == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert MlflowTracker().tracking_uri == "http://127.0.0.1:5000"
    assert MlflowTracker("sqlite:///mine.db").tracking_uri == "sqlite:///mine.db"


def test_a_new_store_in_the_working_folder_is_made_quietly(
    new_store: tuple[Path, subprocess.CompletedProcess[str]],
):
    folder, done = new_store
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    client = client_of(folder)
    experiment = client.get_experiment_by_name("wattroute")
    assert experiment.artifact_location == (folder / "mlartifacts").as_uri()
    (run,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'first'")
    assert (run.info.run_name, run.data.metrics) == ("first", {"auc": 0.5})


def test_global_state_is_left_alone(store: Path):
    def state() -> tuple[object, ...]:
        return dict(os.environ), logging.root.manager.disable, mlflow.get_tracking_uri()

    before = state()
    with MlflowTracker(uri_of(store), "alone"):
        assert mlflow.active_run() is None
    assert state() == before


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_not_there_is_named_soon(closed_port: int):
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        MlflowTracker(f"http://bob:secret@127.0.0.1:{closed_port}").__enter__()
    assert f"tracking URI http://***@127.0.0.1:{closed_port}: " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("uri", ["nosuch://server", "postgresql://bob:secret@127.0.0.1:1/runs"])
def test_a_store_that_cannot_be_used_is_named(uri: str):
    with pytest.raises(ConfigError, match="tracking URI") as caught:
        MlflowTracker(uri).__enter__()
    assert "secret" not in str(caught.value)


def test_files_that_are_no_database_are_named(tmp_path: Path):
    (tmp_path / "mlflow.db").write_text("hello " * 100, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mlflow\.db: file is not a database"):
        MlflowTracker(uri_of(tmp_path)).__enter__()
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(ConfigError, match="unable to open"):
        MlflowTracker(f"sqlite:///{tmp_path}/folder.db").__enter__()
    with pytest.raises(ConfigError, match="tracking URI"):
        MlflowTracker(f"sqlite:///{tmp_path}/mlflow.db/below/x.db").__enter__()


def test_a_database_of_another_program_is_named(tmp_path: Path):
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('nosuchrevision')")
    connection.close()
    with pytest.raises(ConfigError, match="tracking URI"):
        MlflowTracker(uri_of(tmp_path)).__enter__()


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[train\]"):
        MlflowTracker(uri_of(tmp_path)).__enter__()


def test_the_null_tracker_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tracker: Tracker = NullTracker()
    with tracker as run:
        run.log_params({"seed": 1})
        run.log_metrics({"auc": math.nan})
        run.log_dataset("runs", "00", 1, [], "")
        run.log_artifacts(tmp_path / "none")
        run.describe("nothing")
        with run.nested("knn", "head") as head:
            head.log_metrics({"auc": 0.5})
        assert run.log_router(tmp_path / "none") is None
        assert run.register("router", tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []


def test_the_null_tracker_hides_no_error():
    def train() -> None:
        with NullTracker():
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        train()
