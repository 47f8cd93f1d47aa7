"""Fits on the nodes of a Ray cluster, through joblib.

What all tasks share goes into Ray's object store once and is fetched once by each node; joblib's
own messages would carry it along with every task. A cluster that is started here lasts as long
as the context, keeps to itself (no usage statistics, no dashboard) and leaves no files.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from router.errors import ConfigError, MissingExtraError

__all__ = ["RayBackend", "ray_backend"]

_Result = TypeVar("_Result")
_Progress = Callable[[str], None]

_ADDRESS = "RAY_ADDRESS"
_LOCAL = "local"
_CONNECT_S = 5.0
_WORKER_S = 120.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS_FRAME = 4
_SHOWN = 200
_START_FAILURES = (OSError, RuntimeError, ValueError)
# A router is the same bit for bit where these are.
_SAME_VERSION = ("wattroute", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class _Reference:
    """An entry of the object store. Ray resolves bare references in some versions of joblib."""

    entry: Any


class RayBackend:
    """Runs tasks on the actors of a Ray cluster; :func:`ray_backend` makes one.

    Parameters
    ----------
    parallel : joblib.Parallel
        Open, on joblib's backend ``ray``.
    n_jobs : int
        Tasks at a time.
    """

    def __init__(self, parallel: Parallel, n_jobs: int) -> None:
        self._parallel = parallel
        self.n_jobs = n_jobs
        self.tasks_of_node: Counter[str] = Counter()

    def map(
        self,
        function: Callable[..., _Result],
        shared: tuple[Any, ...],
        tasks: Sequence[tuple[Any, ...]],
        n_jobs: int,
    ) -> list[_Result]:
        """Return ``function(*shared, *task)`` of each task, in their order.

        Parameters
        ----------
        function : callable
            A function of a module that the nodes have.
        shared : tuple
            First arguments of every call; sent to each node once.
        tasks : sequence of tuple
            Further arguments of each call.
        n_jobs : int
            Not used: the pool of actors is there already.

        Returns
        -------
        list
            What the calls return; arrays are read-only.

        Raises
        ------
        ConfigError
            If the cluster fails.
        """
        import ray

        with _one_line(ray.exceptions.RayError):
            reference = _Reference(ray.put(shared))
            results = self._parallel(delayed(_on_node)(function, reference, task) for task in tasks)
        self.tasks_of_node.update(node for node, _ in results)
        return [result for _, result in results]


@contextmanager
def ray_backend(
    n_jobs: int | None, address: str | None, progress: _Progress
) -> Iterator[RayBackend]:
    """Connect to a Ray cluster, or start one on this machine.

    Parameters
    ----------
    n_jobs : int or None
        Fits at a time, at least 2; as many as the cluster has CPUs where None.
    address : str or None
        ``host:port`` of the cluster, ``local`` for a new one; the environment variable
        ``RAY_ADDRESS`` where None, and ``local`` without it.
    progress : callable
        Called with a line of text when the cluster is there, and when the work is done with the
        number of tasks on each node.

    Yields
    ------
    RayBackend
        Ready for tasks.

    Raises
    ------
    ConfigError
        If the cluster cannot be reached, has less than two CPUs, or a node lacks what this
        machine has.
    MissingExtraError
        If Ray is not installed.
    """
    if n_jobs is not None and n_jobs < 2:
        raise ConfigError("one job at a time leaves nothing to Ray: use 2 or more, or threads")
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    with ExitStack() as stack:
        if not ray.is_initialized():
            target = (os.environ.get(_ADDRESS) or _LOCAL) if address is None else address
            stack.enter_context(_started(ray, n_jobs) if target == _LOCAL else _joined(ray, target))
        with _one_line(ray.exceptions.RayError):
            nodes = [node for node in ray.nodes() if node["Alive"] and _cpus(node)]
            n_cpus = sum(map(_cpus, nodes))
            if n_cpus < 2:
                raise ConfigError(f"the Ray cluster has {n_cpus} CPU: two are needed, or threads")
            _check_versions(ray, nodes)
            n_jobs = min(n_jobs or n_cpus, n_cpus)
            register_ray()
            # Actors that ask for no CPU, as is the default, may all end up on one node.
            with parallel_config(backend="ray", ray_remote_args={"num_cpus": 1}):
                parallel = stack.enter_context(Parallel(n_jobs=n_jobs))
        progress(f"Ray: {n_jobs} fits at a time on {_counted(len(nodes), 'node')}")
        backend = RayBackend(parallel, n_jobs)
        yield backend
        shares = ", ".join(f"{n} on {node}" for node, n in sorted(backend.tasks_of_node.items()))
        progress(f"Ray: {_counted(backend.tasks_of_node.total(), 'fit')}: {shares or 'no node'}")


@contextmanager
def _started(ray: Any, n_jobs: int | None) -> Iterator[None]:
    """Start a cluster of this machine alone."""
    # Ray's sockets need a short path.
    folder = tempfile.mkdtemp(prefix="ray")
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        with _one_line(*_START_FAILURES):
            ray.init(
                address=_LOCAL,
                num_cpus=max(n_jobs or os.cpu_count() or 2, 2),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=folder,
            )
        yield
    finally:
        ray.shutdown()
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster that runs already."""
    if address != "auto":
        _check_address(address)
    try:
        with _one_line(*_START_FAILURES):
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse what is no Ray cluster: Ray itself would try again for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ConfigError(f"Ray address {address!r}: use host:port or 'local'")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), _CONNECT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.sendall(_PREFACE)
            answer = connection.recv(4)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}") from error
    if answer[3:] != bytes([_SETTINGS_FRAME]):
        raise ConfigError(f"what answers at {address} is not Ray: give the port of `ray start`")


def _check_versions(ray: Any, nodes: Sequence[dict[str, Any]]) -> None:
    """Refuse nodes that would compute something else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0)(_versions)
    entries = [
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
    ]
    here = _versions()
    for node, entry in zip(nodes, entries, strict=True):
        name = node["NodeManagerAddress"]
        try:
            there = ray.get(entry, timeout=_WORKER_S)
        except ray.exceptions.RayError as error:
            raise ConfigError(
                f"the Ray node {name} cannot run wattroute: {_last_line(error)}; install "
                "wattroute[train,ray] there"
            ) from error
        for package, version in here.items():
            if there[package] != version:
                raise ConfigError(
                    f"the Ray node {name} has {package} {there[package]} and this machine "
                    f"{version}: install the same"
                )


def _versions() -> dict[str, str]:
    """Return the versions of what the fits use, once it can be imported."""
    import router.training.crossfit  # noqa: F401 - fails on a node without the extra `train`

    return {package: metadata.version(package) for package in _SAME_VERSION}


def _on_node(
    function: Callable[..., _Result], shared: _Reference, task: tuple[Any, ...]
) -> tuple[str, _Result]:
    """Run a task with one thread of linear algebra; say on which node."""
    import ray

    with threadpool_limits(1):
        result = function(*ray.get(shared.entry), *task)
    return ray.get_runtime_context().get_node_id(), result


@contextmanager
def _one_line(*failures: type[Exception]) -> Iterator[None]:
    """Turn failures of the cluster into an error of one line."""
    try:
        yield
    except failures as error:
        raise ConfigError(f"the Ray cluster cannot be used: {_last_line(error)}") from error


def _cpus(node: dict[str, Any]) -> int:
    return int(node["Resources"].get("CPU", 0))


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _last_line(error: BaseException) -> str:
    """Return where Ray's messages come to the point, without the advice that follows."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[-1], _SHOWN, placeholder=" ...")
