"""``wattroute energy validate``: how well the formula predicts measured energy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from router.cli.options import unused_seed_option
from router.cli.table import render_table
from router.energy.coefficients import Coefficients
from router.energy.own_measurements import read_own_measurements
from router.energy.validation import Documented, Group, Ratio, documented
from router.energy.validation import validate as validated
from router.errors import ConfigError

__all__ = ["validate"]

_HEADERS = (
    "group",
    "n",
    "median error",
    "P90",
    "Spearman",
    "pairs in order",
    "ratio error",
    "predicted/measured",
    "P10 - P90",
)
_ALIGN = "<>>>>>>>>"


@click.command(
    "validate",
    epilog="""\b
Examples:
  wattroute energy validate
  wattroute energy validate --rows
  wattroute energy validate --measurements mine.csv
""",
)
@click.option(
    "--measurements",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare the formula with your own measured rows as well.",
)
@click.option("--rows", is_flag=True, help="Show the ratio of every configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@unused_seed_option
def validate(file: Path | None, rows: bool, as_json: bool) -> None:
    """Predict measured configurations and compare with what is documented.

    Models on serving engines are predicted by a fit without their own measurements. Exit code
    1 means that a figure is outside its documented range.
    """
    groups = list(validated())
    checks = list(documented())
    if file is not None:
        own, check = _own_group(file)
        groups.append(own)
        checks += check
    statistics = {group.name: group.statistics() for group in groups}
    outside = [c for c in checks if not c.holds(statistics[c.group][c.statistic])]
    if as_json:
        click.echo(json.dumps(_record(groups, statistics, checks, outside, rows), indent=2))
    else:
        click.echo(render_table(_HEADERS, [_cells(g, statistics) for g in groups], _ALIGN))
        if rows:
            click.echo("\n" + render_table(*_row_table(groups), "<<>>>"))
        click.echo(_verdict(outside, statistics, len(checks)))
    if outside:
        click.get_current_context().exit(1)


def _own_group(file: Path) -> tuple[Group, list[Documented]]:
    """Return the user's rows against the formula, and the range of an estimate."""
    name = f"own measurements, {file.name}"
    ratios = []
    for row in read_own_measurements(file):
        over = row.over_formula
        if over is None:
            raise ConfigError(
                f"{row.where}: 'model': the formula needs the parameters of {row.model!r}: give "
                "'total_parameters_b', or a name that `wattroute models` lists"
            )
        measured_j = row.joules_per_completion_token
        label = f"{row.model} B={row.batch:g} context={row.context_tokens:g}"
        ratios.append(Ratio(label, measured_j / over, measured_j))
    # the factors lead from a prediction to what is measured
    low, high = Coefficients.default().uncertainty["estimated"]
    checks = [
        Documented(name, statistic, 1.0, 1 / high, 1 / low, "", "interval of an estimate")
        for statistic in ("ratio_p10", "ratio_p90")
    ]
    return Group(name, tuple(ratios)), checks


def _cells(group: Group, statistics: dict[str, dict[str, float]]) -> tuple[str, ...]:
    found = statistics[group.name]
    return (
        group.name,
        f"{found['n']:.0f}",
        f"{found['median_error']:.0%}",
        f"{found['p90_error']:.0%}",
        _shown(found["spearman"], ".2f"),
        _shown(found["pairs_in_order"], ".0%"),
        _shown(found["pair_ratio_error"], ".2f", "x"),
        f"{found['ratio_median']:.2f}",
        f"{found['ratio_p10']:.2f} - {found['ratio_p90']:.2f}",
    )


def _shown(value: float, form: str, prefix: str = "") -> str:
    return "-" if math.isnan(value) else f"{prefix}{value:{form}}"


def _row_table(groups: list[Group]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    headers = ("group", "configuration", "predicted J/token", "measured J/token", "ratio")
    return headers, [
        (
            group.name,
            row.name,
            f"{row.predicted_j:.4g}",
            f"{row.measured_j:.4g}",
            f"{row.ratio:.2f}",
        )
        for group in groups
        for row in group.rows
    ]


def _verdict(
    outside: list[Documented], statistics: dict[str, dict[str, float]], n_checks: int
) -> str:
    if not outside:
        return f"\nAll {n_checks} figures are within their documented ranges."
    return "\n" + "\n".join(
        f"Outside: {c.group}, {c.statistic} is {statistics[c.group][c.statistic]:.3g}, documented "
        f"{c.documented:g} ({c.low:.3g} to {c.high:.3g}; {c.source})."
        for c in outside
    )


def _record(
    groups: list[Group],
    statistics: dict[str, dict[str, float]],
    checks: list[Documented],
    outside: list[Documented],
    rows: bool,
) -> dict[str, Any]:
    return {
        "within_documented_ranges": not outside,
        "groups": [
            {
                "name": group.name,
                "statistics": {
                    key: None if math.isnan(value) else value
                    for key, value in statistics[group.name].items()
                },
                "documented": {
                    c.statistic: {
                        "value": c.documented,
                        "low": c.low,
                        "high": c.high,
                        "holds": c not in outside,
                        "date": c.date,
                        "source": c.source,
                    }
                    for c in checks
                    if c.group == group.name
                },
                **(
                    {
                        "rows": [
                            {
                                "name": row.name,
                                "predicted_j": row.predicted_j,
                                "measured_j": row.measured_j,
                                "ratio": row.ratio,
                            }
                            for row in group.rows
                        ]
                    }
                    if rows
                    else {}
                ),
            }
            for group in groups
        ],
    }
