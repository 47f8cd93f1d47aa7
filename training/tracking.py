"""Tracking of training runs with MLflow, or with nothing.

One parent run a training, one nested run a head. By default the runs go to
``mlflow.db`` (SQLite) in the working folder and their artifacts to ``mlartifacts`` beside
it; ``mlflow ui --backend-store-uri sqlite:///mlflow.db`` shows them. A router is registered
as the folder of data that it is: no pickle, no Python code, fetched again with
``mlflow.artifacts.download_artifacts("models:/NAME/VERSION")``.

Only MLflow's client is used, never its global state, so a program that tracks its own runs
can train a router without the two getting mixed up.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from router.errors import ConfigError
from router.training.tracking_store import connect, create_registered_model, named_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["DEFAULT_TRACKING_URI", "MlflowTracker", "NullTracker", "Tracker"]

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"

_ROUTER_PATH = "router"

# limits of MLflow's stores
_MAX_PARAM_LENGTH = 6000
_MAX_DIGEST_LENGTH = 36
_MAX_PARAMS_A_CALL = 100
_MAX_METRICS_A_CALL = 1000


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

    def nested(self, name: str) -> AbstractContextManager[Tracker]:
        """Return a run below this one, to be entered."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write down settings, each once a run."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write down figures."""
        ...

    def log_dataset(
        self, name: str, digest: str, n_prompts: int, models: Sequence[str], source: str
    ) -> None:
        """Write down which evaluation runs were used."""
        ...

    def log_artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Store the files of `folder`, below `path` of the run's artifacts."""
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

    def nested(self, name: str) -> NullTracker:
        """Return a tracker that writes nothing down either."""
        return NullTracker()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Do nothing."""

    def log_dataset(
        self, name: str, digest: str, n_prompts: int, models: Sequence[str], source: str
    ) -> None:
        """Do nothing."""

    def log_artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Do nothing."""

    def register(self, model_name: str, folder: str | Path) -> None:
        """Register nothing and return None: there is no registry."""


