"""From logs to a monitor: predictions where they are missing, then one observation a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from router.errors import DataError
from router.monitor.baseline import Baseline
from router.monitor.drift import Monitor, unknown_model
from router.monitor.feedback import Feedback, FeedbackLog

if TYPE_CHECKING:
    from router import Decision, Router

__all__ = ["Fed", "baseline_of_log", "completed", "feed", "usual_bar"]

_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of the rows of a log.

    Attributes
    ----------
    n_graded, n_prompts : int
        Graded answers and prompts that counted.
    n_repeated : int
        Graded answers that had counted before.
    n_unjudged : int
        Graded answers without a prediction to compare them with: the router had failed, or the
        model is not one of its pool.
    n_excluded : int
        Graded answers that the baseline was made of.
    """

    n_graded: int
    n_prompts: int
    n_repeated: int
    n_unjudged: int
    n_excluded: int


def usual_bar(log: FeedbackLog) -> float | None:
    """Return the quality bar of most graded answers, else of most prompts; None without any."""
    for rows in (log.graded, log.prompts):
        bars = Counter(row.bar for row in rows if row.bar is not None)
        if bars:
            return max(bars.items(), key=lambda pair: (pair[1], pair[0]))[0]
    return None


def completed(log: FeedbackLog, router: Router, bar: float, *, novelty: bool = True) -> FeedbackLog:
    """Fill in from the prompts what is missing, and name every model by its id in the API.

    Parameters
    ----------
    log : FeedbackLog
        What was read.
    router : Router
        The router that the log is of.
    bar : float
        Quality bar of the traffic.
    novelty : bool
        Whether to fill in the novelty of prompts as well.

    Returns
    -------
    FeedbackLog
        With predictions wherever there is a prompt to make them from. Graded answers of models
        that the pool does not have are among the problems, unless a decision log says so.

    Raises
    ------
    ConfigError
        If `bar` is out of range, or the router takes embeddings that the log does not have.
    """
    ids = {model.run_name: model.id for model in router.models}
    ids |= {model.id: model.id for model in router.models}
    problems = list(log.problems)
    named = []
    for row in log.graded:
        model = ids.get(row.model or "")
        if model is not None:
            named.append(replace(row, model=model))
        elif row.logged and row.probability is None:
            named.append(replace(row, model=None))
        else:
            problems.append(
                DataError(
                    unknown_model(str(row.model), tuple(ids)),
                    file=row.file,
                    row=row.row,
                    field="model",
                )
            )
    graded = _predicted(named, router, bar, [row.probability is None for row in named])
    lacking = [novelty and row.novelty is None for row in log.prompts]
    prompts = _predicted(log.prompts, router, bar, lacking)
    return FeedbackLog(tuple(prompts), tuple(graded), log.n_rows, tuple(problems))


def baseline_of_log(log: FeedbackLog, router: Router, bar: float) -> Baseline:
    """Make a baseline of graded feedback from a time when all was well.

    Parameters
    ----------
    log : FeedbackLog
        From :func:`completed`.
    router : Router
        The router that the log is of.
    bar : float
        Quality bar of the traffic.

    Raises
    ------
    DataError
        If nothing in the log is graded.
    """
    rows = [row for row in log.graded if row.probability is not None]
    if not rows:
        raise DataError("the baseline has no graded answer with a prediction", field="quality")
    return Baseline.of_answers(
        [model.id for model in router.models],
        [str(row.model) for row in rows],
        [row.probability or 0.0 for row in rows],
        [row.quality or 0.0 for row in rows],
        novelty=[row.novelty for row in log.prompts if row.novelty is not None],
        bar=bar,
    )


def feed(monitor: Monitor, log: FeedbackLog, *, exclude: Collection[str] = ()) -> Fed:
    """Feed a log to a monitor.

    Parameters
    ----------
    monitor : Monitor
        Takes the observations.
    log : FeedbackLog
        From :func:`completed`.
    exclude : collection of str
        Ids of requests that do not count, such as those of the baseline.

    Returns
    -------
    Fed
        What became of the rows.
    """
    n_prompts = 0
    for row in log.prompts:
        if row.novelty is not None and row.request_id not in exclude:
            n_prompts += monitor.add_prompt(row.novelty, request_id=row.request_id, time=row.time)
    n_graded = n_repeated = n_unjudged = n_excluded = 0
    for row in log.graded:
        if row.request_id is not None and row.request_id in exclude:
            n_excluded += 1
        elif row.model is None or row.probability is None or row.quality is None:
            n_unjudged += 1
        elif monitor.add_grade(
            row.model, row.probability, row.quality, request_id=row.request_id, time=row.time
        ):
            n_graded += 1
        else:
            n_repeated += 1
    return Fed(n_graded, n_prompts, n_repeated, n_unjudged, n_excluded)


def _predicted(
    rows: Sequence[Feedback], router: Router, bar: float, wanted: Sequence[bool]
) -> list[Feedback]:
    """Fill in probability and novelty of the rows wanted that have a prompt."""
    found = list(rows)
    lacking = [i for i, row in enumerate(found) if wanted[i] and row.prompt is not None]
    for start in range(0, len(lacking), _CHUNK):
        part = lacking[start : start + _CHUNK]
        prompts = [found[i].prompt or "" for i in part]
        for i, decision in zip(part, router.route_many(prompts, quality=bar), strict=True):
            found[i] = _with_prediction(found[i], decision)
    return found


def _with_prediction(row: Feedback, decision: Decision) -> Feedback:
    probability = row.probability
    if probability is None:
        probability = next(
            (c.probability for c in decision.candidates if c.model == row.model), None
        )
    novelty: float | None = row.novelty
    if novelty is None:
        novelty = getattr(decision, "novelty", None)
    return replace(row, probability=probability, novelty=novelty, prompt=None)
