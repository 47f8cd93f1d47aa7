"""Sections that describe: the router's own cost, the models, the data, the method."""

from __future__ import annotations

from router.eval.baselines.fixed import ORACLE
from router.eval.protocol import QUALITY_BARS
from router.eval.report.figures import NONE, number, plain
from router.eval.report.predictions import CALIBRATION_FIGURES
from router.eval.report.sections import Section, Table
from router.eval.result import HEADLINE, BenchmarkResult

__all__ = ["cost_section", "data_section", "method_section", "models_section"]

_PROTOCOL_FIGURES = frozenset(
    {
        HEADLINE,
        *(f"energy_at_{bar:.2f}" for bar in QUALITY_BARS),
        "peak_quality",
        *CALIBRATION_FIGURES,
        "length_error",
    }
)


def cost_section(result: BenchmarkResult) -> Section:
    """Return what the router itself takes."""
    rows = [
        (name, plain(result.router.interval(name)))
        for name in result.router.per_seed
        if name not in _PROTOCOL_FIGURES
    ]
    rows.append(("peak_rss_mb", number(result.peak_rss_mb)))
    return Section(
        "Cost of the router itself",
        (
            "train_s: seconds to train. decision_us: microseconds of one decision on one "
            "thread, median and 99th percentile. artifact_mb: size of the stored router. "
            "peak_rss_mb: most memory that the whole benchmark held.",
        ),
        Table(("figure", "mean and 95 % interval"), tuple(rows), "<>"),
    )


def models_section(result: BenchmarkResult) -> Section:
    """Return the pool."""
    return Section(
        "Models",
        ("Means over all prompts of the pool. Energy is that of one request.",),
        Table(
            (
                "model",
                "mean quality",
                "mean energy J",
                "J per prompt token",
                "J per completion token",
                "basis",
                "energy measured",
                "length unknown",
                "reference",
            ),
            tuple(
                (
                    model.name,
                    f"{model.mean_quality:.3f}",
                    number(model.mean_energy_j),
                    number(model.joules_per_prompt_token),
                    number(model.joules_per_completion_token),
                    model.basis,
                    f"{model.measured_share:.0%}",
                    f"{model.unknown_length_share:.0%}",
                    f"{model.n_reference} of {len(result.seeds)}",
                )
                for model in result.models
            ),
            "<>>>><>>>",
        ),
    )


def data_section(result: BenchmarkResult, parts: tuple[Section, ...] = ()) -> Section:
    """Return what the benchmark ran on, with further sections about it."""
    data = result.data
    return Section(
        "Data",
        (),
        Table(
            ("what", "value"),
            (
                ("evaluation runs", ", ".join(data.runs) or NONE),
                ("prompts graded on every model of the pool", f"{data.n_prompts:,}"),
                ("prompts left out because a grade is missing", f"{data.n_left_out:,}"),
                ("distinct texts", f"{data.n_groups:,}"),
                ("tasks", f"{data.n_tasks:,}"),
                ("training prompts in a split", f"{data.n_train:,}"),
                ("test prompts in a split", f"{data.n_test:,}"),
                ("models outside the pool", f"{data.n_extra_models:,}"),
                ("seeds", ", ".join(map(str, result.seeds))),
            ),
            "<>",
        ),
        parts=parts,
    )


def method_section(result: BenchmarkResult) -> Section:
    """Return how it was measured, and what the figures do not say."""
    assumed = [model.name for model in result.models if model.unknown_length_share > 0]
    limits = (
        f"Unknown answer lengths were replaced by an assumed or typical one for "
        f"{', '.join(assumed)}: their energy rests on it."
        if assumed
        else "All answer lengths are known."
    )
    return Section(
        "Method and limits",
        (
            "Split: distinct texts are shuffled by the seed, 70 % of the prompts train and the "
            "rest test; the same text is never on both sides. Everything learned or chosen uses "
            "the training part alone.",
            "Energy: measured where the runs have it, else prompt and completion tokens times "
            f"the model's joules per token. {limits}",
            "Reference model: the best mean quality on the training part. Frontier: the dial is "
            "swept from the cheapest setting to the best quality; settings may be mixed at "
            "random, and always taking the reference model is one more setting of every method. "
            "A bar that is never reached costs twice the reference model's energy.",
            "Zero router: the models on the upper hull of the training means, mixed at random. "
            "The task baselines are told the true task of every prompt, which no router is. "
            f"The {ORACLE} knows every answer's quality and energy beforehand: a bound that in "
            "part is luck.",
            *(
                (
                    "What is served: the setting that training found for a bar, without the guard "
                    "that sends prompts unlike those of training to a fixed model. Frontiers may "
                    "mix settings with the test prompts in view, so that they are a little better "
                    "than what is served.",
                )
                if result.served is not None
                else ()
            ),
            "Intervals are Student's t over the seeds. Seeds share prompts, so an interval says "
            "how far a figure depends on the split; how it changes with other traffic, other "
            "graders or other joules per token it does not say.",
        ),
    )
