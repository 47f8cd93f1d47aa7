"""The description of evaluation runs in reports: sections, and a page of its own."""

from __future__ import annotations

import math

from router.eval.intervals import Interval
from router.eval.report.figures import NONE, number
from router.eval.report.html import html_report
from router.eval.report.sections import Card, Section, Summary, Table
from router.eval.runs_description import RunsDescription
from router.eval.runs_description.answers import Coverage, ModelAnswers
from router.eval.runs_description.label_noise import MIN_PROMPTS, NoiseEstimate

__all__ = ["runs_html", "runs_sections", "runs_summary", "share_text", "shared_sections"]

_TITLE = "Evaluation runs"


def runs_sections(description: RunsDescription) -> tuple[Section, ...]:
    """Return the sections of a description of runs.

    Parameters
    ----------
    description : RunsDescription
        What to report.

    Returns
    -------
    tuple of Section
        From what there is to what could be saved; those without anything to say are left out.
    """
    kinds = [("Coverage by task", description.by_task)]
    if len(description.by_source) > 1:
        kinds.append(("Coverage by source", description.by_source))
    return (
        *shared_sections(description),
        *(_coverage(title, description.models, found) for title, found in kinds),
    )


def runs_summary(description: RunsDescription) -> Summary:
    """Return what to say first: what must be mended, if anything, and the main figures."""
    findings = description.findings()
    cards = [
        Card("Prompts", f"{description.n_prompts:,}", f"{description.n_complete:,} complete"),
        Card("Graded answers", f"{description.n_answers:,}", f"{description.n_models} models"),
    ]
    if description.ladder is not None:
        share = f"{description.ladder.none_right:.1%}"
        cards.append(Card("No model right", share, "of complete prompts"))
    if description.headroom is not None:
        bar = description.headroom.bars[-2]
        energies = f"{bar.zero_router.mean:.0%} and {bar.oracle.mean:.0%}"
        note = f"of the reference model's energy at {bar.bar:g} of its quality"
        cards.append(Card("Zero router and oracle", energies, note))
    if findings:
        return Summary("Mend these runs first", "bad", findings, tuple(cards))
    looked_for = "bad rows, contradictory grades or leaks between splits"
    if not description.leaks:
        looked_for = "bad rows or contradictory grades"
    return Summary(f"No {looked_for} were found", "good", (), tuple(cards))


def runs_html(description: RunsDescription) -> str:
    """Return the description as one self-contained HTML page."""
    sections = runs_sections(description)
    return html_report(_TITLE, runs_summary(description), sections, {}, own=None, footer="")


def shared_sections(description: RunsDescription) -> tuple[Section, ...]:
    """Return what pages and terminals show alike."""
    return (
        _what_there_is(description),
        _qualities(description),
        _lengths(description),
        _repeats(description),
        *_leaks(description),
        _noise(description),
        *_ladder(description),
        *_headroom(description),
    )


def _what_there_is(description: RunsDescription) -> Section:
    grading = description.grading
    rows = [
        ("prompts", f"{description.n_prompts:,}"),
        ("models", f"{description.n_models:,}"),
        ("graded answers", f"{description.n_answers:,}"),
        ("prompts graded on every model", f"{description.n_complete:,}"),
    ]
    if grading.files:
        rows = [
            ("files", f"{len(grading.files):,}"),
            ("rows", f"{grading.n_rows:,}"),
            ("rows that repeat an answer", f"{grading.n_repeated:,}"),
            ("rows that cannot be used", f"{grading.n_bad:,}"),
            ("rows with contradictory grades", f"{grading.n_contradictory:,}"),
            *rows,
        ]
    notes = tuple(f"Note: {note}." for note in description.notes())
    examples = tuple(f"Row to mend: {example}" for example in grading.examples)
    return Section(
        "What there is", (*notes, *examples), Table(("what", "count"), tuple(rows), "<>")
    )


