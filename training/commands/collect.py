"""``wattroute collect``: from prompts and models to evaluation runs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from router.cli import INTERRUPTED
from router.cli.options import FiniteRange
from router.errors import ConfigError
from router.eval.collect.adaptive import AdaptiveSettings
from router.eval.collect.job import CollectJob, KeyLimits, run_collect
from router.eval.collect.model_options import by_model
from router.eval.collect.settings import AskSettings
from router.eval.collect.store import stored_source
from router.eval.suites import ANSWER_FORMAT, SuitePrompt, load_suite, read_prompts
from router.training.commands.options import json_option, seed_option

__all__ = ["collect"]

_OXLO_URL = "https://api.oxlo.ai/v1"
_OXLO_KEY = "OXLO_API_KEY"
_OXLO_HOST = "oxlo.ai"


@dataclass(frozen=True, slots=True)
class _Prompts:
    prompts: tuple[SuitePrompt, ...]
    source: str
    system: str | None


@click.command(
    epilog="""\b
Options marked * take VALUE for all models or NAME=VALUE for one, and may be repeated.

\b
Examples:
  wattroute collect --models gemma-3-27b,llama-3.3-70b --prompts prompts.jsonl \\
      --grader number:relative=0.01 --plan pro --out runs/
  wattroute collect --models small,large --base-url http://127.0.0.1:8080/v1 \\
      --suite reasoning_gym:chain_sum+leg_counting:size=30 --out runs/ --yes
  wattroute collect --regrade --grader judge:model=llama-3.3-70b --gold text --out runs/
