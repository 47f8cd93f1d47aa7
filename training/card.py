"""The model card of a stored router."""

from __future__ import annotations

from math import isfinite

from router.artifact import Artifact
from router.eval.result import HEADLINE, BenchmarkResult
from router.training.promise import promise_section

__all__ = ["model_card", "with_promise"]

_BARS = ("0.90", "0.95", "0.98", "1.00")


def model_card(
    artifact: Artifact, *, name: str, data: str, command: str, result: BenchmarkResult | None
) -> str:
    """Write the card: what it is, what it was trained on, how well it does, what it cannot do.

    Parameters
    ----------
    artifact : Artifact
        The router.
    name : str
        Its name.
    data : str
        Where the evaluation runs come from.
    command : str
        The command that trains it.
    result : BenchmarkResult or None
        Figures on held-out splits.

    Returns
    -------
    str
        Markdown.
    """
    lineage = artifact.lineage
    reference = artifact.pool.models[artifact.reference].api_id
    lines = [
        f"# Router: {name}",
        "",
        "Chooses, before each call, the model of its pool that spends the least energy while "
        "traffic keeps a stated share of the reference model's mean quality.",
        "",
        "## Pool",
        "",
        "| model | name in the runs | J per completion token | J per prompt token | basis | "
        "mean quality |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for j, model in enumerate(artifact.pool.models):
        mark = " (reference)" if j == artifact.reference else ""
        length = "; length assumed" if artifact.assumed_tokens[j] else ""
        lines.append(
            f"| {model.api_id}{mark} | {model.name} | {model.joules_per_completion_token:g} | "
            f"{model.joules_per_prompt_token:g} | {model.basis_text}{length} | "
            f"{artifact.dial.means.quality[j]:.3f} |"
        )
    lines += [
        "",
        "Joules are GPU joules, H100 80 GB at 64 requests decoded together; ratios between "
        "models are better known than absolute figures.",
        "",
        "## Training data",
        "",
        f"{data} {lineage['n_prompts']:,} prompts, {lineage['n_answers']:,} graded answers, "
        f"{len(lineage['extra_models'])} models outside the pool as extra targets. "
        f"Digest `{lineage['data_digest']}`, seed {lineage['seed']}.",
        "",
        "```",
        command,
        "```",
        "",
        "## Figures",
        "",
        *_figures(result, reference),
        "",
        *promise_section(artifact.calibration, reference),
        *_forecast(artifact),
        "## Limits",
        "",
        "- The bar is a property of traffic like the training prompts, in the mean; single "
        "prompts can go wrong, and other kinds of prompts may keep less.",
        "- What is not certified is served by the reference model unless the caller asks for the "
        "estimate, which rests on cross-fitted predictions.",
        *_novel(artifact),
        *_assumed(artifact),
        "",
    ]
    return "\n".join(lines)


def _novel(artifact: Artifact) -> list[str]:
    """Say what becomes of prompts unlike those of training."""
    if artifact.guard is None:
        return []
    return [
        f"- Prompts unlike those of training are noticed, with {artifact.guard.false_alarms:.1%} "
        "false alarms. They are outside every promise and go to one model for each bar, the "
        "reference model where no other is trusted to keep it on new kinds of tasks."
    ]


def with_promise(card: str, artifact: Artifact) -> str:
    """Return a card with the section on promises written anew.

    Parameters
    ----------
    card : str
        Card of a stored router.
    artifact : Artifact
        The same router, calibrated again.

    Returns
    -------
    str
        The card; the section is added at the end where there was none.
    """
    reference = artifact.pool.models[artifact.reference].api_id
    section = "\n".join(promise_section(artifact.calibration, reference))
    before, heading, rest = card.partition("## Promise\n")
    if not heading:
        return f"{card.rstrip()}\n\n{section}"
    _, next_heading, after = rest.partition("\n## ")
    return f"{before}{section}{next_heading}{after}"


def _figures(result: BenchmarkResult | None, reference: str) -> list[str]:
    if result is None:
        return ["No figures: it was trained without held-out prompts."]
    router = result.router
    lines = [
        result.verdict(),
        "",
        f"Held-out prompts, splits: {len(result.seeds)}, each {result.data.n_train:,} training and "
        f"{result.data.n_test:,} test prompts; mean, and 95 % interval over the splits.",
        "",
        "| figure | value |",
        "| --- | --- |",
    ]
    rows = [
        (HEADLINE, "log_energy_ratio to the zero router"),
        *((f"energy_at_{bar}", f"energy at bar {bar}, relative to {reference}") for bar in _BARS),
        ("peak_quality", f"best quality on the frontier, relative to {reference}"),
        ("auc", "auc"),
        ("brier", "brier"),
        ("ece", "ece"),
        ("ece_floor", "ece of perfect probabilities at this sample size"),
        ("length_error", "length_error (median absolute log ratio)"),
    ]
    for key, label in rows:
        interval = router.interval(key)
        if isfinite(interval.mean):
            known = isfinite(interval.low)
            ends = f" [{interval.low:.3f}, {interval.high:.3f}]" if known else ""
            lines.append(f"| {label} | {interval.mean:.3f}{ends} |")
    return lines


def _forecast(artifact: Artifact) -> list[str]:
    found = artifact.lineage.get("forecast")
    return [] if found is None else ["## More prompts", "", found["advice"], ""]


def _assumed(artifact: Artifact) -> list[str]:
    names = [
        model.api_id
        for model, assumed in zip(artifact.pool.models, artifact.assumed_tokens, strict=True)
        if assumed
    ]
    if not names:
        return []
    return [
        f"- The runs do not have the answer lengths of {', '.join(names)}: energy there rests on "
        "an assumed mean length, and every decision says so."
    ]
