"""``wattroute serve models:/NAME@ALIAS`` with a store of MLflow's own, and an alias that moves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from router.cli import main
from router.dispatch import load_router
from router.router import router_folder
from router.serve import live_router
from router.serve.live_router import LiveRouter
from router.serve.service import Service
from router.serve.settings import Settings
from router.training.tracking import MlflowTracker

URI = "models:/served@champion"
CODE = "from router.cli import main; main(prog_name='wattroute')"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """Two versions of a registered router, the first one with the alias."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for number in (1, 2):
        copy = folder / f"router-{number}"
        shutil.copytree(router_folder(), copy)
        with MlflowTracker(uri, experiment="served", run_name=f"run {number}") as run:
            run.register("served", copy)
    client(uri).set_registered_model_alias("served", "champion", "1")
    return uri


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def test_an_alias_that_moves_is_followed(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(live_router, "_ASK_STORE_EVERY_S", 0.0)
    settings = Settings(upstream="http://127.0.0.1:9/v1", router=URI)
    service = Service(settings, load_router(URI))
    first = service.dispatcher.router
    live = LiveRouter(service, URI)
    asyncio.run(live.look())
    assert service.dispatcher.router is first
    client(store).set_registered_model_alias("served", "champion", "2")
    try:
        asyncio.run(live.look())
    finally:
        client(store).set_registered_model_alias("served", "champion", "1")
    assert service.dispatcher.router is not first
    assert 'wattroute_reloads_total{result="loaded"} 1' in service.metrics.render()


def test_it_is_served(store: str):
    command = [sys.executable, "-c", CODE, "serve", URI, "--upstream", "http://127.0.0.1:9/v1"]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": store},
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urlopen(f"{told['url']}/ready", timeout=10) as answer:
            assert json.load(answer)["models"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_an_alias_that_there_is_not(store: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    arguments = ["serve", "models:/served@champio", "--upstream", "http://127.0.0.1:9/v1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "did you mean 'champion'?" in result.stderr
