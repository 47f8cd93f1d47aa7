from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router import Router
from router.errors import ArtifactError, ConfigError, DataError
from router.monitor import Baseline, Baselines, Monitor
from router.monitor.baseline import LINEAGE_KEY
from router.monitor.feed import Fed, baseline_of_log, completed, feed, usual_bar
from router.monitor.feedback import Feedback, FeedbackLog

ROW = Feedback("log", 1, model="api/small", probability=0.5, quality=1.0)


def log_of(*graded: Feedback, prompts: tuple[Feedback, ...] = ()) -> FeedbackLog:
    return FeedbackLog(prompts, graded, len(graded) + len(prompts), ())


class Novel:
    """The small router, whose decisions have a novelty."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.models = router.models
        self.asked: list[Any] = []

    def route_many(self, prompts: list[Any], *, quality: float) -> list[Any]:
        self.asked += prompts
        return [
            SimpleNamespace(candidates=d.candidates, novelty=float(len(p)))
            for p, d in zip(prompts, self._router.route_many(prompts, quality=quality), strict=True)
        ]


def test_the_usual_bar_is_that_of_most_answers():
    rows = [replace(ROW, bar=bar) for bar in (0.9, 0.95, 0.95, None, None, None)]
    assert usual_bar(log_of(*rows)) == 0.95
    assert usual_bar(log_of(replace(ROW, bar=0.9), replace(ROW, bar=1.0))) == 1.0
    assert usual_bar(log_of(ROW, prompts=(replace(ROW, bar=0.8),))) == 0.8
    assert usual_bar(log_of()) is None


def test_missing_probabilities_come_from_the_prompts(small_router: Router):
    prompts = ["What is 1 + 1?", [{"role": "user", "content": "Hi"}], ""]
    rows = [
        replace(ROW, probability=None, prompt=prompt, row=n) for n, prompt in enumerate(prompts)
    ]
    found = completed(log_of(*rows, ROW), small_router, 0.9)
    expected = [small_router.route(prompt).candidates[0].probability for prompt in prompts]
    assert [row.probability for row in found.graded] == pytest.approx([*expected, 0.5])
    assert all(row.prompt is None for row in found.graded)


def test_novelty_comes_from_the_prompts_where_it_is_wanted(small_router: Router):
    router: Any = Novel(small_router)
    rows = (
        Feedback("log", 1, prompt="four"),
        Feedback("log", 2, novelty=9.0, prompt="seven"),
        Feedback("log", 3, novelty=2.0),
    )
    found = completed(log_of(prompts=rows), router, 0.9)
    assert [row.novelty for row in found.prompts] == [4.0, 9.0, 2.0]
    assert router.asked == ["four"]
    found = completed(log_of(prompts=rows), router, 0.9, novelty=False)
    assert [row.novelty for row in found.prompts] == [None, 9.0, 2.0]
    assert router.asked == ["four"]


def test_a_router_without_novelty_fills_in_none(small_router: Router):
    found = completed(log_of(prompts=(Feedback("log", 1, prompt="Hi"),)), small_router, 0.9)
    monitor = Monitor(Baseline.of_answers(["api/small"], [], [], [], novelty=[1.0]))
    assert feed(monitor, found).n_prompts == 0


def test_models_go_by_either_name_and_unknown_ones_are_bad_rows(small_router: Router):
    rows = [
        replace(ROW, model="small"),
        replace(ROW, model="api/smal", row=2),
        replace(ROW, model="passed through", probability=None, logged=True),
    ]
    found = completed(log_of(*rows), small_router, 0.9)
    assert [row.model for row in found.graded] == ["api/small", None]
    (problem,) = found.problems
    assert (problem.file, problem.row, problem.field) == ("log", 2, "model")
    assert "did you mean 'api/small'" in str(problem)


def test_every_graded_row_is_accounted_for(small_router: Router):
    models = [model.id for model in small_router.models]
    monitor = Monitor(Baseline.of_answers(models, ["api/small"], [0.5], [1], novelty=[1.0, 2.0]))
    rows = [
        replace(ROW, request_id="a"),
        replace(ROW, request_id="b"),
        ROW,
        replace(ROW, probability=None, logged=True),
    ]
    prompts = tuple(Feedback("log", n, request_id=i, novelty=1.5) for n, i in enumerate("abc"))
    log = log_of(*rows, prompts=prompts)
    assert feed(monitor, log, exclude={"b"}) == Fed(2, 2, 0, 1, 1)
    assert feed(monitor, log, exclude={"b"}) == Fed(1, 0, 1, 1, 1)  # the row without an id again
    assert (monitor.n_graded, monitor.n_prompts) == (3, 2)


def test_a_monitor_of_a_router_takes_the_baseline_of_its_bar(make_artifact, encoder):
    models = ["api/small", "api/medium", "api/large"]
    bars = [Baseline.of_answers(models, ["api/small"], [0.5], [1], bar=b) for b in (0.9, 1.0)]
    lineage = {LINEAGE_KEY: Baselines(tuple(bars)).to_dict()}
    router = Router(make_artifact(lineage=lineage), encoder=encoder)
    assert Monitor.of_router(router).baseline.bar == 1.0
    monitor = Monitor.of_router(router, quality=0.9, delta=0.2)
    assert (monitor.baseline.bar, monitor.delta) == (0.9, 0.2)
    decision = router.route("Hi", quality=0.9)
    assert monitor.add_grade(decision.model, decision.probability, 1.0)
    with pytest.raises(ConfigError, match="quality is 0"):
        Monitor.of_router(router, quality=0)
    with pytest.raises(ArtifactError, match="train it again"):
        Monitor.of_router(Router(make_artifact(), encoder=encoder))


def test_a_baseline_of_feedback_has_all_that_could_be_judged(small_router: Router):
    rows = [ROW, replace(ROW, quality=0.0), replace(ROW, probability=None, logged=True)]
    prompts = (Feedback("log", 1, novelty=1.5), Feedback("log", 2, prompt="Hi"))
    baseline = baseline_of_log(log_of(*rows, prompts=prompts), small_router, 0.9)
    assert (baseline.n_answers, baseline.bar, baseline.novelty) == (2, 0.9, (1.5,))
    assert baseline.models == tuple(model.id for model in small_router.models)
    with pytest.raises(DataError, match="no graded answer"):
        baseline_of_log(log_of(), small_router, 0.9)


def test_the_monitor_needs_nothing_but_numpy():
    # what a serving process imports: no click, no training code
    import subprocess
    import sys

    code = (
        "import sys, router.monitor, router.monitor.state, router.monitor.feedback;"
        "print([m for m in ('click', 'scipy', 'sklearn', 'pandas', 'mlflow', 'router.training')"
        " if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert found.stdout.strip() == "[]", found.stderr
