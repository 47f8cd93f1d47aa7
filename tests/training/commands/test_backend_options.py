from __future__ import annotations

import socket
import sys
from importlib.metadata import entry_points

import click
import pytest
from click.testing import CliRunner

from router.training.backend import map_shared
from router.training.commands.options import jobs_option

TRAIN = ("train", "runs.csv", "--pool", "pool.toml", "--no-tracking", "--out")


def test_every_command_that_fits_takes_a_backend():
    names = []
    for entry in entry_points(group="wattroute.commands"):
        if entry.name in ("train", "benchmark", "demo"):
            options = {option.name for option in entry.load().params}
            assert {"jobs", "backend", "ray_address"} <= options
            names.append(entry.name)
    assert len(names) == 3


@pytest.mark.parametrize(("words", "jobs"), [((), 2), (("--jobs", "5"), 5)])
def test_the_command_gets_the_jobs_and_its_own_options(words: tuple[str, ...], jobs: int):
    seen = {}

    @click.command()
    @click.argument("name")
    @jobs_option
    @click.option("--size", default=3)
    def command(name: str, jobs: int, size: int) -> None:
        """Do it."""
        seen.update(name=name, jobs=jobs, size=size)

    result = CliRunner().invoke(command, ["x", *words], catch_exceptions=False)
    assert result.exit_code == 0
    assert seen == {"name": "x", "jobs": jobs, "size": 3}
    text = CliRunner().invoke(command, ["--help"]).stdout
    assert "Do it." in text
    assert "[threads|processes|ray]" in text


def test_the_command_runs_on_the_backend():
    found = []

    @click.command()
    @jobs_option
    def command(jobs: int) -> None:
        found.extend(
            map_shared(lambda name: sys.modules.get(name) is None, ("pytest",), [()], n_jobs=2)
        )

    for backend in ("threads", "processes"):
        CliRunner().invoke(command, ["--backend", backend], catch_exceptions=False)
    assert found == [False, True]


def test_processes_train_the_same_router(here):
    here.run(*TRAIN, "p", "--splits", 0, "--no-forecast", "--backend", "processes")
    for name in ("model.npz",):
        assert (here.folder / "p" / name).read_bytes() == (
            here.folder / "router" / name
        ).read_bytes()


def test_backends_that_cannot_be_used_are_one_line(here, monkeypatch: pytest.MonkeyPatch):
    assert "goes with the backend 'ray'" in here.fails(*TRAIN, "z", "--ray-address", "h:1")
    assert "use 2 or more" in here.fails(*TRAIN, "z", "--backend", "ray", "--jobs", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    ray = (*TRAIN, "z", "--backend", "ray")
    assert f"no Ray cluster answers at {address}" in here.fails(*ray, "--ray-address", address)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    assert "use host:port or 'local'" in here.fails(*ray)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'wattroute[ray]'" in here.fails(*ray)
    assert "is not one of" in here.run(*TRAIN, "z", "--backend", "dask", code=2).stderr
    assert not (here.folder / "z").exists()
