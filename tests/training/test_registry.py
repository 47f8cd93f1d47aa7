from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner

from router import Router
from router.artifact import MODEL_FILE
from router.cli import main
from router.errors import ArtifactError, ConfigError, MissingExtraError
from router.registry import fetch_router, find_router, is_router_uri
from router.router import router_folder
from router.training.tracking import MlflowTracker


@dataclass
class Stored:
    """A store with the bundled router in it, under the name ``wattroute``."""

    uri: str
    run_id: str
    model_id: str
    client: Any


@pytest.fixture(scope="module")
def stored(make_store: Callable[[], str]) -> Stored:
    uri = make_store()
    with MlflowTracker(uri, "routers", "train one", "train") as run:
        model_id = run.log_router(router_folder())
        assert run.register("wattroute", router_folder()) == "1"
        run_id = str(run.run_id)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.set_registered_model_alias("wattroute", "champion", "1")
    return Stored(uri, run_id, model_id, client)


@pytest.fixture
def here(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stored.uri)
    return stored


@pytest.fixture(params=["alias", "version", "latest", "model", "run", "path"])
def uri(request: pytest.FixtureRequest, here: Stored) -> str:
    return {
        "alias": "models:/wattroute@champion",
        "version": "models:/wattroute/1",
        "latest": "models:/wattroute/latest",
        "model": f"models:/{here.model_id}",
        "run": f"runs:/{here.run_id}",
        "path": f"runs:/{here.run_id}/router",
    }[request.param]


def test_every_uri_loads_the_router(here: Stored, uri: str):
    expected = Router.load().route("What is 12 + 34?")
    assert Router.load(uri).route("What is 12 + 34?") == expected
    found = find_router(Path(uri))  # as commands hand it on
    assert (found.run_id, found.model_id) == (here.run_id, here.model_id)
    assert fetch_router(uri) == fetch_router("models:/wattroute@champion")


def test_the_command_takes_a_uri(here: Stored):
    words = ["route", "What is 12 + 34?", "--router", "models:/wattroute@champion"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    wrong = CliRunner().invoke(main, [*words[:-1], "models:/wattroute@chmpion"])
    assert wrong.exit_code == 2
    assert "did you mean 'champion'?" in wrong.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("models:/watroute@champion", "no registered model 'watroute': did you mean 'wattroute'?"),
        ("models:/nothing/1", "no registered model 'nothing': there is wattroute"),
        ("models:/wattroute@loser", "no alias 'loser': there is champion"),
        ("models:/wattroute/7", "no version 7"),
        ("models:/wattroute/Production", "no version Production"),
        ("models:/m-0123", "no logged model has this id"),
        ("models:/", "not the URI of a router: write models:/NAME@ALIAS"),
        ("models:/wattroute@", "not the URI of a router"),
        ("models:/wattroute/1/router", "not the URI of a router"),
        ("models:/wattroute@champion/1", "not the URI of a router"),
        ("runs:/", "not the URI of a router"),
        ("runs:/0123456789abcdef0123456789abcdef", "there is no run '0123"),
        ("runs:/no run", "there is no run 'no run'"),
    ],
)
def test_what_is_not_there_is_named(here: Stored, wrong: str, said: str):
    with pytest.raises(ConfigError) as caught:
        Router.load(wrong)
    assert said in str(caught.value)
    assert wrong in str(caught.value)


def test_a_run_without_a_router_is_named(here: Stored):
    with pytest.raises(ConfigError, match="has no router at 'ruter': did you mean 'router'"):
        Router.load(f"runs:/{here.run_id}/ruter")


def test_a_moved_alias_means_another_location(here: Stored, tmp_path: Path):
    shutil.copytree(router_folder(), tmp_path / "other")
    with MlflowTracker(here.uri, "routers", "train two") as run:
        version = run.register("moving", tmp_path / "other")
        here.client.set_registered_model_alias("moving", "live", version)
        first = find_router("models:/moving@live")
        shutil.copytree(router_folder(), tmp_path / "third")
        here.client.set_registered_model_alias(
            "moving", "live", run.register("moving", tmp_path / "third")
        )
    second = find_router("models:/moving@live")
    assert (first.version, second.version) == ("1", "2")
    assert first.location != second.location


