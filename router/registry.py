"""Routers in an MLflow store: ``models:/wattroute@champion`` in the place of a folder.

Files are fetched and nothing of them is run: what is loaded is the folder of the router inside,
with its format version and its hashes checked as everywhere.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from router.artifact import MANIFEST_FILE
from router.errors import ArtifactError, ConfigError
from router.mlflow_store import named_errors, open_client, quick_and_quiet, sqlite_file
from router.mlflow_store import tracking_uri as current_tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ROUTER_NAME", "StoredRouter", "fetch_router", "find_router", "is_router_uri"]

ROUTER_NAME = "router"
"""Name that training gives the router among a run's models."""

_MODELS, _RUNS = "models:/", "runs:/"
_FORMS = (
    "write models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest, models:/MODEL_ID or "
    "runs:/RUN_ID"
)
# where a fetched folder has the router: as MLflow's own format has it, or by itself
_PLACES = (f"data/{ROUTER_NAME}", ".")

# by store and location; what is fetched goes when the process ends
_fetched: dict[tuple[str, str], tuple[tempfile.TemporaryDirectory[str], Path]] = {}


@dataclass(frozen=True, slots=True)
class StoredRouter:
    """A router that a URI means right now.

    Attributes
    ----------
    uri : str
        The URI.
    tracking_uri : str
        The store or server that it was looked up in.
    location : str
        Where its files are; the same as long as the URI means the same router.
    name, version : str or None
        Registered model and version, for ``models:/NAME...``.
    run_id : str or None
        The run that it comes from.
    model_id : str or None
        MLflow's id of the logged model.
    """

    uri: str
    tracking_uri: str
    location: str
    name: str | None = None
    version: str | None = None
    run_id: str | None = None
    model_id: str | None = None


def is_router_uri(path: object) -> bool:
    """Whether a path is the URI of a router in an MLflow store.

    Examples
    --------
    >>> is_router_uri("models:/wattroute@champion"), is_router_uri("models/default")
    (True, False)
    """
    return str(path).startswith((_MODELS, _RUNS))


def find_router(uri: str | Path, tracking_uri: str | None = None) -> StoredRouter:
    """Look up what a URI means, without fetching it.

    Parameters
    ----------
    uri : str or Path
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/NAME/latest``,
        ``models:/MODEL_ID``, ``runs:/RUN_ID`` or ``runs:/RUN_ID/PATH``.
    tracking_uri : str, optional
        Store or server; as :func:`router.mlflow_store.tracking_uri` says where absent.
        Registered models may be in another one, that of ``MLFLOW_REGISTRY_URI``.

    Returns
    -------
    StoredRouter
        Where it is.

    Raises
    ------
    ConfigError
        If the URI is malformed, names what is not there, or the store cannot be reached.
    MissingExtraError
        If MLflow is not installed.
    """
    text = str(uri)
    store = tracking_uri or current_tracking_uri()
    file = sqlite_file(store)
    if file is not None and not file.is_file():
        raise ConfigError(
            f"{text}: there is no MLflow store {file}: set MLFLOW_TRACKING_URI to the one that "
            "has it"
        )
    client = open_client(store)
    with quick_and_quiet(), named_errors(store):
        if text.startswith(_RUNS):
            return _of_run(client, text, store)
        return _of_model(client, text, store)


def fetch_router(uri: str | Path, tracking_uri: str | None = None) -> Path:
    """Fetch the files of a router.

    Parameters
    ----------
    uri, tracking_uri
        As for :func:`find_router`.

    Returns
    -------
    Path
        Folder of the router. It is there until the process ends.

    Raises
    ------
    ArtifactError
        If what is stored there is not a router.
    ConfigError, MissingExtraError
        As for :func:`find_router`.
    """
    found = find_router(uri, tracking_uri)
    key = found.tracking_uri, found.location
    if key not in _fetched:
        from mlflow.artifacts import download_artifacts

        keeper = tempfile.TemporaryDirectory(prefix="wattroute-")
        with quick_and_quiet(), named_errors(found.tracking_uri):
            files = download_artifacts(
                artifact_uri=found.location,
                dst_path=keeper.name,
                tracking_uri=found.tracking_uri,
            )
        _fetched[key] = keeper, Path(files)
    for place in _PLACES:
        folder = _fetched[key][1] / place
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise ArtifactError(f"{found.uri}: what is stored there is not a router of WattRoute")


