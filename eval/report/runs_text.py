"""The description of evaluation runs on a terminal."""

from __future__ import annotations

import textwrap

from router.cli.table import render_table
from router.eval.report.runs_section import runs_summary, share_text, shared_sections
from router.eval.report.sections import Section, Table
from router.eval.runs_description import RunsDescription

__all__ = ["render_runs"]

_MOST_GAPS = 12
_WIDTH = 100


def render_runs(description: RunsDescription) -> str:
    """Return the description as text for a terminal; of the coverage only the gaps."""
    summary = runs_summary(description)
    blocks = [textwrap.fill(". ".join([summary.answer, *summary.paragraphs]) + ".", _WIDTH)]
    for section in (*shared_sections(description), _gaps(description)):
        lines = [section.title]
        lines += [textwrap.fill(paragraph, _WIDTH) for paragraph in section.paragraphs]
        if section.table is not None:
            table = section.table
            lines.append(render_table(table.headers, table.rows, table.align))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _gaps(description: RunsDescription) -> Section:
    """Return the coverage where it is not complete, the largest gaps first, cut to a terminal."""
    gaps = [
        ((1.0 - share) * kind.n_prompts, kind, model, share)
        for kind in description.by_task
        for model, share in zip(description.models, kind.answered, strict=True)
        if share < 1.0
    ]
    if not gaps:
        return Section("Coverage", ("Every model was graded on every prompt.",))
    gaps.sort(key=lambda gap: -gap[0])
    rest = len(gaps) - _MOST_GAPS
    paragraphs = [
        f"{len({id(kind) for _, kind, _, _ in gaps}):,} of {len(description.by_task):,} tasks are "
        "not graded on every model in full; --json and --html have the whole matrix."
    ]
    if rest > 0:
        paragraphs.append(f"The largest gaps, {rest:,} more are left out:")
    return Section(
        "Coverage",
        tuple(paragraphs),
        Table(
            ("task", "prompts", "model", "graded"),
            tuple(
                (kind.label or "(none)", f"{kind.n_prompts:,}", model, share_text(share))
                for _, kind, model, share in gaps[:_MOST_GAPS]
            ),
            "<><>",
        ),
    )
