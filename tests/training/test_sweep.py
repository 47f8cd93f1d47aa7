from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.eval.frontier_difference import frontier_difference
from router.eval.intervals import Interval
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import split_prompts
from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting
from router.training.fit_options import FitOptions
from router.training.sweep import FIGURE, SweepResult, open_study, run_sweep
from router.training.sweep_space import default_choices, fit_options, suggest_choices
from router.training.tracker import NullTracker


class Recorder(NullTracker):
    """Remembers the trials and the figures of the sweep itself."""

    def __init__(self) -> None:
        self.trials: list[dict[str, Any]] = []
        self.metrics: dict[str, float] = {}
        self.text = ""

    def nested(self, name: str, kind: str = "") -> Any:
        assert kind == "trial"
        below = Recorder()
        below.log_params = self.trials.append  # type: ignore[method-assign,assignment]
        return below

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        self.metrics |= metrics

    def describe(self, text: str) -> None:
        self.text = text


@pytest.fixture(scope="module")
def prompts(make_matrix: Callable[..., AnswerMatrix], pool) -> PoolPrompts:
    extractor = FeatureExtractor(FeatureSpec(n_buckets=2**10))
    return PoolPrompts.prepare(make_matrix(130), pool, extractor=extractor)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)


def test_a_sweep_begins_with_the_defaults_and_goes_on(prompts, pool, tmp_path: Path):
    file = tmp_path / "sub" / "sweep.journal"
    first, second = Recorder(), Recorder()
    lines: list[str] = []
    study = open_study(file, "three", 0)
    found = run_sweep(study, prompts, pool, first, n_trials=2, n_jobs=1, progress=lines.append)
    assert first.trials[0] == {"pool": "three", "trial": 0, **default_choices()}
    assert found.default == study.trials[0].value
    assert found.best <= found.default
    assert np.isfinite(found.best)

    again = open_study(file, "three", 0)
    longer = run_sweep(again, prompts, pool, second, n_trials=3, n_jobs=1, progress=lines.append)
    # what there was is not done again
    assert [trial["trial"] for trial in second.trials] == [2]
    assert longer.default == found.default
    assert longer.best <= found.best
    assert longer.n_trials <= 3
    assert second.metrics[FIGURE] == longer.best
    assert second.text.startswith(longer.verdict())
    assert any(f"trial 0: {FIGURE}" in line for line in lines)
    _, test = split_prompts(prompts.cells.groups, 0)
    assert longer.n_held_out == len(test)
    assert {*longer.to_dict()} >= {"choices", "changed", "verdict", "difference"}


def test_other_runs_are_another_study(tmp_path: Path):
    file = tmp_path / "sweep.journal"
    one = open_study(file, "one", 0)
    one.tell(one.ask(), 0.5)
    assert len(open_study(file, "one", 0).trials) == 1
    assert open_study(file, "two", 0).trials[0].state == optuna.trial.TrialState.WAITING


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', "\x00\x01\n"])
def test_a_file_that_is_not_a_journal_is_named(tmp_path: Path, content: str):
    file = tmp_path / "notes.txt"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"notes\.txt is not the journal of a sweep"):
        open_study(file, "three", 0)
    assert file.read_text(encoding="utf-8") == content


def test_the_default_choices_are_the_default_options():
    assert fit_options(default_choices()) == FitOptions()


class Chooser:
    """Makes choices by a list of numbers."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = list(numbers)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self.numbers.pop() % len(choices)]


@given(st.lists(st.integers(0, 5), min_size=20, max_size=20))
def test_every_choice_gives_options_or_none(numbers: list[int]):
    choices = suggest_choices(Chooser(numbers))
    assert list(choices) == list(default_choices())
    options = fit_options(choices)
    none_left = not any(v for k, v in choices.items() if k.startswith("block_")) or not any(
        v for k, v in choices.items() if k.startswith("head_")
    )
    assert (options is None) == none_left
    if options is not None:
        assert set(options.blocks) == {k[6:] for k, v in choices.items() if v and "block_" in k}


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Interval(-0.2, -0.3, -0.1), "better than the default ones: -0.200 [-0.300, -0.100]"),
        (Interval(0.2, 0.1, 0.3), "worse than the default ones"),
        (Interval(-0.2, -0.5, 0.1), "No difference to the default options is shown"),
    ],
)
def test_the_verdict_goes_by_the_interval(difference: Interval, said: str):
    choices = default_choices() | {"pruning": True}
    found = SweepResult(5, choices, -0.5, -0.4, 40, difference)
    assert said in found.verdict()
    assert found.changed == {"pruning": True}
    usual = replace(found, choices=default_choices())
    assert usual.verdict() == "The default options were the best."


def test_frontiers_are_compared_prompt_by_prompt(prompts):
    train, test = split_prompts(prompts.cells.groups, 0)
    split = prompts.split(train, test, 0)
    truth = prompts.truth(split, test)
    groups = prompts.cells.groups[test]
    n = len(test)
    fixed = np.stack([np.full(n, column) for column in range(3)])
    best = np.where(truth.quality[:, 0] > 0, 0, np.where(truth.quality[:, 1] > 0, 1, 2))
    clever = np.vstack([fixed, best])
    same = frontier_difference(fixed, fixed, split, truth, groups)
    assert same == Interval(0.0, 0.0, 0.0)
    found = frontier_difference(clever, fixed, split, truth, groups)
    assert found.low < found.mean < 0.0
    assert found.high < 0.0
    back = frontier_difference(fixed, clever, split, truth, groups)
    assert back.mean == pytest.approx(-found.mean)