def _of_model(client: MlflowClient, uri: str, store: str) -> StoredRouter:
    """Look up a registered or a logged model."""
    from mlflow.exceptions import MlflowException

    name, slash, version = uri.removeprefix(_MODELS).strip("/").partition("/")
    name, at, alias = name.rpartition("@") if "@" in name else (name, "", "")
    if not name or "/" in version or (slash and not version) or (at and (slash or not alias)):
        raise ConfigError(f"{uri} is not the URI of a router: {_FORMS}")
    if not slash and not at:
        try:
            logged = client.get_logged_model(name)
        except MlflowException as error:
            raise ConfigError(f"{uri}: no logged model has this id: {_FORMS}") from error
        return StoredRouter(
            uri,
            store,
            logged.artifact_location,
            run_id=logged.source_run_id,
            model_id=logged.model_id,
        )
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = [other.name for other in client.search_registered_models(max_results=100)]
        raise ConfigError(f"{uri}: no registered model {name!r}{_instead(name, known)}") from error
    if at:
        if alias not in model.aliases:
            raise ConfigError(
                f"{uri}: the registered model {name!r} has no alias {alias!r}"
                f"{_instead(alias, model.aliases)}"
            )
        version = str(model.aliases[alias])
    elif version == "latest":
        every = client.search_model_versions(f"name = '{name}'") if "'" not in name else ()
        numbers = [int(one.version) for one in every]
        if not numbers:
            raise ConfigError(f"{uri}: the registered model {name!r} has no version")
        version = str(max(numbers))
    try:
        stored = client.get_model_version(name, version)
    except MlflowException as error:
        raise ConfigError(f"{uri}: the registered model {name!r} has no version {version}") from (
            error
        )
    location = str(client.get_model_version_download_uri(name, version))
    if location.startswith(_RUNS):
        location = _of_run(client, location, store).location
    return StoredRouter(
        uri,
        store,
        location,
        name=name,
        version=version,
        run_id=stored.run_id or None,
        model_id=_model_at(client, stored.run_id, location),
    )


def _of_run(client: MlflowClient, uri: str, store: str) -> StoredRouter:
    """Look up the router of a run."""
    from mlflow.exceptions import MlflowException

    run_id, _, path = uri.removeprefix(_RUNS).strip("/").partition("/")
    path = path or ROUTER_NAME
    if not run_id:
        raise ConfigError(f"{uri} is not the URI of a router: {_FORMS}")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise ConfigError(f"{uri}: there is no run {run_id!r}") from error
    outputs = () if run.outputs is None else run.outputs.model_outputs
    logged = [client.get_logged_model(output.model_id) for output in outputs]
    for model in reversed(logged):
        if model.name == path:
            return StoredRouter(
                uri, store, model.artifact_location, run_id=run_id, model_id=model.model_id
            )
    if not client.list_artifacts(run_id, path):
        raise ConfigError(
            f"{uri}: the run {run.info.run_name!r} has no router at {path!r}"
            f"{_instead(path, [model.name for model in logged])}"
        )
    return StoredRouter(uri, store, f"{run.info.artifact_uri}/{path}", run_id=run_id)


def _model_at(client: MlflowClient, run_id: str | None, location: str) -> str | None:
    """Return the id of the run's model that is stored at a place: versions do not keep it."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id) if run_id else None
        for output in run.outputs.model_outputs if run is not None and run.outputs else ():
            if client.get_logged_model(output.model_id).artifact_location == location:
                return str(output.model_id)
    except MlflowException:
        pass  # a run that was deleted, or one of another store
    return None


def _instead(name: str, known: Collection[str]) -> str:
    """Say what there is instead."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": there is {', '.join(sorted(known))}" if known else ""
