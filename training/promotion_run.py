"""A comparison of routers written to the MLflow store, and the alias set where it was won."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from router.artifact import artifact_digest
from router.errors import ConfigError
from router.mlflow_store import named_errors, open_client, quick_and_quiet, sqlite_file
from router.pool import Pool
from router.registry import StoredRouter, find_router
from router.training.promotion import Contest
from router.training.runs import Runs
from router.training.tracked_figures import run_params
from router.training.tracking import MlflowTracker
from router.training.tracking_store import create_version

__all__ = ["PromotionRecord", "find_champion", "record_promotion"]


@dataclass(frozen=True, slots=True)
class PromotionRecord:
    """What was written to the store.

    Attributes
    ----------
    run_id : str
        The run of the comparison.
    version : str or None
        The version that the alias was set to; None where it stays.
    notes : tuple of str
        What the store says about the comparison.
    """

    run_id: str
    version: str | None
    notes: tuple[str, ...]


def find_champion(uri: str, name: str, alias: str) -> StoredRouter | None:
    """Return the router that an alias means, or None where nothing has it yet.

    Parameters
    ----------
    uri : str
        MLflow tracking URI; a SQLite file that does not exist has no champion.
    name, alias : str
        The registered model and its alias.

    Raises
    ------
    ConfigError
        If the store cannot be reached.
    """
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        return None
    client = open_client(uri)
    from mlflow.exceptions import MlflowException

    with quick_and_quiet(), named_errors(uri):
        try:
            model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
    if alias not in model.aliases:
        return None
    return find_router(f"models:/{name}@{alias}", uri)


def record_promotion(
    contest: Contest,
    pool: Pool,
    runs: Runs,
    *,
    uri: str,
    experiment: str,
    name: str,
    alias: str,
    challenger: str,
    folder: Path,
    stored: StoredRouter | None,
    champion: StoredRouter | None,
    notes: tuple[str, ...] = (),
    seed: int = 0,
) -> PromotionRecord:
    """Log a comparison, and set the alias if the challenger won it.

    Parameters
    ----------
    contest : Contest
        What was found.
    pool : Pool
        The models of both routers.
    runs : Runs
        The held-out runs.
    uri, experiment : str
        MLflow store and experiment.
    name, alias : str
        The registered model and its alias.
    challenger : str
        How the user named it.
    folder : Path
        Its files.
    stored : StoredRouter or None
        Where it is in the store already.
    champion : StoredRouter or None
        The champion that it was compared with.
    notes : tuple of str
        What to know about the comparison.
    seed : int
        Seed of the resamples.

    Returns
    -------
    PromotionRecord
        What was written.

    Raises
    ------
    ConfigError
        If the store refuses, or another router became the champion meanwhile.
    """
    rule = contest.rule
    bar = f"{rule.quality:.2f}"
    shown = challenger if stored is not None else Path(challenger).name
    with MlflowTracker(uri, experiment, f"promote {shown}", "promote") as run:
        if stored is not None:
            run.judge_router(stored)
        before = _comparisons_before(run, name, runs.digest)
        if before:
            notes = (
                *notes,
                f"these runs have decided {before} comparison{'s' * (before > 1)} of {name!r} "
                "before: with each further one a lucky router is likelier to win",
            )
        run.log_params(
            run_params(
                pool,
                data_digest=runs.digest,
                n_prompts=contest.n_prompts,
                seed=seed,
                reference=contest.reference,
                router=challenger,
                router_digest=artifact_digest(folder),
                registered_model=name,
                alias=alias,
                champion="" if champion is None else f"version {champion.version}",
                quality=rule.quality,
                margin=rule.margin,
                level=rule.level,
            )
        )
        source = ", ".join(Path(file).name for file in runs.files)
        run.log_dataset(
            pool.name, runs.digest, contest.n_prompts, runs.models, source, "evaluation"
        )
        run.log_metrics(
            {
                f"served_quality_{bar}": contest.challenger_quality,
                f"served_energy_{bar}": contest.challenger_energy,
                f"champion_served_quality_{bar}": contest.champion_quality,
                f"champion_served_energy_{bar}": contest.champion_energy,
                "quality_p_value": contest.quality_test.p_value,
                "energy_p_value": contest.energy_test.p_value,
                "saved_j": contest.energy_test.mean,
                "promoted": float(contest.better),
            }
        )
        lines = [f"{'Better' if contest.better else 'Not better'} at the bar {rule.quality:g}."]
        lines += [f"- {reason}" for reason in contest.reasons()]
        lines += [f"- {note}" for note in (*notes, *contest.notes)]
        run.describe("\n".join(lines))
        run_id = str(run.run_id)
        version = None
        if contest.better:
            version = _version(run, name, folder, stored)
            now = find_champion(uri, name, alias)
            if (now and now.version) != (champion and champion.version):
                raise ConfigError(
                    f"models:/{name}@{alias} became another version meanwhile: compare with it"
                )
            client = open_client(uri)
            with quick_and_quiet(), named_errors(uri):
                client.set_registered_model_alias(name, alias, version)
                client.set_model_version_tag(name, version, "wattroute.promoted_by", run_id)
    return PromotionRecord(run_id, version, notes)


def _comparisons_before(run: MlflowTracker, name: str, digest: str) -> int:
    """Return how many comparisons of a registered model these runs have decided."""
    client, experiment_id = run.connection()
    with quick_and_quiet(), named_errors(run.tracking_uri):
        found = client.search_runs(
            [experiment_id],
            f"tags.`wattroute.kind` = 'promote' and params.data_digest = '{digest}'",
        )
    return sum(one.data.params.get("registered_model") == name for one in found)


def _version(run: MlflowTracker, name: str, folder: Path, stored: StoredRouter | None) -> str:
    """Return the challenger's version of the registered model, registered now if need be."""
    if stored is None:
        return run.register(name, folder)
    if stored.name == name and stored.version is not None:
        return stored.version
    client, _ = run.connection()
    with quick_and_quiet(), named_errors(run.tracking_uri):
        return create_version(client, name, stored.location, stored.run_id, stored.model_id)
