"""Fits on Ray clusters of this machine. All of Ray runs in processes of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROGRESS = re.compile(r" *[0-9.]+ s  \S.*")
CLI = "from router.cli import main; main()"
TRAIN = ("train", "runs.csv", "--pool", "pool.toml", "--out", "router", "--splits", "0")
QUICK = ("--no-forecast", "--no-tracking")

# Functions of this text go to the nodes by value; a module of tests they could not import.
SHARING = """
import json, os, sys
import numpy as np
from threadpoolctl import threadpool_info
from router.errors import ConfigError, DataError
from router.training import ray_backend
from router.training.backend import map_shared, use_backend

class Shared:
    pickled = 0

    def __init__(self):
        self.array = np.ones(1_000_000)

    def __getstate__(self):
        Shared.pickled += 1
        return {"array": self.array}

    def __setstate__(self, state):
        self.array = state["array"]

def task(shared, number):
    threads = max(library["num_threads"] for library in threadpool_info())
    return os.getpid(), threads, shared.array.flags.writeable, shared.array.sum() + number

def fail(shared, number):
    raise DataError("is wrong", file="a.csv", row=number)

def die(shared, number):
    os._exit(1)

found = {}
with use_backend("ray", ray_address=sys.argv[1]):
    found["results"] = map_shared(task, (Shared(),), [(n,) for n in range(8)], n_jobs=1)
    found["pickled"] = Shared.pickled
    try:
        map_shared(fail, (1,), [(n,) for n in range(3)], n_jobs=1)
    except DataError as error:
        found["failed"] = [str(error), error.file, error.row]
with use_backend("ray", ray_address=sys.argv[1], n_jobs=50):
    try:
        map_shared(die, (1,), [(n,) for n in range(3)], n_jobs=1)
    except ConfigError as error:
        found["died"] = str(error)
ray_backend.metadata.version = lambda package: "0.1"
try:
    use_backend("ray", ray_address=sys.argv[1]).__enter__()
except ConfigError as error:
    found["mismatch"] = str(error)
print(json.dumps(found, default=float))
"""

LOCAL = """
import json, os, sys
from pathlib import Path
from router.training.backend import map_shared, use_backend

def processes():
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if sys.argv[1] in (folder / "cmdline").read_text():
                yield folder.name, (folder / "environ").read_text().split("\\0")
        except OSError:
            pass

with use_backend("ray", n_jobs=2):
    found = map_shared(divmod, (100,), [(n,) for n in range(1, 8)], n_jobs=1)
    started = dict(processes())
json.dump({"results": found, "started": started, "left": dict(processes())}, sys.stdout)
"""


def run(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python and check that it succeeds and says nothing but progress."""
    without = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", *words],
        cwd=folder,
        env={**without, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    others = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert others == []
    return done


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """Ray's sockets do not fit into the long names of pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(short_folder: Path) -> Iterator[dict[str, Any]]:
    script = Path(__file__).with_name("two_ray_nodes.py")
    settings = {"RAY_TMPDIR": str(short_folder), "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def material(make_matrix, make_frame, pool, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    for name in ("threads", "ray"):
        (folder / name).mkdir()
        make_frame(make_matrix(80)).to_csv(folder / name / "runs.csv", index=False)
        (folder / name / "pool.toml").write_text(pool.to_toml(), encoding="utf-8")
    return folder


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_nodes_train_the_same_router(cluster: dict[str, Any], material: Path):
    run(CLI, *TRAIN, *QUICK, folder=material / "threads")
    words = (*TRAIN, *QUICK, "--backend", "ray", "--ray-address", cluster["address"])
    done = run(CLI, *words, folder=material / "ray")
    assert "Ray: 2 fits at a time on 2 nodes" in done.stderr
    (summary,) = re.findall(r"Ray: (\d+) fits: (\d+) on (\w+), (\d+) on (\w+)", done.stderr)
    n_fits, n_first, first, n_second, second = summary
    assert {first, second} == set(cluster["nodes"])
    assert int(n_first) + int(n_second) == int(n_fits) == 4 * 10  # repeats, folds and pairs
    assert min(int(n_first), int(n_second)) >= 10
    routers = [stored(material / name / "router") for name in ("threads", "ray")]
    assert routers[0].keys() >= {"manifest.json", "model.npz", "README.md"}
    assert routers[0] == routers[1]


def test_what_is_shared_is_sent_once_and_failures_are_told(cluster: dict[str, Any], tmp_path: Path):
    """That it runs at all shows that the training before has left the nodes."""
    *_, line = run(SHARING, cluster["address"], folder=tmp_path).stdout.splitlines()
    found = json.loads(line)  # before it, Ray tells of the process that ended
    pids, threads, writeable, sums = zip(*found["results"], strict=True)
    assert found["pickled"] == 1
    assert len(set(pids)) == 2
    assert set(threads) == {1}
    assert set(writeable) == {False}  # read where the node keeps it, not copied
    assert sums == tuple(1e6 + n for n in range(8))
    assert found["failed"] in [[f"a.csv, row {n}: is wrong", "a.csv", n] for n in range(3)]
    assert found["died"].startswith("the Ray cluster cannot be used: ")
    assert "\n" not in found["died"]
    assert len(found["died"]) < 250
    mismatch = r"the Ray node 127\.0\.0\.[23] has wattroute \S+ and this machine 0\.1: install .*"
    assert re.fullmatch(mismatch, found["mismatch"])


def test_a_cluster_started_here_keeps_to_itself_and_leaves_nothing(short_folder: Path):
    folder = short_folder / "t"
    folder.mkdir()
    done = run(LOCAL, str(folder), folder=short_folder, TMPDIR=str(folder))
    found = json.loads(done.stdout)
    assert found["results"] == [list(divmod(100, n)) for n in range(1, 8)]
    assert len(found["started"]) >= 3
    for environment in found["started"].values():
        assert "RAY_USAGE_STATS_ENABLED=0" in environment
    assert found["left"] == {}
    assert list(folder.iterdir()) == []
