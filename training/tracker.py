"""What a training, a benchmark or an evaluation writes down about itself, or does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from router.registry import StoredRouter

__all__ = ["NullTracker", "Tracker"]


class Tracker(Protocol):
    """What a training writes down about itself: one open run.

    Entering opens the run; leaving closes it, as failed when an exception passes.
    """

    def __enter__(self) -> Self:
        """Open the run."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the run."""
        ...

    def nested(self, name: str, kind: str = "") -> AbstractContextManager[Tracker]:
        """Return a run below this one, to be entered; `kind` is one word on what it is."""
        ...

    def describe(self, text: str) -> None:
        """Write down in words what came of it."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write down settings, each once a run."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write down figures."""
        ...

    def log_dataset(
        self,
        name: str,
        digest: str,
        n_prompts: int,
        models: Sequence[str],
        source: str,
        context: str = "training",
    ) -> None:
        """Write down which evaluation runs were used, and what for."""
        ...

    def log_artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Store the files of `folder`, below `path` of the run's artifacts."""
        ...

    def log_router(self, folder: str | Path) -> str | None:
        """Store the router in `folder` as a model of the run; figures that follow are its own."""
        ...

    def judge_router(self, router: StoredRouter) -> None:
        """Say that figures that follow are those of a router that another run stored."""
        ...

    def register(self, model_name: str, folder: str | Path) -> str | None:
        """Register the router in `folder` as a new version of `model_name`."""
        ...


class NullTracker:
    """A tracker that writes nothing down: the null object of `Tracker`.

    Examples
    --------
    >>> with NullTracker() as run:
    ...     run.log_metrics({"auc": 0.7})
    """

    def __enter__(self) -> Self:
        """Return the tracker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing."""

    def nested(self, name: str, kind: str = "") -> NullTracker:
        """Return a tracker that writes nothing down either."""
        return NullTracker()

    def describe(self, text: str) -> None:
        """Do nothing."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Do nothing."""

    def log_dataset(
        self,
        name: str,
        digest: str,
        n_prompts: int,
        models: Sequence[str],
        source: str,
        context: str = "training",
    ) -> None:
        """Do nothing."""

    def log_artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Do nothing."""

    def log_router(self, folder: str | Path) -> None:
        """Store nothing and return None."""

    def judge_router(self, router: StoredRouter) -> None:
        """Do nothing."""

    def register(self, model_name: str, folder: str | Path) -> None:
        """Register nothing and return None: there is no registry."""
