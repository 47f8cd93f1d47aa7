"""``wattroute monitor``: watch feedback for drift that breaks the quality promise."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from router.cli.table import render_table
from router.errors import ConfigError, DataError

if TYPE_CHECKING:
    from router import Router
    from router.monitor import Baseline, DriftReport, Monitor, StreamReport
    from router.monitor.feed import Fed
    from router.monitor.feedback import FeedbackLog

__all__ = ["monitor"]

_DEFAULT_BAR = 0.98
_MANY_ANSWERS = 0.1
_HEADERS = (
    "stream",
    "n",
    "reference",
    "evidence",
    "alarm from",
    "alarm",
    "lost",
    "95 % interval",
    "since",
)
_ALIGN = "<>>>><>>>"


@click.command(
    epilog="""\b
Examples:
  wattroute monitor my-router decisions.jsonl
  wattroute monitor my-router feedback.jsonl --state monitor.json --json
  wattroute monitor my-router june.jsonl --baseline may.jsonl
"""
)
@click.argument("folder", metavar="DIR")
@click.argument("feedback", nargs=-1, required=True, metavar="FEEDBACK...")
@click.option(
    "--quality",
    type=float,
    metavar="Q",
    help="Quality bar that the traffic was routed at.  [default: that of most rows, else 0.98]",
)
@click.option(
    "--delta",
    type=float,
    metavar="P",
    help="Probability of ever giving a false alarm, at most.  [default: 0.1]",
)
@click.option(
    "--tolerance",
    type=float,
    metavar="Q",
    help="Drop of mean quality that is no drift.  [default: 0.003]",
)
@click.option(
    "--state",
    "state_file",
    metavar="FILE",
    help="Go on from this state and keep the new one there.",
)
@click.option(
    "--baseline",
    "baseline_files",
    multiple=True,
    metavar="FILE",
    help="Compare with this graded feedback from a time when all was well, rather than with "
    "what the router was like in training. May be given several times.",
)
@click.option(
    "--on-bad",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Stop at bad rows before anything counts, or name them and go on without them.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed of the random numbers that split ties.  [default: 0]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def monitor(
    ctx: click.Context,
    folder: str,
    feedback: tuple[str, ...],
    quality: float | None,
    delta: float | None,
    tolerance: float | None,
    state_file: str | None,
    baseline_files: tuple[str, ...],
    on_bad: str,
    seed: int | None,
    as_json: bool,
) -> None:
    """Watch feedback for drift that breaks the quality promise.

    FEEDBACK are JSONL files in the order in which they were written: rows with model,
    probability and quality (0 to 1), rows with a novelty or a prompt alone, or the decision log
    of `wattroute serve` as it is. A row with a request_id counts once, so the same files can be
    given again as they grow. Grade a random sample of the answers: complaints alone would look
    like drift.

    Shown is the evidence of drift in every stream, from how much on it is an alarm, and the
    quality that was lost. The exit code is 1 once there has been an alarm.
    """
    # numpy and tokenizers load here, so that --help and wrong usage answer at once
    from router import Router
    from router.monitor.feed import completed, feed, usual_bar
    from router.monitor.feedback import read_feedback
    from router.monitor.state import read_state, write_state

    state = None if state_file is None else read_state(state_file)
    router = Router.load(folder)
    raw = read_feedback(feedback)
    bars = (quality, (state or {}).get("bar"), usual_bar(raw), _DEFAULT_BAR)
    bar = next(bar for bar in bars if bar is not None)
    baseline, exclude = _baseline(router, bar, baseline_files)
    log = completed(raw, router, bar, novelty=bool(baseline.novelty))
    _name_problems(log, on_bad)
    watching = _begun(baseline, state, {"delta": delta, "tolerance": tolerance, "seed": seed})
    fed = feed(watching, log, exclude=exclude)
    if state_file is not None:
        write_state(state_file, watching.to_dict())
    report = watching.report()
    if as_json:
        rows = {"n_rows": log.n_rows, "problems": list(map(str, log.problems)), **asdict(fed)}
        click.echo(json.dumps(report.to_dict() | {"rows": rows}, indent=1))
    else:
        click.echo(_summary(report, fed), err=True)
        click.echo(_render(report))
    ctx.exit(int(report.alarm))


def _name_problems(log: FeedbackLog, on_bad: str) -> None:
    """Name every bad row; stop here unless they are to be left out."""
    for problem in log.problems:
        click.echo(str(problem), err=True)
    if log.problems and on_bad == "error":
        first = log.problems[0]
        raise DataError(
            f"{len(log.problems):,} of {log.n_rows:,} rows are bad, each named above, so nothing "
            "was counted: correct them, or leave them out with --on-bad skip",
            file=first.file,
        )


def _baseline(
    router: Router, bar: float, files: tuple[str, ...]
) -> tuple[Baseline, frozenset[str]]:
    """Return the baseline and the requests that it was made of."""
    from router.monitor.baseline import stored_baselines
    from router.monitor.feed import baseline_of_log, completed
    from router.monitor.feedback import read_feedback

    if not files:
        return stored_baselines(router.artifact.lineage).for_bar(bar), frozenset()
    log = completed(read_feedback(files), router, bar)
    _name_problems(log, "error")
    used = frozenset(row.request_id for row in (*log.graded, *log.prompts) if row.request_id)
    return baseline_of_log(log, router, bar), used


def _begun(baseline: Baseline, state: dict[str, Any] | None, settings: dict[str, Any]) -> Monitor:
    """Return a new monitor, or the one that the state is of."""
    from router.monitor import Monitor

    given = {name: value for name, value in settings.items() if value is not None}
    if state is None:
        return Monitor(baseline, **given)
    watching = Monitor.from_dict(baseline, state)
    for name, value in given.items():
        begun = getattr(watching, name)
        if value != begun:
            raise ConfigError(
                f"the state was begun with --{name} {begun:g}: "
                f"leave --{name} out, or begin a new state"
            )
    return watching


def _summary(report: DriftReport, fed: Fed) -> str:
    parts = [f"{fed.n_graded:,} graded answers and {fed.n_prompts:,} prompts are new"]
    for n, what in (
        (fed.n_repeated, "counted before"),
        (fed.n_excluded, "belong to the baseline"),
        (fed.n_unjudged, "have no prediction to compare with"),
    ):
        if n:
            parts.append(f"{n:,} {what}")
    bar = "" if report.bar is None else f"; compared with the router at bar {report.bar:g}"
    return "; ".join(parts) + bar


def _render(report: DriftReport) -> str:
    table = render_table(_HEADERS, [_cells(stream) for stream in report.streams], _ALIGN)
    return f"{table}\n\n{_legend(report)}\n{_verdict(report)}"


def _legend(report: DriftReport) -> str:
    legend = "Lost: quality below what is expected of these prompts, roughly"
    if any(stream.kind == "novelty" for stream in report.streams):
        legend += ";\nof novelty, the share of prompts that are new beyond the usual 5 %"
    return f"{legend}."


def _cells(stream: StreamReport) -> tuple[str | None, ...]:
    lost = stream.shortfall
    loss: tuple[str | None, ...] = (None, None, None)
    if lost is not None:
        loss = (f"{lost.mean:+.3f}", f"{lost.low:+.3f} to {lost.high:+.3f}", f"{lost.since:,}")
    return (
        stream.name,
        f"{stream.n:,}",
        f"{stream.n_reference:,}",
        f"{stream.e_value:.3g}",
        f"{stream.threshold:.3g}",
        "no" if stream.alarm is None else f"at {stream.alarm.n:,}",
        *loss,
    )


def _verdict(report: DriftReport) -> str:
    chance = f"A false alarm ever has a probability of at most {report.delta:g}."
    if not report.alarm:
        return (
            f"No alarm. {chance}\nA drop of {report.detectable_drop:.3f} in mean quality would be "
            f"found about half of the time within 1,000 graded answers.{_blind_spot(report)}"
        )
    lines = []
    drifting = [s.name for s in report.streams if s.kind == "model" and s.alarm is not None]
    for stream in report.streams:
        if stream.alarm is None or stream.kind == "model":
            continue
        what = (
            "prompts are unlike those of training"
            if stream.kind == "novelty"
            else "answers are worse than the router expects"
        )
        when = f"request {stream.alarm.n:,} of this stream"
        if stream.alarm.time is not None:
            when += f", time {stream.alarm.time}"
        lines.append(f"ALARM: {what} ({when}).")
    if drifting:
        lines.append(f"Drifting: {', '.join(drifting)}.")
    elif any(s.kind == "quality" and s.alarm is not None for s in report.streams):
        models = [stream for stream in report.streams if stream.kind == "model"]
        most = max(models, key=lambda stream: stream.e_value)
        lines.append(
            f"No single model is proven to drift; {most.name} has the most evidence against it."
        )
    lines.append(
        f"{chance}\nCertify the router on fresh graded prompts (wattroute calibrate) or train it "
        "again, then begin a new state."
    )
    return "\n".join(lines)


def _blind_spot(report: DriftReport) -> str:
    """Say which answers the absence of an alarm says little about, where they are many."""
    n = report.streams[0].n
    if report.n_without_reference <= _MANY_ANSWERS * n:
        return ""
    return (
        f"\nNot of all of them: {report.n_without_reference:,} of the {n:,} have hardly any "
        "reference answers of their model and\nprobability. Had these been worse from the first "
        "on, it would not show: compare with graded feedback\nfrom a time when all was well "
        "(--baseline)."
    )
