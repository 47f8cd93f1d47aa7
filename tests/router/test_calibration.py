from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibration import Calibration, GroupEvidence
from router.certificate import uncalibrated
from router.clusters import PromptClusters
from router.dial import Setting
from router.errors import ConfigError
from router.floors import FloorEvidence

PATH = (Setting(0.0001, 0.5), Setting(0.001, 0.0), Setting(0.01, 0.0))
FLOORS = FloorEvidence(
    n=400,
    levels=(0.5, 0.8),
    settings=(*PATH, None),
    routed=(((100, 100, 150),) * 4, ((10, 60, 80),) * 4),
    good=(((80, 90, 140),) * 4, ((10, 50, 78),) * 4),
    passed=(((2, 2, 2),) * 4, ((0, 1, 2),) * 4),
)
ALL = GroupEvidence(
    name="",
    n=400,
    reference_quality=0.8,
    kept=(0.99, 0.96, 0.8),
    energy=(0.7, 0.4, 0.1),
    spread=(0.2, 0.3, 0.5),
    steps=((3, 2, 1, 0), (2, 1, 0, 0)),
)
MATHS = replace(ALL, name="maths", n=60, energy=(1.4, 1.2, 0.9), steps=((2, 2, 0, 0), (1, 0, 0, 0)))


def calibration(**changes: Any) -> Calibration:
    parts: dict[str, Any] = {
        "path": PATH,
        "confidences": (0.8, 0.9),
        "bars": (0.8, 0.9, 0.95, 1.0),
        "groups": (ALL, MATHS),
        "floors": FLOORS,
        "method": "exact",
        "date": "2026-11-23",
        "data_digest": "ab",
    }
    return Calibration(**(parts | changes))


@pytest.mark.parametrize(
    ("bar", "confidence", "setting"),
    [
        (0.8, 0.8, PATH[2]),
        (0.9, 0.8, PATH[1]),
        (0.95, 0.8, PATH[0]),
        (1.0, 0.8, None),
        (0.8, 0.9, PATH[1]),
        (0.9, 0.9, PATH[0]),
        (0.95, 0.9, None),
    ],
)
def test_a_certificate_is_looked_up(bar: float, confidence: float, setting: Setting | None) -> None:
    found = calibration().certificate(bar, confidence)
    assert found.holds == (setting is not None)
    assert found.setting == setting
    assert (found.bar, found.confidence, found.n, found.group) == (bar, confidence, 400, None)
    assert (found.method, found.date) == ("exact", "2026-11-23")
    assert found.reason.startswith("certified on 400" if found.holds else "not certified: 400")


@given(st.floats(0.001, 1.0), st.floats(0.001, 0.999))
def test_what_is_between_is_promised_by_the_next_higher(bar: float, confidence: float) -> None:
    found = calibration().certificate(bar, confidence)
    if confidence > 0.9:
        assert not found.holds
        assert found.reason == "not certified: promises go up to a confidence of 0.9"
        return
    at_bar = next(b for b in (0.8, 0.9, 0.95, 1.0) if b >= bar)
    exact = calibration().certificate(at_bar, 0.8 if confidence <= 0.8 else 0.9)
    assert (found.holds, found.setting) == (exact.holds, exact.setting)


def test_a_group_has_its_own_promise() -> None:
    found = calibration().certificate(0.8, 0.9, "maths")
    assert found.holds
    assert (found.group, found.n) == ("maths", 60)
    # certified, but every certified setting takes more energy there than the reference model
    assert found.setting is None
    assert found.reason.endswith("but nothing takes less energy than the reference model")
    assert not calibration().certificate(0.95, 0.8, "maths").holds


def test_a_group_without_a_name_is_all_traffic() -> None:
    assert calibration().certificate(0.8, 0.9, "") == calibration().certificate(0.8, 0.9)


def test_an_unknown_group_is_a_result() -> None:
    found = calibration().certificate(0.8, 0.8, "poems")
    assert (found.holds, found.n, found.n_needed) == (False, 0, None)
    assert found.reason == (
        "not certified: too few calibration prompts of group 'poems'; there are enough of 'maths'"
    )


def test_how_many_prompts_would_be_needed() -> None:
    certificate = calibration().certificate(0.95, 0.9)
    # (1.2816 + 0.8416) standard deviations of 0.2 within 0.04
    assert certificate.n_needed == pytest.approx((2.1232 * 0.2 / 0.04) ** 2, rel=0.02) or (
        certificate.n_needed == 401
    )
    assert certificate.n_needed is not None
    assert f"about {certificate.n_needed:,} would" in certificate.reason
    assert ALL.n_needed(0.985, 0.9) == pytest.approx((2.1232 * 0.2 / 0.005) ** 2, rel=1e-3)


