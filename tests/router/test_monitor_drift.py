from __future__ import annotations

import copy
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import ConfigError
from router.monitor import Baseline, Monitor

MODELS = ("small", "medium", "large", "never chosen")


def traffic(rng: np.random.Generator, n: int, drop: float = 0.0, only: str | None = None):
    """Answers of a router that is sure of itself beyond what is right."""
    ability = rng.beta(3.0, 1.0, n)
    chosen = rng.choice(MODELS[:3], n, p=[0.5, 0.3, 0.2])
    said = np.clip(ability + 0.03 + 0.3 * (ability - 0.5) * (1 - ability), 0.0, 1.0)
    quality = (rng.random(n) < ability).astype(float)
    partly = rng.random(n) < 0.1
    quality[partly] = np.round(ability[partly], 2)
    lost = rng.random(n) < drop / 0.73
    if only is not None:
        lost &= chosen == only
    quality[lost] = 0.0
    return chosen.tolist(), said.tolist(), quality.tolist()


@cache
def baseline(n: int = 2_000, seed: int = 0, novelty: bool = False) -> Baseline:
    rng = np.random.default_rng(seed)
    scores = rng.gamma(2.0, 1.0, 400) if novelty else ()
    return Baseline.of_answers(MODELS, *traffic(rng, n), novelty=scores)


def fed(monitor: Monitor, answers, ids: bool = False) -> Monitor:
    for n, (model, probability, quality) in enumerate(zip(*answers, strict=True)):
        request_id = f"r{n}" if ids else None
        monitor.add_grade(model, probability, quality, request_id=request_id, time=float(n))
    return monitor


def test_nothing_seen_is_no_evidence():
    report = Monitor(baseline()).report()
    assert not report.alarm
    assert [s.name for s in report.streams] == ["quality"]
    assert report.streams[0].e_value == 1.0
    assert report.streams[0].shortfall is None
    assert 0.02 < report.detectable_drop < 0.1


def false_alarms(n_streams: int, length: int, n_reference: int, delta: float) -> float:
    """Share of streams with an alarm; each has a baseline of its own."""
    alarms = 0
    for seed in range(n_streams):
        rng = np.random.default_rng([seed, 1])
        reference = Baseline.of_answers(MODELS, *traffic(rng, n_reference))
        monitor = fed(Monitor(reference, delta=delta, seed=seed), traffic(rng, length))
        alarms += monitor.alarm
    return alarms / n_streams


def test_streams_without_drift_rarely_give_an_alarm():
    # a small baseline of a router that is badly calibrated
    share = false_alarms(40, 600, 150, 0.3)
    assert share <= 0.3 + 3 * np.sqrt(0.3 * 0.7 / 40)


@pytest.mark.slow
def test_long_streams_without_drift_rarely_give_an_alarm():
    share = false_alarms(100, 3_000, 1_000, 0.1)
    assert share <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 100)


@pytest.mark.parametrize("start", [0, 1_000])
def test_a_drop_is_found_and_measured(start):
    rng = np.random.default_rng(5)
    monitor = fed(Monitor(baseline()), traffic(rng, start))
    assert not monitor.alarm
    fed(monitor, traffic(rng, 1_000, drop=0.08))
    report = monitor.report()
    quality = report.streams[0]
    assert report.alarm
    assert quality.alarm is not None
    assert quality.alarm.n > start
    assert quality.alarm.time is not None
    assert quality.shortfall is not None
    assert abs(quality.shortfall.since - start) < 250
    assert quality.shortfall.low <= 0.08 <= quality.shortfall.high


def test_the_model_that_drifts_is_named():
    rng = np.random.default_rng(6)
    monitor = fed(Monitor(baseline()), traffic(rng, 2_500, drop=0.3, only="medium"))
    streams = {stream.name: stream for stream in monitor.report().streams}
    assert {name for name, s in streams.items() if s.alarm} == {"quality", "medium"}
    assert streams["medium"].shortfall.mean == pytest.approx(0.3, abs=0.08)
    assert list(streams) == ["quality", "small", "medium", "large"]
    assert streams["medium"].n_reference == baseline().n_answers_of("medium")


