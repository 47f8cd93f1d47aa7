"""Reaching an MLflow store or server: quickly, quietly, and with errors that name it.

Left to itself MLflow prints notes on the tables it makes, reports its use to its makers,
and tries for minutes before it says that it cannot connect.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from router.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["connect", "create_registered_model", "named_errors"]

_SQLITE = "sqlite:///"
_RAISERS = ("alembic.", "mlflow.", "requests.", "sqlalchemy.")


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Connect to a tracking store or server.

    Parameters
    ----------
    uri : str
        MLflow tracking URI. A SQLite file is created where it does not exist, and its
        experiments keep their artifacts in ``mlartifacts`` beside it.
    experiment : str
        Name of the experiment; it is created where it does not exist.

    Returns
    -------
    client : mlflow.MlflowClient
        A client that has reached its store.
    experiment_id : str
        MLflow's id of the experiment.

    Raises
    ------
    ConfigError
        When the store or server refuses or cannot be reached.
    MissingExtraError
        When MLflow is not installed.
    """
    file = Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None
    if file is not None:
        _check_sqlite(file, uri)
    # the telemetry switch is read on import, the number of tries on each request
    quick = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with _quiet(), _environment(quick):
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            if error.name != "mlflow":
                raise
            raise MissingExtraError("mlflow", "train") from error
        with named_errors(uri):
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(experiment)
            if found is None:
                folder = None if file is None else file.resolve().parent / "mlartifacts"
                location = None if folder is None else folder.as_uri()
                return client, client.create_experiment(experiment, artifact_location=location)
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking URI {_redacted(uri)}: experiment {experiment!r} is deleted: "
            "restore it or name another"
        )
    return client, str(found.experiment_id)


def create_registered_model(client: MlflowClient, name: str) -> None:
    """Create the registered model `name`, unless it exists.

    Parameters
    ----------
    client : mlflow.MlflowClient
        A connected client.
    name : str
        Name of the registered model.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def named_errors(uri: str) -> Iterator[None]:
    """Turn what a store or server raises in the block into a ConfigError.

    Parameters
    ----------
    uri : str
        Tracking URI to name in the message; a password in it is left out.
    """
    try:
        yield
    except Exception as error:
        # a module is missing where the URI asks for a database driver
        known = isinstance(error, ModuleNotFoundError) or type(error).__module__.startswith(
            _RAISERS
        )
        if not known:
            raise
        reason = " ".join(str(error).split()).replace(uri.rstrip("/"), _redacted(uri).rstrip("/"))
        raise ConfigError(f"tracking URI {_redacted(uri)}: {reason}") from error


def _check_sqlite(file: Path, uri: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"tracking URI {uri}: {error}") from error


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not set, for the time of the block."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notes of MLflow and Alembic on making tables off the screen.

    Alembic's own settings reset the levels of single loggers on the way, so all are held.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        logging.disable(before)


def _redacted(uri: str) -> str:
    """Return the URI without user name and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
