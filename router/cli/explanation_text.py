"""An explanation on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.cli.table import render_table

if TYPE_CHECKING:
    from router.explanation import Evidence, Explanation, NearestPrompt

__all__ = ["render_explanation"]


def render_explanation(found: Explanation, *, texts: bool = True) -> str:
    """Return an explanation as text for a terminal.

    Parameters
    ----------
    found : Explanation
        What to show.
    texts : bool
        Whether the nearest prompts are shown by the beginning of their text.
    """
    decision = found.decision
    blocks = [f"{decision.model}: {decision.reason}\n{_terms(found)}", _candidates(found)]
    if found.evidence is not None:
        blocks.append(_evidence(found.evidence, found.priced))
    blocks.append(_bars(found))
    blocks.append(_nearest(found.nearest, texts))
    return "\n\n".join(blocks)


def _terms(found: Explanation) -> str:
    """Return the bar with its price, the promise and the novelty, a line each."""
    decision = found.decision
    bar = f"Quality bar: {decision.quality:g} of the reference model, {decision.reference}"
    if decision.price is not None and decision.shrinkage is not None:
        bar += (
            f"; one joule must buy {decision.price:.3g} quality, and expectations are moved "
            f"{decision.shrinkage:.0%} of the way to the pool's means"
        )
    lines = [f"{bar}."]
    if decision.certificate is not None:
        lines.append(f"Promise: {decision.certificate.reason}.")
    if decision.floor_certificate is not None:
        lines.append(f"Floor: {decision.floor_certificate.reason}.")
    if decision.novelty is not None and found.novelty_level is not None:
        unlike = decision.novelty >= found.novelty_level
        lines.append(
            f"Novelty: {decision.novelty:.1%} of prompts like those of training are less unlike "
            f"them; from {found.novelty_level:.1%} on a fixed model serves"
            f"{', as here' if unlike else ''}."
        )
    return "\n".join(lines)


def _candidates(found: Explanation) -> str:
    rows = []
    for worth in sorted(found.candidates, key=lambda c: c.candidate.energy_j.value_j):
        candidate = worth.candidate
        rows.append(
            (
                "*" if candidate.chosen else "",
                candidate.model,
                f"{candidate.probability:.3f}",
                f"{worth.quality:.3f}",
                f"{candidate.energy_j.value_j:,.3g}",
                f"{candidate.completion_tokens:,.0f}",
                "-" if worth.utility is None else f"{worth.utility:.4f}",
                candidate.reason,
            )
        )
    headers = ("", "model", "P(good)", "quality", "J", "tokens", "worth", "why")
    note = "Worth: expected quality less energy at the price of the bar; the greatest is chosen"
    worths = [worth.utility for worth in found.candidates if worth.utility is not None]
    chosen = next(worth for worth in found.candidates if worth.candidate.chosen)
    if chosen.utility is not None and chosen.utility < max(worths):
        note += " of\nthe models that may be"
    note += "."
    if not found.priced:
        note = "No energy price decides here: a fixed model serves, whatever the prompt."
    return f"{note}\n{render_table(headers, rows, '<<>>>>><')}"


def _evidence(evidence: Evidence, priced: bool) -> str:
    what = "worth" if priced else "expected quality"
    rows = [
        (
            view.view,
            f"{view.contribution:+.4f}",
            ", ".join(f"{detail.name} {detail.contribution:+.4f}" for detail in view.details),
        )
        for view in evidence.views
    ]
    rows = [
        ("an average training prompt", f"{evidence.start:+.4f}", ""),
        *rows,
        ("this prompt", f"{evidence.lead:+.4f}", ""),
    ]
    return (
        f"Where the lead of {evidence.chosen} over {evidence.other} in {what} comes from. The rows "
        "add up to\nthe last one (integrated gradients); details are the largest parts of a row.\n"
        f"{render_table(('', 'lead', 'details'), rows, '<><')}"
    )


def _bars(found: Explanation) -> str:
    rows = [(bars.model, str(bars)) for bars in found.bars]
    return (
        f"Chosen for this prompt at bars from {found.bar_step:g} to 1 in steps of "
        f"{found.bar_step:g}, all else being equal:\n{render_table(('model', 'bars'), rows)}"
    )


def _nearest(nearest: tuple[NearestPrompt, ...], texts: bool) -> str:
    if not nearest:
        return (
            "Nearest training prompts: this router remembers none; give evaluation runs with "
            "--runs, or\n--default-runs for the bundled router."
        )
    texts = texts and any(found.excerpt for found in nearest)
    models = list(dict.fromkeys(model for found in nearest for model in found.quality))
    trained = {True: "yes", False: "no", None: "?"}
    rows = [
        (
            f"{found.distance:.3f}",
            trained[found.trained_on],
            *(f"{found.quality[m]:.2f}" if m in found.quality else "-" for m in models),
            found.task,
            found.excerpt if texts else found.text_hash,
        )
        for found in nearest
    ]
    headers = ("distance", "trained on", *models, "task", "prompt" if texts else "hash")
    table = render_table(headers, rows, ">>" + ">" * len(models) + "<<")
    return f"Nearest graded prompts, with what each model scored:\n{table}"