def test_where_no_number_of_prompts_would_do() -> None:
    assert ALL.n_needed(0.99, 0.9) is None
    assert ALL.n_needed(1.0, 0.9) is None
    assert replace(ALL, reference_quality=0.0).n_needed(0.9, 0.9) is None
    assert replace(ALL, kept=(), energy=(), spread=()).n_needed(0.9, 0.9) is None
    found = calibration().certificate(1.0, 0.9)
    assert found.n_needed is None
    assert "no number would" in found.reason


def test_a_setting_without_spread_still_needs_prompts() -> None:
    sure = replace(ALL, n=10, kept=(1.0, 1.0, 1.0), spread=(0.0, 0.0, 0.0))
    # nothing lost in 45 right answers has a chance of 0.95 ** 45 = 0.1
    assert sure.n_needed(0.95, 0.9) == pytest.approx(45 / 0.8, abs=1)


@pytest.mark.parametrize("bar", [0.0, -1.0, 1.0001, float("nan")])
def test_bars_that_cannot_be(bar: float) -> None:
    with pytest.raises(ConfigError, match="quality is"):
        calibration().certificate(bar, 0.9)
    with pytest.raises(ConfigError, match="quality is"):
        uncalibrated(bar, 0.9)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 90.0, float("nan")])
def test_confidences_that_cannot_be(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence is"):
        calibration().certificate(0.9, confidence)
    with pytest.raises(ConfigError, match="confidence is"):
        uncalibrated(0.9, confidence)


def test_it_survives_json() -> None:
    clusters = PromptClusters(np.array([[0.25, -1.5], [3.0, 0.125]], np.float32))
    for made in (calibration(), calibration(clusters=clusters)):
        stored = json.loads(json.dumps(made.to_dict(), allow_nan=False))
        again = Calibration.from_dict(stored)
        assert again.to_dict() == made.to_dict()
        for bar in (0.8, 0.9, 0.95, 1.0):
            assert again.certificate(bar, 0.9) == made.certificate(bar, 0.9)


@pytest.mark.parametrize(
    "changes",
    [
        {"confidences": ()},
        {"confidences": (0.9, 0.8)},
        {"confidences": (0.9, 1.0)},
        {"bars": (0.8, 0.9, 0.95, 0.99)},
        {"bars": (0.8, 0.8, 0.95, 1.0)},
        {"bars": (0.0, 0.9, 0.95, 1.0)},
        {"groups": ()},
        {"groups": (MATHS, ALL)},
        {"groups": (ALL, MATHS, MATHS)},
        {"groups": (ALL, replace(MATHS, name="auto"))},
        {"groups": (replace(ALL, kept=(0.9,)),)},
        {"groups": (replace(ALL, steps=((3, 2, 1, 0),)),)},
        {"groups": (replace(ALL, steps=((4, 2, 1, 0), (2, 1, 0, 0))),)},
        {"groups": (replace(ALL, steps=((3, 2, -1, 0), (2, 1, 0, 0))),)},
        {"path": PATH[:2]},
        {"floors": replace(FLOORS, levels=(0.5,))},
        {"floors": replace(FLOORS, settings=PATH)},
        {"floors": replace(FLOORS, good=(((80, 90),) * 4, ((10, 50, 78),) * 4))},
        {"floors": replace(FLOORS, passed=(((3, 2, 2),) * 4, ((0, 1, 2),) * 4))},
    ],
)
def test_calibrations_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        calibration(**changes)


def test_a_floor_certificate_counts_what_the_model_got() -> None:
    found = FLOORS.certificate(0.8, 0.9, 1, PATH[2], 2)
    assert found.holds
    assert (found.n, found.n_good, found.n_needed) == (80, 78, None)
    assert found.coverage == pytest.approx(150 / 400)
    assert found.reason == "certified: 78 of 80 prompts that this model got went well"


def test_a_floor_that_is_not_certified_says_what_is_missing() -> None:
    found = FLOORS.certificate(0.8, 0.9, 1, None, 1)
    assert not found.holds
    assert found.n_needed is not None
    assert found.n_needed > 60
    assert found.reason.startswith("floor not certified: 50 of 60")
    # 10 of 10 are not enough for three models, but no number is missing where shares are low
    low = replace(FLOORS, good=(((40, 90, 140),) * 4, ((7, 50, 78),) * 4))
    assert low.certificate(0.8, 0.9, 1, None, 0).n_needed is None


@pytest.mark.parametrize(
    ("floor", "level", "setting", "text"),
    [
        (0.77, 1, None, "floors were calibrated at 0.5, 0.8"),
        (0.8, None, None, "no promise is as confident"),
        (0.8, 1, Setting(0.5, 0.0), "this setting was not calibrated"),
    ],
)
def test_floors_that_calibration_says_nothing_about(
    floor: float, level: int | None, setting: Setting | None, text: str
) -> None:
    found = FLOORS.certificate(floor, 0.9, level, setting, 0)
    assert not found.holds
    assert text in found.reason
