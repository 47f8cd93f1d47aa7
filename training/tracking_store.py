"""The experiment that runs are written to, and the registered model that versions go to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError
from router.mlflow_store import named_errors, open_client, quick_and_quiet, redacted, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["connect", "create_version"]

_VERSIONS_TAG = "mlflow.modelVersions"
_EXPERIMENT_TAGS = {
    # without it the interface guesses from the runs, and shows a page for chat traces
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "Routers that send each prompt to the least-energy LLM that still answers well enough.\n\n"
        "- `log_energy_ratio`: mean over the quality bars of ln(energy / energy of the zero "
        "router, the best mixture of fixed models, at the same quality). Below 0 is better than "
        "mixing; -0.69 is half the energy.\n"
        "- `served_quality_0.98`, `served_energy_0.98`: quality and energy relative to the "
        "reference model's that the bar 0.98 led to on prompts that the router was not trained "
        "on.\n"
        "- `out_of_fold.` figures come from the training prompts, and may be used to choose.\n"
        "- The tag `wattroute.kind` says what a run is: train, benchmark, evaluate, promote or "
        "sweep; below them head, baseline and trial."
    ),
}
_MODEL_DESCRIPTION = (
    "Routers of WattRoute. The alias `champion` is what is served: "
    '`Router.load("models:/{name}@champion")`, `wattroute serve models:/{name}@champion`. '
    "`wattroute promote` moves it to a version that keeps the quality bar with less energy."
)


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Connect to a tracking store or server.

    Parameters
    ----------
    uri : str
        MLflow tracking URI. A SQLite file is created where it does not exist, and its
        experiments keep their artifacts in ``mlartifacts`` beside it.
    experiment : str
        Name of the experiment; it is created where it does not exist, with a description of
        what its runs show.

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
    file = sqlite_file(uri)
    if file is not None:
        _check_sqlite(file, uri)
    with quick_and_quiet():
        client = open_client(uri)
        with named_errors(uri):
            found = client.get_experiment_by_name(experiment)
            if found is None:
                folder = None if file is None else file.resolve().parent / "mlartifacts"
                location = None if folder is None else folder.as_uri()
                return client, client.create_experiment(
                    experiment, artifact_location=location, tags=_EXPERIMENT_TAGS
                )
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking URI {redacted(uri)}: experiment {experiment!r} is deleted: "
            "restore it or name another"
        )
    return client, str(found.experiment_id)


def create_version(
    client: MlflowClient,
    name: str,
    location: str,
    run_id: str | None,
    model_id: str | None,
    description: str = "",
) -> str:
    """Register what is stored somewhere as a new version of a model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        A connected client.
    name : str
        Name of the registered model; it is created where it does not exist.
    location : str
        Where its files are.
    run_id, model_id : str or None
        The run that it comes from, and MLflow's id of it.
    description : str
        What to know about the version, as Markdown.

    Returns
    -------
    str
        The version.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=_MODEL_DESCRIPTION.format(name=name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = client.create_model_version(
        name, source=location, run_id=run_id, model_id=model_id, description=description
    )
    version = str(created.version)
    if model_id is not None:
        # the interface finds the versions of a logged model by this tag
        known = client.get_logged_model(model_id).tags.get(_VERSIONS_TAG, "[]")
        versions = [*json.loads(known), {"name": name, "version": version}]
        client.set_logged_model_tags(model_id, {_VERSIONS_TAG: json.dumps(versions)})
    return version


def _check_sqlite(file: Path, uri: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"tracking URI {uri}: {error}") from error