def _qualities(description: RunsDescription) -> Section:
    return Section(
        "Qualities",
        (
            "Mean grade of each model with its 95 % interval over the prompts: Wilson's where "
            "every grade is right or wrong, Student's where some lie between. Models are graded "
            "on the prompts they were run on, which may differ.",
        ),
        Table(
            ("model", "answers", "coverage", "mean quality", "95 % interval", "grades"),
            tuple(
                (
                    found.model,
                    f"{found.n:,}",
                    share_text(found.n / description.n_prompts),
                    _three(found.quality.mean),
                    _ends(found.quality),
                    _kind(found),
                )
                for found in description.answers
            ),
            "<>>>><",
        ),
    )


def _lengths(description: RunsDescription) -> Section:
    marked = any(found.truncated is not None for found in description.answers)
    return Section(
        "Tokens",
        (
            "Truncated: answers that are marked as cut off by the limit on tokens; they have no "
            "grade."
            if marked
            else "Nothing marks answers that were cut off by a limit on tokens.",
        ),
        Table(
            (
                "model",
                "prompt median",
                "prompt p90",
                "prompt missing",
                "answer median",
                "answer p90",
                "answer missing",
                "energy measured",
                "truncated",
            ),
            tuple(
                (
                    found.model,
                    number(found.prompt_tokens.median),
                    number(found.prompt_tokens.p90),
                    share_text(found.prompt_tokens.missing),
                    number(found.completion_tokens.median),
                    number(found.completion_tokens.p90),
                    share_text(found.completion_tokens.missing),
                    share_text(found.energy_measured),
                    NONE if found.truncated is None else f"{found.truncated:,}",
                )
                for found in description.answers
            ),
            "<>>>>>>>>",
        ),
    )


def _repeats(description: RunsDescription) -> Section:
    repeats = description.repeats
    total = repeats.n_prompts
    kinds = (
        ("same text as another prompt", repeats.n_same),
        ("nearly the same, with the same numbers", repeats.n_near),
        ("nearly the same but for its numbers", repeats.n_template),
    )
    examples = tuple(f"One prompt, or nearly so: {', '.join(found)}." for found in repeats.examples)
    return Section(
        "Repeated prompts",
        (
            "Nearly the same: at least 80 % of the word triples of both are common. The benchmark "
            "keeps the same text on one side of a split, not what is nearly the same.",
            *examples,
        ),
        Table(
            ("prompts", "count", "share"),
            (
                *((name, f"{count:,}", f"{count / total:.1%}") for name, count in kinds),
                ("largest family of nearly equal ones", f"{repeats.largest_family:,}", ""),
            ),
            "<>>",
        ),
    )


def _leaks(description: RunsDescription) -> tuple[Section, ...]:
    if not description.leaks:
        return ()
    return (
        Section(
            "Leakage between splits",
            ("Prompts of the second split that are in the first one too.",),
            Table(
                ("first", "second", "prompts", "same", "nearly same", "but for numbers", "such as"),
                tuple(
                    (
                        leak.first,
                        leak.second,
                        f"{leak.n_first:,} and {leak.n_second:,}",
                        f"{leak.n_same:,}",
                        f"{leak.n_near:,}",
                        f"{leak.n_template:,}",
                        ", ".join(leak.examples),
                    )
                    for leak in description.leaks
                ),
                "<<>>>><",
            ),
        ),
    )


def _noise(description: RunsDescription) -> Section:
    noise = description.noise
    rows = (
        ("same text under several ids", noise.repeated, noise.n_prompts),
        ("upper bound: nearly the same text", noise.near, noise.n_near_prompts),
    )
    return Section(
        "Label noise",
        (
            "How far grades go with chance, which no router can predict: the mean square of "
            "repeated grades of one model around their prompt's mean (Shrout and Fleiss 1979). It "
            "counts new answers as well as the grader's mistakes. Flip rate: the share of grades "
            "that differ from their prompt's usual one, where all are right or wrong. Of grades "
            "that contradict each other nothing is used, because rows that agree may be copies.",
        ),
        Table(
            ("from", "prompts", "variance", "95 % interval", "flip rate", "unexplained"),
            tuple((name, f"{count:,}", *_noise_cells(found)) for name, found, count in rows),
            "<>>>>>",
        ),
    )


