"""``wattroute select-prompts``: the prompts that are most worth grading."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
from numpy.typing import NDArray

from router import Router
from router.artifact import MANIFEST_FILE, Artifact
from router.errors import ConfigError
from router.eval.matrix import Prompt
from router.eval.suites.jsonl import read_prompts
from router.eval.suites.records import SuitePrompt
from router.features import FeatureExtractor, Features, FeatureSpec
from router.router import router_folder
from router.training.commands.options import (
    check_output,
    json_option,
    on_bad_option,
    progress_printer,
    replacing,
    seed_option,
)
from router.training.ingest import load_runs
from router.training.prompts import encode_prompt, normalised_text
from router.training.select_prompts import select_prompts as choose_prompts

__all__ = ["select_prompts"]

_TEXT_SUFFIXES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Prompts to choose among, with what is written for each of them."""

    prompts: tuple[Prompt, ...]
    rows: tuple[dict[str, Any], ...]
    groups: NDArray[np.int64]
    graded: NDArray[np.bool_] | None = None
    embeddings: NDArray[np.float32] | None = None

    def features(self, artifact: Artifact | None) -> Features:
        """Return their features, those of the router if there is one."""
        spec = FeatureSpec() if artifact is None else artifact.features
        if artifact is None and self.embeddings is not None:
            spec = FeatureSpec(encoder=f"precomputed:{self.embeddings.shape[1]}")
        given = self.embeddings if spec.encoder.startswith("precomputed") else None
        return FeatureExtractor(spec).extract(self.prompts, given)


@click.command(
    "select-prompts",
    epilog="""\b
Examples:
  wattroute select-prompts my-router runs/ --n 200 --out prompts.jsonl
  wattroute select-prompts my-router runs/ --model gemma-3-12b --n 100 --out more.jsonl
  wattroute select-prompts all-prompts.jsonl --n 300 --out prompts.jsonl
""",
)
@click.argument("paths", nargs=-1, required=True, metavar="[DIR] PROMPTS_OR_RUNS...")
@click.option("--n", type=click.IntRange(min=1), default=200, show_default=True, help="How many.")
@click.option(
    "--model",
    metavar="NAME",
    help="Leave out what the runs have graded of this model, and choose what best adds to it.",
)
@click.option(
    "--out",
    metavar="FILE",
    help="JSONL, as `wattroute collect --prompts` reads it, or CSV.  [default: standard output]",
)
@on_bad_option
@seed_option
@json_option
def select_prompts(
    paths: tuple[str, ...],
    n: int,
    model: str | None,
    out: str | None,
    on_bad: str,
    seed: int,
    as_json: bool,
) -> None:
    """Propose the prompts whose grades say most about a model.

    With the folder of a router first, for a model that is to be added to it; without, for a
    router that is to be trained from nothing. Candidates are the prompts of runs, or of JSONL
    files with the field prompt that need no grades. The most informative prompt comes first, and
    every other one is drawn at random, so that the first 100 are also a good choice of 100.
    """
    say = progress_printer()
    if out is not None and Path(out).suffix not in (*_TEXT_SUFFIXES, ".csv"):
        raise ConfigError(f"--out {out}: the name must end in .jsonl, .ndjson or .csv")
    artifact, files = _router(paths)
    if not files:
        raise ConfigError("give files of prompts or runs to choose from after the router's folder")
    if out is not None:
        check_output("--out", out, files)
    candidates = _load(files, model, on_bad, say)
    say(f"features of {len(candidates.prompts):,} prompts")
    found = choose_prompts(
        candidates.features(artifact),
        n,
        artifact=artifact,
        groups=candidates.groups,
        graded=candidates.graded,
        seed=seed,
    )
    rows = [candidates.rows[i] for i in found.index.tolist()]
    if out is not None:
        with replacing(out) as part, part.open("w", encoding="utf-8", newline="") as file:
            _write(rows, file, as_csv=out.endswith(".csv"))
        say(f"{n:,} prompts written to {out}")
    left = {str(m): round(float(found.uncertainty[m - 1]), 4) for m in _milestones(n)}
    if as_json:
        chosen = [{key: row[key] for key in ("prompt_id", "task") if key in row} for row in rows]
        summary = {"out": out, "n": n, "n_candidates": len(candidates.prompts)}
        click.echo(json.dumps({**summary, "uncertainty_left": left, "prompts": chosen}, indent=1))
        return
    if out is None:
        _write(rows, sys.stdout, as_csv=False)
    shares = ", ".join(f"{value:.0%} with {m}" for m, value in left.items())
    say(f"uncertainty left of what is expected of {'the' if model else 'a'} model: {shares}")


