"""The sections of a benchmark's report, in their order."""

from __future__ import annotations

from router.calibration import Calibration
from router.eval.learning_curve import LearningCurve
from router.eval.report.certificates import certificates_section
from router.eval.report.comparison import comparison_section, frontier_section, tuning_section
from router.eval.report.description import (
    cost_section,
    data_section,
    method_section,
    models_section,
)
from router.eval.report.learning_curve import curve_sections
from router.eval.report.predictions import predictions_section
from router.eval.report.sections import Section
from router.eval.report.served_sections import (
    bars_section,
    savings_section,
    tasks_section,
    worst_section,
)
from router.eval.result import BenchmarkResult

__all__ = ["benchmark_sections"]


def benchmark_sections(
    result: BenchmarkResult,
    *,
    curve: LearningCurve | None = None,
    calibration: Calibration | None = None,
    runs: tuple[Section, ...] = (),
    prompts: bool = True,
) -> tuple[Section, ...]:
    """Return the sections of a benchmark's report.

    Parameters
    ----------
    result : BenchmarkResult
        What to report.
    curve : LearningCurve, optional
        What was measured with fewer training prompts.
    calibration : Calibration, optional
        What a stored router promises.
    runs : tuple of Section
        What to say about the evaluation runs, inside the section on data.
    prompts : bool
        Whether the texts of prompts are shown.

    Returns
    -------
    tuple of Section
        From the comparison with the baselines to the method. The summary is not among them.
    """
    served = result.served
    return (
        comparison_section(result),
        frontier_section(result),
        *(() if served is None else (bars_section(result, served),)),
        *(() if served is None else (savings_section(result, served),)),
        *(() if calibration is None else (certificates_section(calibration),)),
        *((tasks_section(result, result.tasks),) if result.tasks else ()),
        *((worst_section(result.regrets, prompts=prompts),) if result.regrets else ()),
        predictions_section(result),
        *(() if curve is None else curve_sections(curve)),
        cost_section(result),
        models_section(result),
        data_section(result, runs),
        tuning_section(result),
        method_section(result),
    )