def _noise_cells(found: NoiseEstimate | None) -> tuple[str, ...]:
    if found is None:
        return (f"not estimated below {MIN_PROMPTS}", NONE, NONE, NONE)
    flips = NONE
    if not math.isnan(found.flip_rate):
        flips = f"{found.flip_rate:.1%} ({found.flip_low:.1%} to {found.flip_high:.1%})"
    ends = f"{found.low:.4f} to {found.high:.4f}"
    return f"{found.variance:.4f}", ends, flips, share_text(found.unexplained)


def _ladder(description: RunsDescription) -> tuple[Section, ...]:
    found = description.ladder
    if found is None:
        return (Section("Ladder and headroom", (f"Not known: {description.without_energy}.",)),)
    return (
        Section(
            "Ladder: the smallest right model",
            (
                f"Of {found.n_prompts:,} prompts that every model of the pool was graded on. Right "
                "is a quality of at least one half; smallest is the least energy for that prompt. "
                f"No model is right on {found.none_right:.1%}, every model on "
                f"{found.all_right:.1%}.",
            ),
            Table(
                ("model", "mean J", "right", "smallest right", "alone right"),
                tuple(
                    (
                        rung.model,
                        number(rung.mean_energy_j),
                        f"{rung.right:.1%}",
                        f"{rung.least_energy_right:.1%}",
                        f"{rung.only_right:.1%}",
                    )
                    for rung in found.rungs
                ),
                "<>>>>",
            ),
        ),
    )


def _headroom(description: RunsDescription) -> tuple[Section, ...]:
    found = description.headroom
    if found is None:
        if description.ladder is None:
            return ()
        return (Section("Headroom", (f"Not known: {description.without_energy}.",)),)
    ratio = found.oracle_ratio
    oracle = f"{_three(ratio.mean)} ({_ends(ratio)})"
    return (
        Section(
            "Headroom",
            (
                f"Energy at equal quality in per cent of that of {found.reference}, the reference "
                f"model, on the test parts of {len(found.seeds)} splits. The zero router mixes "
                "fixed models at random; the oracle knows every answer beforehand, in part luck "
                f"that no router has. Oracle over zero router: log_energy_ratio {oracle}.",
            ),
            Table(
                ("quality bar", "zero router %", "95 % interval", "oracle %", "95 % interval"),
                tuple(
                    (
                        f"{bar.bar:.2f}",
                        f"{100 * bar.zero_router.mean:.1f}",
                        _percents(bar.zero_router),
                        f"{100 * bar.oracle.mean:.1f}",
                        _percents(bar.oracle),
                    )
                    for bar in found.bars
                ),
                ">>>>>",
            ),
        ),
    )


def _coverage(title: str, models: tuple[str, ...], kinds: tuple[Coverage, ...]) -> Section:
    return Section(
        title,
        ("Share of the prompts that each model was graded on.",),
        Table(
            (title.removeprefix("Coverage by "), "prompts", *models),
            tuple(
                (
                    kind.label or "(none)",
                    f"{kind.n_prompts:,}",
                    *(share_text(share) for share in kind.answered),
                )
                for kind in kinds
            ),
            "<>" + ">" * len(models),
        ),
    )


def _kind(found: ModelAnswers) -> str:
    return f"graded, {found.between:.0%} between" if found.kind == "graded" else found.kind


def _ends(interval: Interval) -> str:
    return NONE if math.isnan(interval.low) else f"{interval.low:.3f} to {interval.high:.3f}"


def _percents(interval: Interval) -> str:
    low, high = 100 * interval.low, 100 * interval.high
    return NONE if math.isnan(low) else f"{low:.1f} to {high:.1f}"


def _three(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.3f}"


def share_text(value: float) -> str:
    """Return a share in per cent that is 0 or 100 only where it is exactly so."""
    if math.isnan(value):
        return NONE
    text = f"{value:.0%}"
    if text == "100%" and value < 1.0:
        return ">99%"
    return "<1%" if text == "0%" and value > 0.0 else text
