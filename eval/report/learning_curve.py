"""A learning curve in reports: sections, a report of its own, and text for a terminal."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from router.cli.table import render_table
from router.eval.learning_curve import MARGIN, CurvePoint, LearningCurve
from router.eval.protocol import QUALITY_BARS
from router.eval.report.figure_html import curve_figure
from router.eval.report.figures import NONE, signed, span
from router.eval.report.html import html_report
from router.eval.report.markdown import markdown_report
from router.eval.report.sections import Section, Summary, Table
from router.eval.result import HEADLINE
from router.eval.served import SERVED, SERVED_DIFFERENCE, ZERO_SERVED

__all__ = ["CURVE_PLOT", "curve_sections", "render_curve", "write_curve_report"]

CURVE_PLOT = "learning curve"
"""Name of the plot."""

_WIDTH = 100


def curve_sections(curve: LearningCurve) -> tuple[Section, ...]:
    """Return the sections of a learning curve.

    Parameters
    ----------
    curve : LearningCurve
        What to report.

    Returns
    -------
    tuple of Section
        The ratios to the zero router, then what is served at each bar.
    """
    return _ratios(curve), _served(curve)


def render_curve(curve: LearningCurve) -> str:
    """Return the verdict and the tables as text for a terminal."""
    blocks = [textwrap.fill(curve.verdict(), _WIDTH)]
    for section in curve_sections(curve):
        assert section.table is not None
        table = section.table
        lines = render_table(table.headers, table.rows, table.align)
        blocks.append(f"{section.title}\n{lines}")
    return "\n\n".join(blocks) + "\n"


def write_curve_report(curve: LearningCurve, folder: str | Path) -> None:
    """Write report.html, report.md and report.json of a learning curve alone.

    Parameters
    ----------
    curve : LearningCurve
        What to report.
    folder : str or Path
        Where to; it is made if needed.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    sections = curve_sections(curve)
    title = f"Learning curve on the pool {curve.pool}"
    plots = {CURVE_PLOT: curve_figure(curve)}
    summary = Summary(curve.verdict(), "bad" if curve.broken else "unclear")
    pages = {
        "report.html": html_report(title, summary, sections, plots, own=None),
        "report.md": markdown_report(title, summary, sections),
        "report.json": json.dumps(curve.to_dict(), indent=1, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")


def _ratios(curve: LearningCurve) -> Section:
    return Section(
        "Learning curve",
        (
            "The router is trained on the first prompts of each shuffled training split and "
            "measured on the whole test split, beside the zero router that saw the same prompts. "
            "Frontier: log_energy_ratio. Because fixed models are on the dial and the best mix of "
            "settings is taken on the test prompts, it can hardly exceed 0.",
            "Served: what a user gets who asks for a bar and has no test labels. The energy of "
            "the one setting that training chose is compared with the energy of the zero router "
            "at the quality that was really kept, mean over the four bars of the logarithm. That "
            "zero router knows its models' test means; the last comparison is with the zero "
            "router as it would be served, a mix of two fixed models chosen on the same training "
            "prompts. The guard that takes over for prompts unlike those of training is left out.",
            f"Held: the mean is at most {MARGIN}; 'within chance' where it is more but the 95 % "
            "interval over the seeds is not wholly so.",
        ),
        Table(
            (
                "training prompts",
                "frontier",
                "95 % interval",
                f"<= {MARGIN}",
                "served",
                "zero router served",
                "served minus zero served",
                "95 % interval",
                f"<= {MARGIN}",
            ),
            tuple(
                (
                    f"{point.size:,}",
                    signed(point.interval(HEADLINE)),
                    span(point.interval(HEADLINE)),
                    point.standing(HEADLINE).value,
                    signed(point.interval(SERVED)),
                    signed(point.interval(ZERO_SERVED)),
                    signed(point.interval(SERVED_DIFFERENCE)),
                    span(point.interval(SERVED_DIFFERENCE)),
                    point.standing(SERVED_DIFFERENCE).value,
                )
                for point in curve.points
            ),
            ">>><>>>><",
        ),
        CURVE_PLOT,
    )


def _served(curve: LearningCurve) -> Section:
    return Section(
        "What is served at each bar",
        (
            "Quality that was kept and energy that was spent on the test prompts, relative to the "
            "reference model; after the slash the same of the zero router as it would be served.",
        ),
        Table(
            (
                "training prompts",
                *(f"quality at {bar:.2f}" for bar in QUALITY_BARS),
                *(f"energy at {bar:.2f}" for bar in QUALITY_BARS),
            ),
            tuple(
                (
                    f"{point.size:,}",
                    *(_pair(point, f"served_quality_{bar:.2f}") for bar in QUALITY_BARS),
                    *(_pair(point, f"served_energy_{bar:.2f}") for bar in QUALITY_BARS),
                )
                for point in curve.points
            ),
            ">" * (1 + 2 * len(QUALITY_BARS)),
        ),
    )


def _pair(point: CurvePoint, figure: str) -> str:
    own, zero = point.interval(figure).mean, point.interval(f"zero_{figure}").mean
    return NONE if own != own or zero != zero else f"{own:.3f} / {zero:.3f}"