def test_a_folder_that_was_stored_by_itself_loads(here: Stored):
    """As routers were registered before they were models of MLflow."""
    with MlflowTracker(here.uri, "routers", "by itself") as run:
        run.log_artifacts(router_folder(), "candidate")
        source = f"runs:/{run.run_id}/candidate"
        here.client.create_registered_model("plain")
        here.client.create_model_version("plain", source=source, run_id=run.run_id)
    assert Router.load("models:/plain/1").reference == Router.load().reference
    assert Router.load(source).reference == Router.load().reference


def test_a_damaged_router_is_refused(here: Stored, tmp_path: Path):
    shutil.copytree(router_folder(), tmp_path / "router")
    file = tmp_path / "router" / MODEL_FILE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with MlflowTracker(here.uri, "routers", "damaged") as run:
        run.register("damaged", tmp_path / "router")
    with pytest.raises(ArtifactError, match="does not match the hash"):
        Router.load("models:/damaged/1")


def test_something_else_than_a_router_is_refused(here: Stored, tmp_path: Path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    with MlflowTracker(here.uri, "routers", "else") as run:
        run.log_artifacts(tmp_path, "router")
        uri = f"runs:/{run.run_id}"
    with pytest.raises(ArtifactError, match="not a router of WattRoute"):
        Router.load(uri)


def test_code_in_a_stored_model_is_not_run(here: Stored, tmp_path: Path):
    """Only the folder of the router is read, whatever else there is."""
    model = tmp_path / "model"
    shutil.copytree(router_folder(), model / "data" / "router")
    (model / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: evil\n    code: code\n", "utf-8"
    )
    (model / "code").mkdir()
    (model / "code" / "evil.py").write_text("raise SystemExit('run')", "utf-8")
    with MlflowTracker(here.uri, "routers", "code") as run:
        run.log_artifacts(model, "router")
        uri = f"runs:/{run.run_id}"
    assert Router.load(uri).reference == Router.load().reference
    assert "evil" not in sys.modules


def test_a_store_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match=r"no MLflow store mlflow\.db: set MLFLOW_TRACKING_URI"):
        Router.load("models:/wattroute@champion")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"):
        find_router("models:/wattroute@champion", "http://127.0.0.1:9")


def test_without_mlflow_the_extra_is_named(here: Stored, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[train\]"):
        Router.load("models:/wattroute@champion")


def test_what_the_program_set_comes_first(stored: Stored, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow.set_tracking_uri(stored.uri)
    try:
        assert find_router("models:/wattroute@champion").version == "1"
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("path", "is_uri"),
    [
        ("models:/a@b", True),
        (Path("runs:/abc/router"), True),
        ("models/default", False),
        (None, False),
        ("s3://bucket/router", False),
    ],
)
def test_what_is_a_uri(path: object, is_uri: bool):
    assert is_router_uri(path) is is_uri


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, mlflow_process: Callable[..., Any]
) -> Iterator[str]:
    """A real tracking server that keeps the artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "server.db")
    words = ["server", "--backend-store-uri", "sqlite:///server.db"]
    words += ["--artifacts-destination", "./kept"]
    with mlflow_process(words, folder, "/health") as url:
        yield url


@pytest.mark.slow
def test_a_server_keeps_routers_for_a_team(
    server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    with MlflowTracker(server, "team", "train one", "train") as run:
        run.log_dataset("runs", "ab" * 32, 10, ["gemma"], "runs.parquet")
        run.log_router(router_folder())
        run.log_metrics({"auc": 0.7})
        version = run.register("team", router_folder())
        run_id = run.run_id
    mlflow.MlflowClient(tracking_uri=server).set_registered_model_alias("team", "champion", version)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for uri in ("models:/team@champion", f"runs:/{run_id}"):
        assert Router.load(uri).reference == Router.load().reference
    with pytest.raises(ConfigError, match="no registered model 'tem': did you mean 'team'"):
        Router.load("models:/tem@champion")
    # MLflow prints addresses of runs, which would spoil the JSON of a command
    assert capfd.readouterr().out == ""
