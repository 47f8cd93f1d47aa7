"""Where fits run: threads, processes, or the nodes of a Ray cluster.

A task is a call of one function with what all tasks share, such as the candidate heads with
their kernels, and a few small arguments of its own. Threads share memory; processes get large
arrays as joblib's memory maps, written once; a Ray node fetches what is shared once, into its
object store. Every task uses one thread of linear algebra, so that the results are the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from router.errors import ConfigError

__all__ = ["BACKENDS", "Backend", "map_shared", "use_backend"]

_Result = TypeVar("_Result")
_Tasks = Sequence[tuple[Any, ...]]

BACKENDS = ("threads", "processes", "ray")
"""Names that :func:`use_backend` knows."""


class Backend(Protocol):
    """Runs a function on many tasks."""

    def map(
        self, function: Callable[..., _Result], shared: tuple[Any, ...], tasks: _Tasks, n_jobs: int
    ) -> list[_Result]:
        """Return ``function(*shared, *task)`` of each task, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class _Threads:
    """Threads of this process, or the joblib backend that the caller has set around the fits."""

    def map(
        self, function: Callable[..., _Result], shared: tuple[Any, ...], tasks: _Tasks, n_jobs: int
    ) -> list[_Result]:
        # The limit holds for the whole process: set before the threads start, and lifted after.
        with threadpool_limits(1):
            return list(
                Parallel(n_jobs=n_jobs, prefer="threads")(
                    delayed(_limited)(function, *shared, *task) for task in tasks
                )
            )


@dataclass(frozen=True, slots=True)
class _Processes:
    """Processes on this machine."""

    def map(
        self, function: Callable[..., _Result], shared: tuple[Any, ...], tasks: _Tasks, n_jobs: int
    ) -> list[_Result]:
        with parallel_config(backend="loky"):
            parallel = Parallel(n_jobs=n_jobs)
        try:
            return list(parallel(delayed(_limited)(function, *shared, *task) for task in tasks))
        except BrokenProcessPool as error:
            raise ConfigError(
                "a process ended before its fit did, most likely for lack of memory: use fewer "
                "--jobs, or threads, which share their memory"
            ) from error


_selected: ContextVar[Backend | None] = ContextVar("wattroute_backend", default=None)


@contextmanager
def use_backend(
    name: str,
    *,
    n_jobs: int | None = None,
    ray_address: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Run the fits inside the context on a backend.

    Parameters
    ----------
    name : {"threads", "processes", "ray"}
        Threads are the default without this context.
    n_jobs : int, optional
        With Ray: fits at a time, at least 2; as many as the cluster has CPUs where absent. On
        the other backends the functions that fit say how many.
    ray_address : str, optional
        With Ray: ``host:port`` of a running cluster, or ``local`` to start one on this machine
        for as long as the context lasts; the environment variable ``RAY_ADDRESS`` where absent,
        and ``local`` without it.
    progress : callable, optional
        Called with a line of text when Ray is there and when it is done.

    Raises
    ------
    ConfigError
        If the name is unknown, an address is given to a backend without one, or the cluster
        cannot be used.
    MissingExtraError
        If Ray is not installed.

    Examples
    --------
    >>> with use_backend("threads"):
    ...     map_shared(pow, (2,), [(3,), (4,)], n_jobs=2)
    [8, 16]
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend is {name!r}: use {', '.join(map(repr, BACKENDS))}")
    if ray_address is not None and name != "ray":
        raise ConfigError(f"a Ray address goes with the backend 'ray', not {name!r}")
    with ExitStack() as stack:
        backend: Backend = _Processes() if name == "processes" else _Threads()
        if name == "ray":
            from router.training.ray_backend import ray_backend

            say = progress or (lambda line: None)
            backend = stack.enter_context(ray_backend(n_jobs, ray_address, say))
        token = _selected.set(backend)
        stack.callback(_selected.reset, token)
        yield


def map_shared(
    function: Callable[..., _Result],
    shared: tuple[Any, ...],
    tasks: _Tasks,
    *,
    n_jobs: int,
) -> list[_Result]:
    """Call a function for many tasks on the backend in use.

    Parameters
    ----------
    function : callable
        A function of a module, so that other processes can import it; must not change what is
        shared.
    shared : tuple
        First arguments of every call: what is large.
    tasks : sequence of tuple
        Further arguments of each call: small.
    n_jobs : int
        Calls at a time; with Ray, :func:`use_backend` says how many.

    Returns
    -------
    list
        What the calls return, in the order of the tasks. Arrays may be read-only.
    """
    backend = _selected.get() or _Threads()
    return backend.map(function, shared, tasks, n_jobs)


def _limited(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a function with one thread of linear algebra."""
    with threadpool_limits(1):
        return function(*arguments)
