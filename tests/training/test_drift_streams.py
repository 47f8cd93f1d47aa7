from __future__ import annotations

import math

import numpy as np
import pytest

from router.errors import ConfigError
from router.monitor import Baseline, Monitor
from router.training.drift_streams import (
    Change,
    StreamOutcomes,
    Traffic,
    share_interval,
    simulate_streams,
)

MODELS = ("small", "large")


def routed(seed: int, n: int, novelty: float = 1.0) -> Traffic:
    rng = np.random.default_rng(seed)
    probability = rng.beta(4.0, 1.5, n)
    return Traffic(
        tuple(rng.choice(MODELS, n, p=[0.3, 0.7]).tolist()),
        probability,
        (rng.random(n) < probability - 0.02).astype(float),
        rng.gamma(3.0, novelty, n),
    )


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return routed(0, 1_200)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    known = routed(1, 2_000)
    return Baseline.of_answers(
        MODELS, known.model, known.probability, known.quality, novelty=known.novelty
    )


def test_streams_without_drift(baseline: Baseline, traffic: Traffic):
    found = simulate_streams(baseline, traffic, n_streams=10, length=400)
    assert found.false_alarms[0] <= 0.4
    assert found.n_early + len(found.delays) == 10
    assert all(map(math.isinf, found.delays))


def test_a_baseline_of_the_same_prompts_allows_for_whatever_they_are_like(baseline: Baseline):
    # these are worse than the baseline says, which is drift to one and not to the other
    worse = routed(5, 600)
    worse = Traffic(worse.model, worse.probability, 0.8 * worse.quality, worse.novelty)
    against, among = (
        simulate_streams(baseline, worse, n_streams=6, length=600, redrawn=n) for n in (0, 1_500)
    )
    assert against.false_alarms[0] > 0.5 > among.false_alarms[0]


def test_a_stream_of_prompts_that_come_once_ends_with_them(
    baseline: Baseline, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
):
    graded: list[float] = []
    add_grade = Monitor.add_grade

    def noted(monitor: Monitor, model: str, probability: float, *rest: float) -> bool:
        graded.append(probability)
        return add_grade(monitor, model, probability, *rest)

    monkeypatch.setattr(Monitor, "add_grade", noted)
    found = simulate_streams(baseline, traffic, n_streams=1, length=5_000, once=True)
    assert found.n_early == 0
    assert sorted(graded) == sorted(traffic.probability.tolist())
    graded.clear()
    simulate_streams(baseline, traffic, n_streams=1, length=50, once=True)
    assert len(graded) == len(set(graded)) == 50


@pytest.mark.parametrize("kind", ["random failures", "less able"])
@pytest.mark.parametrize("start", [0, 300])
def test_a_drop_is_found(baseline: Baseline, traffic: Traffic, kind, start):
    found = simulate_streams(
        baseline,
        traffic,
        Change(kind, 0.15, start),
        n_streams=8,
        length=start + 800,
    )
    assert found.detected_within(800) >= 0.75
    median, low, high = found.median_delay
    assert 0 < low <= median <= high
    assert median < 500


def test_the_model_that_fails_is_the_one_with_most_traffic(baseline: Baseline, traffic: Traffic):
    found = simulate_streams(
        baseline, traffic, Change("one model", 0.5), n_streams=4, length=600, seed=3
    )
    assert found.detected_within(600) == 1.0
    assert found.named[1] == 0


def test_new_prompts_are_found_by_their_novelty(baseline: Baseline, traffic: Traffic):
    found = simulate_streams(
        baseline,
        traffic,
        Change("new prompts", 0.3, 100),
        n_streams=4,
        length=800,
        others=routed(4, 200, novelty=5.0),
    )
    assert found.median_delay[0] < 300


def test_the_same_seed_gives_the_same_streams(baseline: Baseline, traffic: Traffic):
    change = Change("random failures", 0.2)
    first, second = (
        simulate_streams(baseline, traffic, change, n_streams=3, length=300) for _ in range(2)
    )
    other = simulate_streams(baseline, traffic, change, n_streams=3, length=300, seed=9)
    assert first == second != other


def test_impossible_drifts_are_refused(baseline: Baseline, traffic: Traffic):
    with pytest.raises(ConfigError, match="there is too little of it"):
        simulate_streams(baseline, traffic, Change("random failures", 0.99), n_streams=1)
    with pytest.raises(ConfigError, match="have to come from somewhere"):
        simulate_streams(baseline, traffic, Change("new prompts", 0.1), n_streams=1)


def test_shares_and_medians_with_their_intervals():
    share, low, high = share_interval(10, 100)
    assert (share, round(low, 4), round(high, 4)) == (0.1, 0.0552, 0.1744)  # Wilson
    assert share_interval(0, 50)[:2] == (0.0, 0.0)
    assert share_interval(50, 50)[2] == pytest.approx(1.0)
    delays = tuple(float(d) for d in [*range(60), *[math.inf] * 39])
    found = StreamOutcomes(Change("less able", 0.1), 100, 1, delays)
    assert found.median_delay == (49.0, 39.0, math.inf)
    assert found.detected_within(29) == pytest.approx(30 / 99)
    assert found.false_alarms[0] == 0.01
    assert math.isnan(StreamOutcomes(None, 1, 1, ()).median_delay[0])


def test_streams_of_several_routers_count_as_one_set_with_intervals_over_routers():
    change = Change("one model", 0.1)
    quick = StreamOutcomes(change, 100, 0, (10.0,) * 100, (90, 2))
    slow = StreamOutcomes(change, 100, 20, (500.0,) * 50 + (math.inf,) * 30, (70, 4))
    both = StreamOutcomes.together([quick, slow, quick])
    share, low, high = both.false_alarms
    assert share == pytest.approx(20 / 300)
    assert (low, high) == (0.0, pytest.approx(0.3535, abs=1e-4))  # t with 2 degrees of freedom
    # three draws of the slow one, 1 in 27, are as rare as an interval of 95 % leaves in
    assert both.median_delay == (10.0, 10.0, 500.0)
    assert both.named == (250, 8)
    assert (both.n_streams, both.change) == (300, change)
    assert StreamOutcomes.together([slow]).median_delay == slow.median_delay
    silent = StreamOutcomes(change, 100, 100, ())
    assert StreamOutcomes.together([quick, silent, slow, quick]).median_delay == both.median_delay
    assert StreamOutcomes.together([slow]).false_alarms == slow.false_alarms
