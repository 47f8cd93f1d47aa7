"""The section about what a router promises."""

from __future__ import annotations

from router.calibration import ALL_TRAFFIC, Calibration
from router.eval.protocol import QUALITY_BARS
from router.eval.report.sections import Section, Table

__all__ = ["USUAL_CONFIDENCE", "certificates_section", "certified_energy"]

USUAL_CONFIDENCE = 0.9
"""Confidence of promises where none is asked for."""


def certificates_section(calibration: Calibration) -> Section:
    """Return which bars are certified, for all traffic and for each kind of prompts.

    Parameters
    ----------
    calibration : Calibration
        What calibration prompts said about a stored router.

    Returns
    -------
    Section
        A row for all traffic at each confidence, and one for each kind of prompts.
    """
    everyone = calibration.groups[0]
    wanted = [(ALL_TRAFFIC, confidence) for confidence in calibration.confidences]
    wanted += [(group.name, USUAL_CONFIDENCE) for group in calibration.groups[1:]]
    sizes = {group.name: group.n for group in calibration.groups}
    held = [
        f"{bar:.2f}" for bar in QUALITY_BARS if calibration.certificate(bar, USUAL_CONFIDENCE).holds
    ]
    said = f"certified are {', '.join(held)}" if held else "none of these bars is certified"
    return Section(
        "Certificates",
        (
            f"With a confidence of {USUAL_CONFIDENCE:g}, {said}. They are promises of the stored "
            "router, not of the splits above: with the confidence of its row, traffic like the "
            f"{everyone.n:,} calibration prompts, which training did not see, keeps at least the "
            "share of the reference model's mean quality that heads the column. A cell has the "
            "energy that it takes relative to the reference model; 'no' where the prompts do not "
            "support the promise, with the number that would.",
            f"Calibrated on {calibration.date} by the method {calibration.method}.",
        ),
        Table(
            ("prompts", "number", "confidence", *(f"bar {bar:.2f}" for bar in QUALITY_BARS)),
            tuple(
                (
                    name or "all traffic",
                    f"{sizes[name]:,}",
                    f"{confidence:g}",
                    *(certified_energy(calibration, bar, confidence, name) for bar in QUALITY_BARS),
                )
                for name, confidence in wanted
            ),
            "<>>" + ">" * len(QUALITY_BARS),
        ),
    )


def certified_energy(
    calibration: Calibration, bar: float, confidence: float, group: str = ALL_TRAFFIC
) -> str:
    """Return the energy that a bar takes, or what is missing to certify it.

    Parameters
    ----------
    calibration : Calibration
        What calibration prompts said.
    bar, confidence : float
        What is to be promised.
    group : str
        Kind of prompts.

    Returns
    -------
    str
        Such as ``61%`` of the reference model's energy, or ``no (about 2,400)`` with the prompts
        that it would take.
    """
    certificate = calibration.certificate(bar, confidence, group or None)
    if not certificate.holds:
        needed = certificate.n_needed
        return "no" if needed is None else f"no (about {needed:,})"
    if certificate.setting is None:
        return "100%"
    found = next(g for g in calibration.groups if g.name == group)
    return f"{found.energy[calibration.path.index(certificate.setting)]:.0%}"
