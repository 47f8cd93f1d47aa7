from __future__ import annotations

import pytest

from router.training.certify.hoeffding_bentkus import hoeffding_bentkus_p_value


@pytest.mark.parametrize(
    ("mean_loss", "n", "level", "expected"),
    [
        (0.05, 1000, 0.07, 0.0161184145),
        (0.1, 200, 0.15, 0.0692439636),
        (0.0, 45, 0.05, 0.0994402570),
        (0.03, 720, 0.05, 0.0196985269),
        (0.4, 100, 0.5, 0.0773187181),
        (0.2, 50, 0.21, 0.9848660405),
    ],
)
def test_p_values_are_those_of_mapie(
    mean_loss: float, n: int, level: float, expected: float
) -> None:
    # MAPIE 1.6.0, risk_control.methods.compute_hoeffding_bentkus_p_value
    assert hoeffding_bentkus_p_value(mean_loss, n, level) == pytest.approx(expected, rel=1e-8)


def test_losses_above_the_level_prove_nothing() -> None:
    assert hoeffding_bentkus_p_value(0.3, 100, 0.2) == 1.0
