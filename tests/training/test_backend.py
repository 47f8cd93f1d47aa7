from __future__ import annotations

import http.server
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from router.errors import ConfigError, DataError, MissingExtraError
from router.training.backend import BACKENDS, map_shared, use_backend
from router.training.crossfit import assign_folds, cross_fit

HERE = ("threads", "processes")  # Ray: test_ray_backend.py


@pytest.fixture
def look() -> Callable[..., tuple[int, str | None, int, int]]:
    """Return a task. Other processes cannot import this module, but take a local function."""

    def task(array: np.ndarray, number: int) -> tuple[int, str | None, int, int]:
        """Return the process, the file behind the array, and threads of linear algebra."""
        threads = max(library["num_threads"] for library in threadpool_info())
        time.sleep(0.1)  # long enough for each worker to get a task
        return os.getpid(), getattr(array, "filename", None), threads, number

    return task


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(name: str, n_jobs: int):
    with use_backend(name):
        found = map_shared(divmod, (100,), [(n,) for n in range(1, 8)], n_jobs=n_jobs)
    assert found == [divmod(100, n) for n in range(1, 8)]


@pytest.mark.parametrize("name", HERE)
def test_no_task_is_no_result(name: str):
    with use_backend(name):
        assert map_shared(divmod, (100,), [], n_jobs=2) == []


def test_processes_map_one_copy_of_large_arrays(look):
    array = np.ones(500_000)
    with use_backend("processes"):
        found = map_shared(look, (array,), [(n,) for n in range(6)], n_jobs=2)
    pids, files, threads, numbers = zip(*found, strict=True)
    assert os.getpid() not in pids
    assert len(set(files)) == 1
    assert files[0] is not None
    assert set(threads) == {1}
    assert numbers == tuple(range(6))


def test_threads_share_memory_and_use_one_thread_of_linear_algebra_each(look):
    array = np.ones(500_000)
    with threadpool_limits(2):
        before = threadpool_info()
        found = map_shared(look, (array,), [(n,) for n in range(4)], n_jobs=2)
        assert threadpool_info() == before
    assert {(pid, file, threads) for pid, file, threads, _ in found} == {(os.getpid(), None, 1)}


def test_a_backend_of_joblib_that_the_caller_has_set_is_used(look):
    with joblib.parallel_config(backend="loky"):
        found = map_shared(look, (np.ones(3),), [(n,) for n in range(2)], n_jobs=2)
    assert os.getpid() not in {pid for pid, *_ in found}


@pytest.mark.parametrize("name", HERE)
def test_errors_of_a_task_come_as_they_are(name: str):
    def fail(shared: str, number: int) -> None:
        raise DataError(f"{shared} {number}", file="a.csv", row=3)

    with use_backend(name), pytest.raises(DataError, match="x 1") as found:
        map_shared(fail, ("x",), [(1,)], n_jobs=2)
    assert (found.value.file, found.value.row) == ("a.csv", 3)


def test_a_process_that_dies_is_an_error_of_one_line():
    def die(shared: str, number: int) -> None:
        os._exit(1)

    with use_backend("processes"), pytest.raises(ConfigError, match="a process ended") as found:
        map_shared(die, ("x",), [(1,), (2,)], n_jobs=2)
    assert "--jobs" in str(found.value)
    assert "\n" not in str(found.value)


def test_the_backend_before_comes_back(look):
    def elsewhere() -> bool:
        found = map_shared(look, (np.ones(3),), [(1,), (2,)], n_jobs=2)
        return os.getpid() not in {pid for pid, *_ in found}

    with use_backend("processes"):
        assert elsewhere()
        with use_backend("threads"):
            assert not elsewhere()
        with pytest.raises(KeyError), use_backend("threads"):
            raise KeyError
        assert elsewhere()
    assert not elsewhere()


def test_processes_cross_fit_the_same_to_the_last_bit(problem):
    bank, targets = problem.bank(), problem.targets.stacked()
    fold = assign_folds(problem.matrix.groups, 3, seed=0)
    here = cross_fit(bank, targets, fold, nested=True)
    with use_backend("processes"):
        there = cross_fit(bank, targets, fold, nested=True)
    np.testing.assert_array_equal(here.outer, there.outer)
    for one, other in zip(here.inner, there.inner, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_used():
    with pytest.raises(ConfigError, match="'dask': use 'threads', 'processes', 'ray'"):
        use_backend("dask").__enter__()
    with pytest.raises(ConfigError, match="goes with the backend 'ray', not 'threads'"):
        use_backend("threads", ray_address="127.0.0.1:6379").__enter__()
    with pytest.raises(ConfigError, match="nothing to Ray: use 2 or more"):
        use_backend("ray", n_jobs=1).__enter__()
    assert BACKENDS == ("threads", "processes", "ray")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[ray\]"):
        use_backend("ray").__enter__()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def web_port() -> Iterator[int]:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def silent_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr("router.training.ray_backend._CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":1", "host:x", "host:-1", "host:1/path", "ray://h:1", "http://h:8265"],
)
def test_addresses_that_are_none(address: str):
    with pytest.raises(ConfigError, match=r"use host:port or 'local'"):
        use_backend("ray", ray_address=address).__enter__()


def test_a_cluster_that_is_not_there_is_an_error_at_once(
    closed_port: int, web_port: int, silent_port: int, monkeypatch: pytest.MonkeyPatch
):
    """Ray itself tries for minutes, and then ends the process."""
    started = time.monotonic()
    with pytest.raises(ConfigError, match=rf"no Ray cluster answers at 127.0.0.1:{closed_port}"):
        use_backend("ray", ray_address=f"127.0.0.1:{closed_port}").__enter__()
    with pytest.raises(ConfigError, match=rf"no Ray cluster answers at 127.0.0.1:{silent_port}"):
        use_backend("ray", ray_address=f"127.0.0.1:{silent_port}").__enter__()
    with pytest.raises(ConfigError, match=rf"what answers at 127.0.0.1:{web_port} is not Ray"):
        use_backend("ray", ray_address=f"127.0.0.1:{web_port}").__enter__()
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(ConfigError, match="no Ray cluster answers"):
        use_backend("ray").__enter__()
    with pytest.raises(ConfigError, match="no Ray cluster answers"):
        use_backend("ray", ray_address="127.0.0.1:99999").__enter__()
    assert time.monotonic() - started < 5
