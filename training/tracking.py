"""Tracking of training runs with MLflow, or with nothing.

One parent run a training, one nested run a head. By default the runs go to
``mlflow.db`` (SQLite) in the working folder and their artifacts to ``mlartifacts`` beside
it; ``mlflow ui --backend-store-uri sqlite:///mlflow.db`` shows them. A router is stored as an
MLflow model around the folder of data that it is: no pickle, no Python code.
``Router.load("models:/NAME@ALIAS")`` fetches it again.

Only MLflow's client is used, never its global state, so a program that tracks its own runs
can train a router without the two getting mixed up.
"""

from __future__ import annotations

import getpass
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from router.errors import ConfigError
from router.mlflow_store import DEFAULT_TRACKING_URI, named_errors, quiet
from router.registry import ROUTER_NAME, StoredRouter
from router.training.mlflow_model import save_model
from router.training.tracker import NullTracker, Tracker
from router.training.tracking_store import connect, create_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

__all__ = ["DEFAULT_TRACKING_URI", "MlflowTracker", "NullTracker", "Tracker"]

# limits of MLflow's stores
_MAX_PARAM_LENGTH = 6000
_MAX_DIGEST_LENGTH = 36
_MAX_PARAMS_A_CALL = 100
_MAX_METRICS_A_CALL = 1000


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
    kind : str
        What the run is, in a word, such as ``train``: the tag ``wattroute.kind``.
    run_id : str, optional
        A run to write on in, instead of a new one.

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
        kind: str = "",
        run_id: str | None = None,
    ) -> None:
        self.tracking_uri: str = (
            tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
        )
        self.experiment = experiment
        self.run_name = run_name
        self.kind = kind
        self.run_id: str | None = None
        self._known_id = run_id
        self._parent: MlflowTracker | None = None
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._models: dict[Path, LoggedModel] = {}
        self._model_id: str | None = None
        self._dataset: tuple[str, str] | None = None
        self._description = ""

    def __enter__(self) -> Self:
        """Connect, create the experiment where it is missing, and open the run."""
        if self._client is None:
            self._client, self._experiment_id = connect(self.tracking_uri, self.experiment)
        tags = {
            "mlflow.source.name": "wattroute",
            "mlflow.source.type": "LOCAL",
            "mlflow.user": _user(),
            "wattroute.version": metadata.version("wattroute"),
        }
        if self.kind:
            tags["wattroute.kind"] = self.kind
        if self._parent is not None:
            tags["mlflow.parentRunId"] = str(self._parent.run_id)
        with named_errors(self.tracking_uri):
            if self._known_id is not None:
                self._client.update_run(self._known_id, status="RUNNING")
                self.run_id = self._known_id
            else:
                run = self._client.create_run(
                    self._experiment_id, tags=tags, run_name=self.run_name
                )
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
            with quiet(), named_errors(self.tracking_uri):
                client.set_terminated(run_id, status)
        except ConfigError:
            # the error on its way out says more than that the store is gone as well
            if kind is None:
                raise

    def nested(self, name: str, kind: str = "") -> MlflowTracker:
        """Return a run below this one, to be entered.

        Parameters
        ----------
        name : str
            Name of the nested run, such as that of a head.
        kind : str
            What it is, in a word, such as ``head``.

        Returns
        -------
        MlflowTracker
            Shares the connection and the experiment.
        """
        client, _ = self._open()
        child = MlflowTracker(self.tracking_uri, self.experiment, name, kind)
        child._parent, child._client, child._experiment_id = self, client, self._experiment_id
        return child

    def describe(self, text: str) -> None:
        """Write down in words what came of it.

        Parameters
        ----------
        text : str
            Markdown; MLflow shows it as the description of the run.
        """
        client, run_id = self._open()
        with named_errors(self.tracking_uri):
            client.set_tag(run_id, "mlflow.note.content", text)
        self._description = text

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
        """Write down figures, of the run's router and dataset if there are.

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
        of = dict(zip(("dataset_name", "dataset_digest"), self._dataset or (), strict=False))
        if self._model_id is not None:
            of["model_id"] = self._model_id
        rows = [
            Metric(name, float(value), now_ms, step, run_id=run_id, **of)
            for name, value in metrics.items()
        ]
        with named_errors(self.tracking_uri):
            for start in range(0, len(rows), _MAX_METRICS_A_CALL):
                client.log_batch(run_id, metrics=rows[start : start + _MAX_METRICS_A_CALL])

    def log_dataset(
        self,
        name: str,
        digest: str,
        n_prompts: int,
        models: Sequence[str],
        source: str,
        context: str = "training",
    ) -> None:
        """Write down which evaluation runs were used, and what for.

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
        context : {"training", "evaluation"}
            What they were used for.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        client, run_id = self._open()
        profile = {
            "num_rows": n_prompts,
            "n_prompts": n_prompts,
            "n_models": len(models),
            "digest": digest,
            "models": list(models),
        }
        columns = [{"type": "string", "name": "prompt", "required": True}]
        columns += [{"type": "double", "name": model, "required": False} for model in models]
        dataset = Dataset(
            name=name,
            digest=digest[:_MAX_DIGEST_LENGTH],
            source_type="evaluation_runs",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        tags = [InputTag("mlflow.data.context", context)]
        with named_errors(self.tracking_uri):
            client.log_inputs(run_id, [DatasetInput(dataset, tags)])
        self._dataset = dataset.name, dataset.digest

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
        with quiet(), named_errors(self.tracking_uri):
            client.log_artifacts(run_id, str(folder), path)

    def log_router(self, folder: str | Path) -> str:
        """Store a router as a model of the run; figures that follow are its own, too.

        Parameters
        ----------
        folder : str or Path
            The artifact folder.

        Returns
        -------
        str
            MLflow's id of the model: ``models:/ID`` loads it.

        Raises
        ------
        ConfigError
            When `folder` is not a folder.
        """
        return str(self._logged(folder).model_id)

    def register(self, model_name: str, folder: str | Path) -> str:
        """Register the router in a folder as a new version of a registered model.

        Parameters
        ----------
        model_name : str
            Name of the registered model; it is created where it does not exist.
        folder : str or Path
            The artifact folder. It is stored with the run first, unless `log_router`
            stored it already.

        Returns
        -------
        str
            The version.
        """
        client, run_id = self._open()
        model = self._logged(folder)
        with quiet(), named_errors(self.tracking_uri):
            return create_version(
                client,
                model_name,
                model.artifact_location,
                run_id,
                model.model_id,
                self._description,
            )

    def judge_router(self, router: StoredRouter) -> None:
        """Say that figures that follow are those of a router that another run stored.

        Parameters
        ----------
        router : StoredRouter
            The router. One of another store, or without an id of its own, is passed over.
        """
        from mlflow.entities import LoggedModelInput

        client, run_id = self._open()
        if router.model_id is None or router.tracking_uri != self.tracking_uri:
            return
        with named_errors(self.tracking_uri):
            client.log_inputs(run_id, models=[LoggedModelInput(router.model_id)])
        self._model_id = router.model_id

    def _logged(self, folder: str | Path) -> LoggedModel:
        """Return the run's model of the router in a folder, stored now if it was not yet."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        client, run_id = self._open()
        known = self._models.get(Path(folder).resolve())
        if known is not None:
            return known
        if not Path(folder).is_dir():
            raise ConfigError(f"{folder}: not a folder, so its files cannot be stored")
        with tempfile.TemporaryDirectory() as scratch, quiet(), named_errors(self.tracking_uri):
            target = Path(scratch) / "model"
            save_model(folder, target)
            model = client.create_logged_model(
                self._experiment_id, name=ROUTER_NAME, source_run_id=run_id, model_type="router"
            )
            client.log_model_artifacts(model.model_id, str(target))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._models[Path(folder).resolve()] = model
        self._model_id = str(model.model_id)
        return model

    def connection(self) -> tuple[MlflowClient, str]:
        """Return the client of the open run and the id of its experiment."""
        client, _ = self._open()
        return client, self._experiment_id

    def _open(self) -> tuple[MlflowClient, str]:
        """Return the client and the id of the open run."""
        if self._client is None or self.run_id is None:
            raise RuntimeError("the run is not open: use the tracker in a with statement")
        return self._client, self.run_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # an account without a name, as in containers
        return ""


def _shorten(value: str) -> str:
    return value if len(value) <= _MAX_PARAM_LENGTH else value[: _MAX_PARAM_LENGTH - 1] + "…"
