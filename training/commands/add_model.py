"""``wattroute add-model``: one more model for a stored router, with a few graded prompts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import click

from router import Router
from router.artifact import CARD_FILE, Artifact, artifact_digest, write_artifact
from router.cli.options import unused_seed_option
from router.energy import Catalogue
from router.errors import ConfigError, DataError
from router.pool import PoolModel, load_pool
from router.router import router_folder
from router.training.add_model import AddedModel
from router.training.add_model import add_model as add_to_router
from router.training.card import with_promise
from router.training.commands.options import json_option, on_bad_option, progress_printer
from router.training.ingest import load_runs

__all__ = ["add_model"]

_MANY_UNLIKE = 0.2


@click.command(
    "add-model",
    epilog="""\b
Examples:
  wattroute add-model my-router runs/ new-model.jsonl --model gemma-3-12b --out my-router-2
  wattroute add-model my-router graded.csv --model tuned --pool pool.toml --out my-router-2
""",
)
@click.argument("folder", metavar="DIR")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option("--model", required=True, metavar="NAME", help="The new model's name in the runs.")
@click.option(
    "--catalogue",
    "row",
    metavar="ROW",
    help="Its name in the catalogue of energies.  [default: what NAME means there]",
)
@click.option(
    "--pool",
    "pool_file",
    metavar="POOL.toml",
    help="A pool file that has the new model, with its energy, instead of the catalogue.",
)
@click.option(
    "--api-id", metavar="ID", help="Its id in the API.  [default: that of the pool file, or NAME]"
)
@click.option("--out", required=True, metavar="NEWDIR", help="Folder to write the new version to.")
@on_bad_option
@unused_seed_option
@json_option
def add_model(
    folder: str,
    runs: tuple[str, ...],
    model: str,
    row: str | None,
    pool_file: str | None,
    api_id: str | None,
    out: str,
    on_bad: str,
    as_json: bool,
) -> None:
    """Add a model to a stored router with 50 to 300 graded prompts, without training it again.

    RUNS have grades of the new model. Give the runs that the router was trained on, too: grades
    of its own models on the same prompts tell a hard prompt from a weak model, and all prompts
    serve as a sample of traffic. `wattroute select-prompts` proposes which prompts to grade.

    The result is a new version of the router that names its parent. It promises nothing until
    `wattroute calibrate` has certified it, with runs of all its models on prompts that neither
    training nor this command has used; until then it serves what is estimated to keep a bar, with
    a warning.
    """
    say = progress_printer()
    parent = router_folder(folder)
    if Path(out).resolve() == parent.resolve():
        raise ConfigError(f"--out {out} is the router itself: choose another folder")
    if Path(out).is_file():
        raise ConfigError(f"--out {out} is a file: choose a folder")
    if row is not None and pool_file is not None:
        raise ConfigError("give either --catalogue or --pool")
    artifact = Router.load(folder).artifact
    table = load_runs(runs, on_bad="skip" if on_bad == "skip" else "error")
    say(table.summary())
    if model not in table.models:
        raise DataError(f"the runs have no model {model!r}: {_hint(model, table.models)}")
    new = _from_pool(model, pool_file) if pool_file else _from_catalogue(model, row)
    if api_id is not None:
        new = replace(new, api_id=api_id)
    widened, added = add_to_router(
        artifact,
        table.to_matrix(),
        new,
        parent=artifact_digest(parent),
        data_digest=table.digest,
        progress=say,
    )
    card = (parent / CARD_FILE).read_text(encoding="utf-8")
    write_artifact(widened, out, _card(card, widened, added))
    say(f"new version written to {out}")
    for line in _cautions(added):
        say(line)
    if as_json:
        summary = {"router": out, "parent": widened.lineage["parent"], "api_id": new.api_id}
        click.echo(json.dumps(summary | added.to_dict(), indent=1))
    else:
        click.echo(f"{out}: {len(widened.pool.models)} models, the new one is {new.api_id}")
        click.echo("\n".join(_lines(added)))


def _from_pool(name: str, pool_file: str) -> PoolModel:
    """Return the model of that name in a pool file."""
    models = {model.name: model for model in load_pool(pool_file).models}
    if name not in models:
        raise ConfigError(f"{pool_file} has no model {name!r}: {_hint(name, models)}")
    return models[name]


def _hint(name: str, models: Iterable[str]) -> str:
    """Say what was meant, or what there is."""
    known = list(models)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _cautions(added: AddedModel) -> list[str]:
    """Say what makes the figures of the new model worse than they look."""
    lines = []
    if added.n_alone:
        lines.append(
            f"{added.n_alone:,} prompts were trained on and have no grade of another model: what "
            "is expected of the new one is too bold; give the other runs, too"
        )
    if added.n_unlike > _MANY_UNLIKE * added.n_graded:
        lines.append(
            f"{added.n_unlike:,} of the {added.n_graded:,} graded prompts are unlike those that "
            "the router was trained on, so they say little: grade prompts that "
            "`wattroute select-prompts` proposes"
        )
    if added.assumed_tokens:
        lines.append(
            "the runs have no completion tokens of it: its lengths, and so its energy, are assumed"
        )
    return lines


def _from_catalogue(name: str, row: str | None) -> PoolModel:
    """Return a model with the energy of a row of the catalogue."""
    catalogue = Catalogue.default()
    entry = catalogue.match(name) if row is None else catalogue.find(row)
    if entry is None:
        raise ConfigError(
            f"the catalogue does not know {name!r}: name its row with --catalogue "
            "(`wattroute models` lists them), or give its energy in a pool file with --pool"
        )
    origin = ", ".join(part for part in (entry.name, entry.source, entry.date) if part)
    return PoolModel(
        name=name,
        api_id=name,
        joules_per_prompt_token=entry.joules_per_prompt_token,
        joules_per_completion_token=entry.joules_per_completion_token,
        low_factor=entry.low_factor,
        high_factor=entry.high_factor,
        basis=entry.basis,
        basis_text=f"{entry.basis_text}: {origin}",
    )


def _lines(added: AddedModel) -> list[str]:
    """Say what is known of the model."""
    lines = [
        f"Mean quality {added.quality:.3f}, give or take {added.deviation:.3f}, and "
        f"{added.energy_j:,.3g} J a request, from {added.n_graded:,} graded prompts."
    ]
    if added.provisional:
        lines.append(
            f"Provisional: choices take its mean quality for {added.bound:.3f}. About "
            f"{added.n_needed:,} graded prompts would make it known to within 0.01."
        )
    lines.append(
        "Nothing is promised: until `wattroute calibrate` has certified the new version with runs "
        "of all its models, it serves what is estimated to keep a bar."
    )
    return lines


def _card(card: str, widened: Artifact, added: AddedModel) -> str:
    """Return the parent's card with the new model and without its promises."""
    new = widened.pool.models[-1]
    lines = [
        f"## Added: {new.api_id}",
        "",
        f"Added to the router with digest `{widened.lineage['parent']}`, which the figures and "
        "the table of this card are about. It is not in them.",
        "",
        f"- Name in the runs: {new.name}. {new.joules_per_completion_token:g} J per completion "
        f"token, {new.joules_per_prompt_token:g} J per prompt token; {new.basis_text}.",
        *(f"- {line}" for line in _lines(added)),
        f"- Digest of the runs: `{added.data_digest}`.",
        "",
    ]
    return f"{with_promise(card, widened).rstrip()}\n\n" + "\n".join(lines)
