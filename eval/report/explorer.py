"""The interactive part of a report: the data that its script reads, and the controls."""

from __future__ import annotations

import json
import math
from typing import Any

from router.eval.json_types import json_types
from router.eval.protocol import SERVED_BARS
from router.eval.report.figures import tidy
from router.eval.report.plots import drawn_methods
from router.eval.result import TASK_BAR, BenchmarkResult

__all__ = ["explorer_data", "explorer_html", "script_json"]

_DIGITS = 5
_USUAL_TRAFFIC = 10_000


def explorer_data(result: BenchmarkResult) -> dict[str, Any]:
    """Return what the script needs: frontiers, models, and what each bar led to.

    Parameters
    ----------
    result : BenchmarkResult
        What was measured.

    Returns
    -------
    dict
        JSON types. Qualities and energies are relative to the reference model.
    """
    served = result.served
    found = {
        "n_seeds": len(result.seeds),
        "methods": [
            {
                "name": tidy(method.name),
                "points": [
                    [round(float(x), _DIGITS), round(float(y), _DIGITS)] for x, y in method.frontier
                ],
            }
            for method in drawn_methods(result)
        ],
        "models": [
            {
                "name": tidy(model.name),
                "spot": _spot(model.relative_energy, model.relative_quality),
            }
            for model in result.models
        ],
        "bars": [] if served is None else served.to_dict()["bars"],
    }
    plain: dict[str, Any] = json_types(found)
    return plain


def explorer_html() -> str:
    """Return the controls, hidden until the script fills them."""
    low, high = (round(100 * bar) for bar in (SERVED_BARS[0], SERVED_BARS[-1]))
    return (
        '<div class="explorer" id="explorer" role="group" aria-label="Pick a quality bar" hidden>\n'
        '<div class="controls">\n'
        '<div><label for="bar">Quality bar <output id="bar-value" for="bar"></output></label>'
        f'<input type="range" id="bar" min="{low}" max="{high}" step="1" '
        f'value="{round(100 * TASK_BAR)}"></div>\n'
        '<div><label for="traffic">Requests a day</label>'
        '<input type="number" id="traffic" inputmode="numeric" min="0" max="1000000000000" '
        f'value="{_USUAL_TRAFFIC}"></div>\n</div>\n'
        '<dl class="cards"></dl>\n<h3>Models that serve it</h3>\n<ul class="shares"></ul>\n'
        '<p class="skip" role="status"></p>\n</div>'
    )


def script_json(found: Any) -> str:
    """Return JSON that cannot end the ``<script>`` element that it stands in."""
    text = json.dumps(found, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _spot(energy: float, quality: float) -> list[float] | None:
    """Return a model's place in the plot, if it has one on a logarithmic scale."""
    if not (math.isfinite(energy) and math.isfinite(quality) and energy > 0):
        return None
    return [round(energy, _DIGITS), round(quality, _DIGITS)]