def _milestones(n: int) -> list[int]:
    return sorted({min(m, n) for m in (50, 100, 200, 300, n)})


def _router(paths: tuple[str, ...]) -> tuple[Artifact | None, tuple[str, ...]]:
    """Return the router, if the first path is one, and the other paths."""
    folder = router_folder(paths[0])
    if not (folder / MANIFEST_FILE).is_file():
        return None, paths
    return Router.load(paths[0]).artifact, paths[1:]


def _load(
    files: tuple[str, ...], model: str | None, on_bad: str, say: Callable[[str], None]
) -> _Candidates:
    bare = [file for file in files if _has_no_grades(Path(file))]
    if bare and len(bare) < len(files):
        graded_file = next(file for file in files if file not in bare)
        raise ConfigError(
            f"{bare[0]} has prompts without grades and {graded_file} is of another kind: give "
            "either prompts or runs"
        )
    if bare:
        if model is not None:
            raise ConfigError("--model needs runs: prompts without grades have none of any model")
        return _of_prompts([prompt for file in files for prompt in read_prompts(file)])
    runs = load_runs(files, on_bad="skip" if on_bad == "skip" else "error")
    say(runs.summary())
    matrix = runs.to_matrix()
    graded = None
    if model is not None:
        graded = (
            ~np.isnan(matrix.columns([model]).quality[:, 0]) if model in matrix.models else None
        )
        close = [] if model in matrix.models else get_close_matches(model, matrix.models, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        n_graded = 0 if graded is None else int(graded.sum())
        say(f"{n_graded:,} prompts are graded for {model!r}{hint}")
    named = zip(matrix.prompt_ids, matrix.tasks, matrix.prompts, strict=True)
    return _Candidates(
        prompts=matrix.prompts,
        rows=tuple(
            {"prompt_id": prompt_id, **({"task": task} if task else {}), "prompt": prompt}
            for prompt_id, task, prompt in named
        ),
        groups=matrix.groups,
        graded=graded,
        embeddings=matrix.embeddings,
    )


def _has_no_grades(path: Path) -> bool:
    """Whether a file has prompts alone: JSONL whose first object has no quality."""
    if path.suffix not in _TEXT_SUFFIXES or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        line = next((line for line in file if line.strip()), "")
    try:
        first = json.loads(line.removeprefix("\ufeff"))
    except ValueError:
        return True  # the reader of prompts says what is wrong
    return isinstance(first, dict) and "quality" not in first


def _of_prompts(prompts: Sequence[SuitePrompt]) -> _Candidates:
    texts = [normalised_text(encode_prompt(prompt.prompt)) for prompt in prompts]
    return _Candidates(
        prompts=tuple(prompt.prompt for prompt in prompts),
        rows=tuple(_row(prompt) for prompt in prompts),
        groups=np.unique(texts, return_inverse=True)[1].astype(np.int64),
    )


def _row(prompt: SuitePrompt) -> dict[str, Any]:
    """Return the row that the prompt was read from, with its id."""
    row = {
        "prompt_id": prompt.prompt_id,
        "task": prompt.task or None,
        "prompt": prompt.prompt,
        "reference": prompt.reference,
        "grader": prompt.grader,
        **prompt.metadata,
    }
    return {key: value for key, value in row.items() if value is not None}


def _write(rows: Sequence[dict[str, Any]], file: IO[str], *, as_csv: bool) -> None:
    if not as_csv:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    for row in rows:
        cells = row | {"prompt": encode_prompt(row["prompt"])}
        table.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in cells.items()})
