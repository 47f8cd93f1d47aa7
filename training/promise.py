"""What a calibration promises, in tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from router.calibration import ALL_TRAFFIC, Calibration

__all__ = [
    "SHOWN_BARS",
    "promise_cell",
    "promise_rows",
    "promise_section",
    "promise_summary",
    "promises_anything",
]

SHOWN_BARS = (0.90, 0.95, 0.98, 1.00)
"""Bars that tables show."""

_USUAL_CONFIDENCE = 0.9


def promise_cell(calibration: Calibration, bar: float, confidence: float, group: str) -> str:
    """Return the energy that a promised bar takes, or what is missing.

    Parameters
    ----------
    calibration : Calibration
        What calibration prompts said.
    bar, confidence : float
        What is to be promised.
    group : str
        Kind of prompts; empty for all traffic.

    Returns
    -------
    str
        Such as ``0.61``, relative to the reference model; ``no`` or ``no (about 2,400)``, with
        the prompts that would be needed, where nothing is certified.
    """
    certificate = calibration.certificate(bar, confidence, group or None)
    if not certificate.holds:
        needed = certificate.n_needed
        return "no" if needed is None else f"no (about {needed:,})"
    if certificate.setting is None:
        return "1.00"
    found = next(g for g in calibration.groups if g.name == group)
    return f"{found.energy[calibration.path.index(certificate.setting)]:.2f}"


def promise_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return a row for all traffic at each confidence, and one for each kind of prompts.

    Parameters
    ----------
    calibration : Calibration
        What calibration prompts said.

    Returns
    -------
    list of tuple of str
        Kind, prompts, confidence, and one cell for each of the `SHOWN_BARS`.
    """
    wanted = [(ALL_TRAFFIC, confidence) for confidence in calibration.confidences]
    wanted += [(group.name, _USUAL_CONFIDENCE) for group in calibration.groups[1:]]
    sizes = {group.name: group.n for group in calibration.groups}
    return [
        (
            name or "all traffic",
            f"{sizes[name]:,}",
            f"{confidence:g}",
            *(promise_cell(calibration, bar, confidence, name) for bar in SHOWN_BARS),
        )
        for name, confidence in wanted
    ]


def promise_section(calibration: Calibration | None, reference: str) -> list[str]:
    """Return the section of a model card that says what is promised.

    Parameters
    ----------
    calibration : Calibration or None
        What calibration prompts said.
    reference : str
        Id of the reference model.

    Returns
    -------
    list of str
        Lines of Markdown, from the heading to an empty line.
    """
    if calibration is None:
        return [
            "## Promise",
            "",
            "None: this version was not certified on prompts that training did not see, so bars "
            "are kept by estimate only. `wattroute calibrate` certifies it.",
            "",
        ]
    n = calibration.groups[0].n
    lines = [
        "## Promise",
        "",
        f"Certified on {n:,} prompts that training did not see ({calibration.date}, method "
        f"`{calibration.method}`): with the confidence of a row, traffic like them keeps at least "
        f"the share of {reference}'s mean quality that heads a column. A cell is the energy it "
        f"takes relative to {reference}; `no` where the prompts do not support the promise, with "
        "the number that would.",
        "",
        _markdown(("prompts like", "number", "confidence", *(f"{bar:.2f}" for bar in SHOWN_BARS))),
        _markdown(["---"] * (3 + len(SHOWN_BARS))),
    ]
    return [*lines, *map(_markdown, promise_rows(calibration)), ""]


def promises_anything(calibration: Calibration) -> bool:
    """Whether one of the `SHOWN_BARS` is certified for all traffic with a confidence of 0.9."""
    return any(calibration.certificate(bar, _USUAL_CONFIDENCE).holds for bar in SHOWN_BARS)


def promise_summary(calibration: Calibration | None) -> dict[str, Any] | None:
    """Return the promises as JSON types, without what only the router needs."""
    if calibration is None:
        return None
    return {
        "n": calibration.groups[0].n,
        "date": calibration.date,
        "method": calibration.method,
        "promises": [
            {
                "group": group.name,
                "n": group.n,
                "confidence": confidence,
                "bar": bar,
                "holds": certificate.holds,
                "n_needed": certificate.n_needed,
                "energy": None
                if certificate.setting is None
                else group.energy[calibration.path.index(certificate.setting)],
            }
            for group in calibration.groups
            for confidence in calibration.confidences
            for bar in SHOWN_BARS
            for certificate in [calibration.certificate(bar, confidence, group.name or None)]
        ],
    }


def _markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
