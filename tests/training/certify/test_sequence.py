from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from router.training.certify.paired import gather
from router.training.certify.sequence import BARS, certified_steps, certified_table


@dataclass
class _Known:
    """Evidence that refutes all bars up to a number for each setting."""

    highest: list[float]
    asked: list[int] = field(default_factory=list)

    @property
    def n_settings(self) -> int:
        return len(self.highest)

    def rejects(self, setting: int, bar: float, error: float) -> bool:
        self.asked.append(setting)
        return bar <= self.highest[setting] + 1e-12


def test_testing_stops_at_the_first_setting_that_fails() -> None:
    evidence = _Known([0.99, 0.96, 0.94, 0.97, 0.90])
    assert certified_steps(evidence, 0.95, 0.1) == 2
    assert evidence.asked == [0, 1, 2]  # what comes after is not looked at
    assert certified_steps(evidence, 0.9, 0.1) == 5
    assert certified_steps(evidence, 1.0, 0.1) == 0


@pytest.mark.parametrize("method", ["exact", "betting", "hoeffding-bentkus"])
def test_the_table_holds_the_steps_of_each_bar_and_error(method: str) -> None:
    rng = np.random.default_rng(4)
    reference = (rng.random(600) < 0.8).astype(float)
    routed = np.stack([np.where(rng.random(600) < x, 0.0, reference) for x in (0, 0.02, 0.06, 0.2)])
    evidence = gather(method, routed, reference, rng.random(600))
    errors = (0.2, 0.01)
    table = certified_table(evidence, errors)
    assert [len(row) for row in table] == [len(BARS)] * 2
    for row, error in zip(table, errors, strict=True):
        for bar in (0.6, 0.9, 0.95, 0.98, 1.0):
            assert row[BARS.index(bar)] == certified_steps(evidence, bar, error)
    assert table[0][BARS.index(0.9)] >= table[1][BARS.index(0.9)]
    assert table[0][BARS.index(0.6)] == 4
    assert table[0][-1] == 0


def test_the_usual_bars_are_on_the_grid() -> None:
    assert {0.9, 0.95, 0.98, 0.99, 1.0} <= set(BARS)
    assert list(BARS) == sorted(BARS)


def test_a_path_without_settings_certifies_nothing() -> None:
    assert certified_table(_Known([]), [0.1]) == ((0,) * len(BARS),)