def test_an_alarm_stays():
    rng = np.random.default_rng(7)
    monitor = fed(Monitor(baseline()), traffic(rng, 800, drop=0.2))
    first = monitor.report().streams[0].alarm
    fed(monitor, traffic(rng, 1_500))
    assert monitor.report().streams[0].alarm == first
    assert monitor.alarm


def test_better_answers_are_no_alarm():
    rng = np.random.default_rng(8)
    chosen, said, _ = traffic(rng, 1_500)
    assert not fed(Monitor(baseline()), (chosen, said, [1.0] * 1_500)).alarm


def test_a_drop_that_is_tolerated_gives_less_evidence():
    def evidence(tolerance: float) -> float:
        answers = traffic(np.random.default_rng(14), 1_500, drop=0.04)
        monitor = fed(Monitor(baseline(), tolerance=tolerance), answers)
        return monitor.report().streams[0].e_value

    assert evidence(0.0) > evidence(0.01) > evidence(0.03)


def test_another_mixture_of_prompts_and_models_is_no_alarm():
    rng = np.random.default_rng(9)
    chosen, said, quality = map(np.array, traffic(rng, 12_000))
    hard = (said < 0.75) & (chosen != "large")
    answers = [part[hard][:1_500].tolist() for part in (chosen, said, quality)]
    assert len(answers[0]) == 1_500
    assert not fed(Monitor(baseline()), answers).alarm


def test_a_model_without_reference_answers_is_only_compared_with_itself():
    monitor = Monitor(baseline())
    for _ in range(300):
        assert monitor.add_grade("never chosen", 0.9, 0.0)
    report = monitor.report()
    assert not report.alarm
    model = report.streams[1]
    assert (model.name, model.n, model.n_reference, model.e_value) == ("never chosen", 300, 0, 1.0)
    assert model.shortfall is not None
    assert model.shortfall.mean == pytest.approx(0.9)


def test_new_prompts_are_noticed_without_any_grade():
    rng = np.random.default_rng(10)
    monitor = Monitor(baseline(novelty=True))
    for score in rng.gamma(2.0, 1.0, 1_500):
        assert monitor.add_prompt(float(score))
    assert not monitor.alarm
    for score in np.where(rng.random(600) < 0.2, 12.0, rng.gamma(2.0, 1.0, 600)):
        monitor.add_prompt(float(score), time="noon")
    novelty = monitor.report().streams[-1]
    assert (novelty.kind, novelty.n, novelty.n_reference) == ("novelty", 2_100, 400)
    assert novelty.alarm is not None
    assert novelty.alarm.time == "noon"
    assert 0.1 < novelty.shortfall.mean < 0.25
    assert monitor.n_graded == 0


def test_without_reference_novelty_prompts_do_not_count():
    monitor = Monitor(baseline())
    assert not monitor.add_prompt(1e9)
    assert monitor.report().streams[-1].kind == "quality"
    # what is not watched takes no share of the error probability
    assert monitor.report().streams[0].threshold == pytest.approx(10.0)
    both = Monitor(baseline(novelty=True)).report().streams
    assert sum(1 / s.threshold for s in both if s.kind != "model") == pytest.approx(0.1)


def test_a_request_counts_once():
    monitor = Monitor(baseline(novelty=True))
    assert monitor.add_grade("small", 0.8, 1.0, request_id="a")
    before = json.dumps(monitor.to_dict())
    assert not monitor.add_grade("small", 0.8, 0.0, request_id="a")
    assert json.dumps(monitor.to_dict()) == before
    assert monitor.add_prompt(1.0, request_id="a")  # its prompt is another matter
    assert not monitor.add_prompt(1.0, request_id="a")
    assert monitor.add_grade("small", 0.8, 1.0)
    assert monitor.add_grade("small", 0.8, 1.0)
    assert (monitor.n_graded, monitor.n_prompts) == (3, 1)