class MlflowTracker:
    """A tracker that writes to an MLflow tracking store or server.

    Parameters
    ----------
    tracking_uri : str, optional
        Where to write. Without it the environment variable ``MLFLOW_TRACKING_URI``
        decides, else ``sqlite:///mlflow.db`` in the working folder.
    experiment : str
        Name of the MLflow experiment; it is created where it does not exist.
    run_name : str, optional
        Name of the parent run; MLflow invents one without it.

    Attributes
    ----------
    tracking_uri : str
        Where the runs go.
    run_id : str or None
        MLflow's id of the open run.

    Raises
    ------
    ConfigError
        From every method, when the store or server refuses or cannot be reached.
    MissingExtraError
        On entering, when MLflow is not installed.

    Examples
    --------
    >>> with MlflowTracker(run_name="reasoning-gym") as run:  # doctest: +SKIP
    ...     run.log_params({"seed": 0})
    ...     with run.nested("knn") as head:
    ...         head.log_metrics({"auc": 0.71})
    ...     run.register("wattroute-default", "models/default")
    '1'
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str = "wattroute",
        run_name: str | None = None,
    ) -> None:
        self.tracking_uri = (
            tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
        )
        self.experiment = experiment
        self.run_name = run_name
        self.run_id: str | None = None
        self._parent: MlflowTracker | None = None
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._stored: dict[Path, str] = {}

    def __enter__(self) -> Self:
        """Connect, create the experiment where it is missing, and open the run."""
        if self._client is None:
            self._client, self._experiment_id = connect(self.tracking_uri, self.experiment)
        tags = {"mlflow.source.name": "wattroute", "mlflow.source.type": "LOCAL"}
        if self._parent is not None:
            tags["mlflow.parentRunId"] = str(self._parent.run_id)
        with named_errors(self.tracking_uri):
            run = self._client.create_run(self._experiment_id, tags=tags, run_name=self.run_name)
        self.run_id = run.info.run_id
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the run: finished, failed, or killed when the user interrupted it."""
        status = "FINISHED" if kind is None else "FAILED"
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            status = "KILLED"
        client, run_id = self._open()
        self.run_id = None
        try:
            with named_errors(self.tracking_uri):
                client.set_terminated(run_id, status)
        except ConfigError:
            # the error on its way out says more than that the store is gone as well
            if kind is None:
                raise

    def nested(self, name: str) -> MlflowTracker:
        """Return a run below this one, to be entered.

        Parameters
        ----------
        name : str
            Name of the nested run, such as that of a head.

        Returns
        -------
        MlflowTracker
            Shares the connection and the experiment.
        """
        client, _ = self._open()
        child = MlflowTracker(self.tracking_uri, self.experiment, name)
        child._parent, child._client, child._experiment_id = self, client, self._experiment_id
        return child

    def log_params(self, params: Mapping[str, object]) -> None:
        """Write down settings.

        Parameters
        ----------
        params : mapping of str to object
            Written with ``str``; what is longer than MLflow stores ends in an ellipsis.
        """
        from mlflow.entities import Param

        client, run_id = self._open()
        rows = [Param(name, _shorten(str(value))) for name, value in params.items()]
        with named_errors(self.tracking_uri):
            for start in range(0, len(rows), _MAX_PARAMS_A_CALL):
                client.log_batch(run_id, params=rows[start : start + _MAX_PARAMS_A_CALL])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write down figures.

        Parameters
        ----------
        metrics : mapping of str to float
            Figures by name.
        step : int
            Position on the horizontal axis of a curve.
        """
        from mlflow.entities import Metric

        client, run_id = self._open()
        now_ms = int(time.time() * 1000)
        rows = [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
        with named_errors(self.tracking_uri):
            for start in range(0, len(rows), _MAX_METRICS_A_CALL):
                client.log_batch(run_id, metrics=rows[start : start + _MAX_METRICS_A_CALL])

    def log_dataset(
        self, name: str, digest: str, n_prompts: int, models: Sequence[str], source: str
    ) -> None:
        """Write down which evaluation runs were used.

        Parameters
        ----------
        name : str
            Name of the runs.
        digest : str
            Digest of the runs; all of it is kept in the profile, its start in MLflow's own
            field.
        n_prompts : int
            Number of prompts.
        models : sequence of str
            The models that answered them.
        source : str
            Where the runs come from: files or an address.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        client, run_id = self._open()
        profile = {"digest": digest, "n_prompts": n_prompts, "models": list(models)}
        dataset = Dataset(
            name=name,
            digest=digest[:_MAX_DIGEST_LENGTH],
            source_type="evaluation_runs",
            source=source,
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        with named_errors(self.tracking_uri):
            client.log_inputs(run_id, [DatasetInput(dataset, tags)])

    def log_artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Store the files of a folder with the run.

        Parameters
        ----------
        folder : str or Path
            Folder of files, stored with what is below it.
        path : str, optional
            Folder of the run's artifacts to store them in.

        Raises
        ------
        ConfigError
            When `folder` is not a folder.
        """
        client, run_id = self._open()
        if not Path(folder).is_dir():
            raise ConfigError(f"{folder}: not a folder, so its files cannot be stored")
        with named_errors(self.tracking_uri):
            client.log_artifacts(run_id, str(folder), path)
        if path is not None:
            self._stored[Path(folder).resolve()] = path

    def register(self, model_name: str, folder: str | Path) -> str:
        """Register the router in a folder as a new version of a registered model.

        Parameters
        ----------
        model_name : str
            Name of the registered model; it is created where it does not exist.
        folder : str or Path
            The artifact folder. It is stored with the run first, unless `log_artifacts`
            stored it already.

        Returns
        -------
        str
            The version.
        """
        client, run_id = self._open()
        if Path(folder).resolve() not in self._stored:
            self.log_artifacts(folder, _ROUTER_PATH)
        source = f"runs:/{run_id}/{self._stored[Path(folder).resolve()]}"
        with named_errors(self.tracking_uri):
            create_registered_model(client, model_name)
            version = client.create_model_version(model_name, source=source, run_id=run_id)
        return str(version.version)

    def _open(self) -> tuple[MlflowClient, str]:
        """Return the client and the id of the open run."""
        if self._client is None or self.run_id is None:
            raise RuntimeError("the run is not open: use the tracker in a with statement")
        return self._client, self.run_id


def _shorten(value: str) -> str:
    return value if len(value) <= _MAX_PARAM_LENGTH else value[: _MAX_PARAM_LENGTH - 1] + "…"
