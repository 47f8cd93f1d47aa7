from __future__ import annotations

import json

import numpy as np
import pytest

from router.monitor.shortfall import ShortfallTracker


def filled(values, hold_from: int | None = None) -> ShortfallTracker:
    tracker = ShortfallTracker()
    for n, value in enumerate(values):
        tracker.update(float(value), hold=hold_from is not None and n >= hold_from)
    return tracker


def test_without_observations_there_is_no_estimate():
    assert ShortfallTracker().estimate(100, changed=False) is None
    assert ShortfallTracker().estimate(100, changed=True) is None


def test_the_mean_covers_the_whole_stream_and_its_interval_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        # as if both the stream and the expectation had an error of their own
        error = rng.normal(0.0, 0.4 / np.sqrt(500))
        found = filled(0.05 + error + rng.normal(0.0, 0.4, 200)).estimate(500, changed=False)
        assert found is not None
        assert (found.n, found.since) == (200, 1)
        covered += found.low <= 0.05 <= found.high
    assert covered / 300 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)


def test_the_change_is_found_and_kept_after_the_alarm():
    rng = np.random.default_rng(1)
    good, bad = rng.normal(0.0, 0.2, 2_000), rng.normal(0.1, 0.2, 800)
    tracker = filled([*good, *bad], hold_from=2_500)
    found = tracker.estimate(5_000, changed=True)
    assert found is not None
    assert 1_600 <= found.since <= 2_100
    assert found.n == 2_800 - found.since + 1
    assert found.mean == pytest.approx(0.1, abs=0.03)
    # what is better again does not move the point of change
    for value in rng.normal(-0.2, 0.2, 3_000):
        tracker.update(float(value), hold=True)
    later = tracker.estimate(5_000, changed=True)
    assert later is not None
    assert later.since == found.since


def test_without_a_change_the_start_moves_on():
    tracker = filled(np.full(100, -0.1))
    assert tracker.since == 100
    found = tracker.estimate(10, changed=True)
    assert found is not None
    assert (found.n, found.since) == (100, 1)


def test_a_few_equal_outcomes_are_no_certainty():
    found = filled([0.0, 0.0]).estimate(1_000, changed=False)
    assert found is not None
    assert found.high - found.low > 0.5


def test_sums_survive_storage_and_damaged_ones_are_refused():
    tracker = filled([0.5, -0.5, 0.25])
    copy = ShortfallTracker()
    copy.restore(json.loads(json.dumps(tracker.to_dict())))
    assert copy.to_dict() == tracker.to_dict()
    assert isinstance(copy.n, int)
    assert isinstance(copy.since, int)
    for damage in ({"n": None}, {"total": "x"}, {"page": float("inf")}):
        with pytest.raises((TypeError, ValueError)):
            ShortfallTracker().restore(tracker.to_dict() | damage)
    with pytest.raises(KeyError):
        ShortfallTracker().restore({})