"""
)
@click.option("--models", metavar="NAME,...", help="Models to ask, by their names in the runs.")
@click.option("--prompts", "prompts_file", metavar="FILE.jsonl", help="Prompts, one a line.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME:...",
    help="reasoning_gym:TASK+TASK:size=50,seed=42, or jsonl:FILE; may be repeated.",
)
@click.option("--grader", metavar="NAME", help="exact, text, number, choice, regex, code, judge...")
@click.option("--gold", metavar="NAME", help="Measure how far --grader agrees with this one.")
@click.option("--out", required=True, metavar="DIR", help="Folder for the runs.")
@click.option("--base-url", multiple=True, metavar="URL", help=f"* API.  [default: {_OXLO_URL}]")
@click.option("--key-env", multiple=True, metavar="VAR", help=f"* Key.  [default: {_OXLO_KEY}]")
@click.option("--api-id", multiple=True, metavar="NAME=ID", help="Id of a model in the API.")
@click.option("--max-tokens", multiple=True, metavar="N", help="* Longest answer.  [default: 2048]")
@click.option("--temperature", multiple=True, metavar="T", help="* [default: 0]")
@click.option("--top-p", multiple=True, metavar="P", help="* [default: 1]")
@click.option("--sampling-seed", multiple=True, metavar="N", help="* Or 'none'.  [default: 0]")
@click.option(
    "--repeat-penalty",
    multiple=True,
    metavar="P",
    help="* Or 'none' to send none.  [default: 1 at oxlo.ai, whose own is 1.1; else none]",
)
@click.option("--body", multiple=True, metavar="JSON", help="* More fields of requests.")
@click.option("--system", metavar="TEXT", help="System message that runs do not hold.")
@click.option("--concurrency", multiple=True, metavar="N", help="* At a time.  [default: 4]")
@click.option("--model-rpm", multiple=True, metavar="N", help="* Requests a minute of a model.")
@click.option("--plan", metavar="NAME", help="Oxlo plan whose limits hold: free, pro, premium.")
@click.option("--rpm", type=click.IntRange(min=1), help="Requests a minute of a key.")
@click.option("--rpd", type=click.IntRange(min=1), help="Requests a day of a key.")
@click.option(
    "--timeout", "timeout_s", type=FiniteRange(min=0.1), default=600.0, show_default=True,
    help="Seconds for one request.",
)  # fmt: skip
@click.option("--max-requests", type=click.IntRange(min=0), help="Budget of the whole folder.")
@click.option("--max-energy", type=FiniteRange(min=0), metavar="JOULES", help="The same in J.")
@click.option("--pool", "pool_file", metavar="POOL.toml", help="Joules per token of the models.")
@click.option("--anchors", type=click.IntRange(min=1), help="Ask only so many of the prompts.")
@click.option("--adaptive", is_flag=True, help="Leave out what smaller models' answers tell.")
@click.option("--error-budget", default=0.1, show_default=True, help="Of --adaptive: wrongly told.")
@click.option("--audit", default=0.1, show_default=True, help="Of --adaptive: share always asked.")
@click.option("--measure-energy", is_flag=True, help="Meter this machine, a request at a time.")
@click.option("--regrade", is_flag=True, help="Ask nothing; grade what is stored again.")
@click.option("--grade-truncated", is_flag=True, help="Grade answers that were cut off.")
@click.option("--accept-changes", is_flag=True, help="Go on with prompts that changed.")
@click.option("--estimate", is_flag=True, help="Say what it will take, and stop.")
@click.option("--yes", is_flag=True, help="Begin without asking.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl",
    show_default=True, help="Of the runs.",
)  # fmt: skip
@seed_option
@json_option
def collect(
    models: str | None,
    prompts_file: str | None,
    suites: tuple[str, ...],
    grader: str | None,
    gold: str | None,
    out: str,
    base_url: tuple[str, ...],
    key_env: tuple[str, ...],
    system: str | None,
    plan: str | None,
    rpm: int | None,
    rpd: int | None,
    timeout_s: float,
    max_requests: int | None,
    max_energy: float | None,
    pool_file: str | None,
    anchors: int | None,
    adaptive: bool,
    error_budget: float,
    audit: float,
    measure_energy: bool,
    regrade: bool,
    grade_truncated: bool,
    accept_changes: bool,
    estimate: bool,
    yes: bool,
    form: Literal["jsonl", "parquet"],
    seed: int,
    as_json: bool,
    **sampling: tuple[str, ...],
) -> None:
    """Ask models prompts, grade the answers and write evaluation runs.

    Every finished answer is stored at once in DIR/collect. Stopped at any moment, even by kill
    -9, the same command goes on where it was; only requests that were on their way are repeated.
    The exit code is 1 if an answer is missing in the end.
    """
    names = _model_names(models, regrade)
    chosen = _load_prompts(prompts_file, suites, regrade, Path(out), anchors, seed)
    judges = _judge_names(grader)
    every = (*names, *(name for name in judges if name not in names))
    settings = _settings(every, base_url, system or chosen.system, judges, names, sampling)
    key_envs = by_model("--key-env", key_env, every, str, _OXLO_KEY) if every else {}
    job = CollectJob(
        out=Path(out),
        prompts=chosen.prompts,
        source=chosen.source,
        models={name: settings[name] for name in names},
        key_envs=key_envs,
        grader=grader,
        gold=gold,
        judges={name: settings[f"judge {name}"] for name in judges},
        limits=KeyLimits.of(plan, rpm, rpd),
        timeout_s=timeout_s,
        max_requests=max_requests,
        max_energy_j=max_energy,
        pool_file=pool_file,
        adaptive=AdaptiveSettings(error_budget, audit) if adaptive else None,
        measure_energy=measure_energy,
        regrade=regrade,
        grade_truncated=grade_truncated,
        accept_changes=accept_changes,
        estimate_only=estimate,
        form=form,
        seed=seed,
    )
    try:
        result = run_collect(job, lambda text: _confirmed(text, yes))
    except KeyboardInterrupt:
        click.echo("stopped: answers are stored; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
    click.echo(json.dumps(result.to_dict(), indent=1) if as_json else str(result))
    sys.exit(int(not result.complete))


def _model_names(models: str | None, regrade: bool) -> tuple[str, ...]:
    if regrade:
        if models is not None:
            raise ConfigError("--regrade asks no model: leave --models out")
        return ()
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    if not names:
        raise ConfigError("--models names no model: give --models NAME,NAME")
    if len(set(names)) < len(names):
        raise ConfigError(f"--models {models} names a model twice")
    return tuple(names)


def _load_prompts(
    prompts_file: str | None,
    suites: tuple[str, ...],
    regrade: bool,
    out: Path,
    anchors: int | None,
    seed: int,
) -> _Prompts:
    stored = out / "collect" / "prompts.jsonl"
    if prompts_file is not None and suites:
        raise ConfigError("give either --prompts or --suite")
    if regrade and suites:
        raise ConfigError("--regrade takes the stored prompts of a suite: leave --suite out")
    system = None
    if prompts_file is not None:
        prompts, source = read_prompts(prompts_file), _source(prompts_file, anchors, seed)
    elif regrade:
        if not stored.exists():
            raise ConfigError(f"{stored} is not there: {out} holds no collection")
        return _Prompts(read_prompts(stored), "", None)
    elif not suites:
        raise ConfigError("give --prompts FILE.jsonl or --suite NAME")
    else:
        made = [suite.startswith("reasoning_gym:") for suite in suites]
        system = ANSWER_FORMAT if any(made) else None
        text = f"{' and '.join(suites)}{_version() if any(made) else ''}"
        source = _source(text, anchors, seed)
        if all(made) and stored_source(out) == source:
            # some tasks make other prompts in each process
            return _Prompts(read_prompts(stored), source, system)
        found = {prompt.prompt_id: prompt for suite in suites for prompt in load_suite(suite)}
        prompts = tuple(found.values())
    if anchors is not None and anchors < len(prompts):
        prompts = _anchors(prompts, anchors, seed)
    return _Prompts(prompts, source, system)


def _source(source: str, anchors: int | None, seed: int) -> str:
    return source if anchors is None else f"{source}, {anchors} anchors with seed {seed}"


def _version() -> str:
    from importlib import metadata

    try:
        return f" of reasoning-gym {metadata.version('reasoning-gym')}"
    except metadata.PackageNotFoundError:
        return ""


def _anchors(prompts: tuple[SuitePrompt, ...], n: int, seed: int) -> tuple[SuitePrompt, ...]:
    from router.features import FeatureExtractor
    from router.training.select_prompts import select_prompts

    features = FeatureExtractor().extract([prompt.prompt for prompt in prompts])
    chosen = select_prompts(features, n, seed=seed).index
    return tuple(prompts[i] for i in sorted(chosen.tolist()))


def _judge_names(grader: str | None) -> tuple[str, ...]:
    name, _, rest = (grader or "").partition(":")
    if name not in ("judge", "pairwise"):
        return ()
    found = [part.partition("=")[2] for part in rest.split(",") if part.startswith("model=")]
    if len(found) != 1 or not found[0]:
        raise ConfigError(f"--grader {grader}: name the judge, as in {name}:model=llama-3.3-70b")
    return (found[0],)


def _settings(
    names: tuple[str, ...],
    base_url: tuple[str, ...],
    system: str | None,
    judges: tuple[str, ...],
    asked: tuple[str, ...],
    sampling: dict[str, tuple[str, ...]],
) -> dict[str, AskSettings]:
    """Return how each model is asked, and judges under ``judge NAME``."""
    ids = sampling["api_id"]
    if bare := [text for text in ids if "=" not in text]:
        raise ConfigError(f"--api-id {bare[0]}: write NAME=ID")
    columns: dict[str, dict[str, Any]] = {
        "api_id": by_model("--api-id", ids, names, str, ""),
        "base_url": by_model("--base-url", base_url, names, str, _OXLO_URL),
        "max_tokens": by_model("--max-tokens", sampling["max_tokens"], names, int, 2048),
        "temperature": by_model("--temperature", sampling["temperature"], names, float, 0.0),
        "top_p": by_model("--top-p", sampling["top_p"], names, float, 1.0),
        "seed": by_model("--sampling-seed", sampling["sampling_seed"], names, _whole, 0),
        "repeat_penalty": by_model(
            "--repeat-penalty", sampling["repeat_penalty"], names, _penalty, -1.0
        ),
        "extra": by_model("--body", sampling["body"], names, _object, {}),
        "concurrency": by_model("--concurrency", sampling["concurrency"], names, int, 4),
        "requests_per_minute": by_model("--model-rpm", sampling["model_rpm"], names, _whole, None),
    }
    found: dict[str, AskSettings] = {}
    for name in names:
        row = {key: values[name] for key, values in columns.items()}
        row["api_id"] = row["api_id"] or name
        if row["repeat_penalty"] == -1.0:
            row["repeat_penalty"] = 1.0 if _OXLO_HOST in row["base_url"] else None
        if name in asked:
            found[name] = AskSettings(model=name, system=system, **row)
        if name in judges:
            found[f"judge {name}"] = AskSettings(model=name, **row)
    return found


def _whole(text: str) -> int | None:
    return None if text == "none" else int(text)


def _penalty(text: str) -> float | None:
    penalty = None if text == "none" else float(text)
    if penalty is not None and not penalty >= 0:
        raise ValueError(text)
    return penalty


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    return found


def _confirmed(text: str, yes: bool) -> bool:
    """Show the estimate and ask whether to begin."""
    click.echo(text, err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("standard input is no terminal to confirm on: add --yes to begin")
    return click.confirm("Begin?", err=True)
