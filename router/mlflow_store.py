"""Reaching an MLflow store or server: quickly, quietly, and with errors that name it.

Left to itself MLflow prints notes on the tables it makes, reports its use to its makers, and tries
for minutes before it says that it cannot connect. MLflow is imported when a store is reached, not
before: what only routes never needs it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from router.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "DEFAULT_TRACKING_URI",
    "named_errors",
    "open_client",
    "quick_and_quiet",
    "quiet",
    "redacted",
    "sqlite_file",
    "tracking_uri",
]

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
"""A SQLite file in the working folder."""

_SQLITE = "sqlite:///"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # read when MLflow is imported
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_RAISERS = ("alembic.", "mlflow.", "requests.", "sqlalchemy.")


def tracking_uri() -> str:
    """Return the tracking URI that holds where none is given.

    Returns
    -------
    str
        What the program set with ``mlflow.set_tracking_uri``, else the environment variable
        ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in the working folder.
    """
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def open_client(uri: str) -> MlflowClient:
    """Return a client of a store or server; it may not have reached it yet.

    Parameters
    ----------
    uri : str
        MLflow tracking URI.

    Raises
    ------
    ConfigError
        When the store refuses.
    MissingExtraError
        When MLflow is not installed.
    """
    with quick_and_quiet():
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            if error.name != "mlflow":
                raise
            raise MissingExtraError("mlflow", "train") from error
        with named_errors(uri):
            return MlflowClient(tracking_uri=uri)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for every other URI.

    Examples
    --------
    >>> sqlite_file("sqlite:///mlflow.db").name
    'mlflow.db'
    """
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None


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
        if not known or isinstance(error, MissingExtraError):
            raise
        reason = " ".join(str(error).split()).replace(uri.rstrip("/"), redacted(uri).rstrip("/"))
        raise ConfigError(f"tracking URI {redacted(uri)}: {reason}") from error


@contextmanager
def quick_and_quiet() -> Iterator[None]:
    """As :func:`quiet`, and keep MLflow from trying for minutes to reach a server."""
    with quiet(), _environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow from reporting its use, and its notes off the screen.

    The notes of Alembic, on making tables, too: its own settings reset the levels of single
    loggers on the way, so all are held.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        with _environment(_QUIET):
            yield
    finally:
        logging.disable(before)


def redacted(uri: str) -> str:
    """Return the URI without user name and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


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