def test_only_so_many_requests_are_remembered(monkeypatch):
    monkeypatch.setattr("router.monitor.seen._MAX_IDS", 3)
    monitor = Monitor(baseline())
    for name in "abcd":
        assert monitor.add_grade("small", 0.8, 1.0, request_id=name)
    assert not monitor.add_grade("small", 0.8, 1.0, request_id="b")
    assert monitor.add_grade("small", 0.8, 1.0, request_id="a")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (("smal", 0.5, 1.0), "no model 'smal': did you mean 'small'"),
        (("xyzzy", 0.5, 1.0), "it has small, medium, large"),
        (("small", 1.5, 1.0), "probability is 1.5"),
        (("small", float("nan"), 1.0), "probability is nan"),
        (("small", 0.5, -0.1), "quality is -0.1"),
        (("small", 0.5, float("nan")), "quality is nan"),
    ],
)
def test_a_wrong_answer_is_refused_and_changes_nothing(answer, message):
    monitor = Monitor(baseline())
    before = monitor.to_dict()
    with pytest.raises(ConfigError, match=message):
        monitor.add_grade(*answer, request_id="x")
    assert monitor.to_dict() == before


def test_wrong_novelty_and_delta_are_refused():
    monitor = Monitor(baseline(novelty=True))
    for novelty in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="novelty"):
            monitor.add_prompt(novelty)
    for delta in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="delta"):
            Monitor(baseline(), delta=delta)
    for tolerance in (-0.1, 0.5, float("nan")):
        with pytest.raises(ConfigError, match="tolerance"):
            Monitor(baseline(), tolerance=tolerance)


@settings(max_examples=15)
@given(st.integers(0, 120), st.integers(0, 120))
def test_a_stored_monitor_goes_on_as_if_never_stopped(first, second):
    rng = np.random.default_rng(11)
    answers = traffic(rng, 120, drop=0.5)
    scores = rng.gamma(3.0, 1.0, 120)
    whole = Monitor(baseline(novelty=True), delta=0.2, seed=3)
    parts = Monitor(baseline(novelty=True), delta=0.2, seed=3)
    for n, (model, probability, quality) in enumerate(zip(*answers, strict=True)):
        if n in (first, second):
            stored = json.loads(json.dumps(parts.to_dict(), allow_nan=False))
            parts = Monitor.from_dict(baseline(novelty=True), stored)
        for monitor in (whole, parts):
            monitor.add_grade(model, probability, quality, request_id=f"r{n}", time=n)
            monitor.add_prompt(float(scores[n]), request_id=f"r{n}")
    assert parts.to_dict() == whole.to_dict()
    assert parts.report() == whole.report()


def test_the_state_is_small():
    monitor = fed(Monitor(baseline(novelty=True)), traffic(np.random.default_rng(12), 3_000), True)
    assert len(json.dumps(monitor.to_dict())) < 20_000 + 11 * 3_000


def test_the_state_of_another_router_or_version_is_refused():
    state = Monitor(baseline()).to_dict()
    with pytest.raises(ConfigError, match="another router"):
        Monitor.from_dict(baseline(n=100), state)
    with pytest.raises(ConfigError, match="version 99"):
        Monitor.from_dict(baseline(), state | {"version": 99})


def test_a_damaged_state_is_refused_wherever_the_damage_is():
    monitor = fed(Monitor(baseline(novelty=True)), traffic(np.random.default_rng(13), 20), True)
    state = monitor.to_dict()
    for key in state:
        for damage in (None, "x", -3, [], {}):
            broken = copy.deepcopy(state)
            broken[key] = damage
            try:
                found = Monitor.from_dict(baseline(novelty=True), broken)
            except ConfigError:
                continue
            # these two are no evidence, and a number is a number
            assert key == "bar" or (key == "seed" and damage == -3), key
            assert found.report() == monitor.report()
        del broken[key]
        if key != "bar":
            with pytest.raises(ConfigError, match="state"):
                Monitor.from_dict(baseline(novelty=True), broken)
