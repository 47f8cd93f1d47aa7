from __future__ import annotations

import numpy as np
import pytest

from router.dial import Dial, PoolMeans, Setting, choose
from router.training.certify.path import certification_path, path_of_dial


def _prompts(n: int = 800, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Expected quality and energy, quality and energy of a ladder of three models."""
    rng = np.random.default_rng(seed)
    hard = rng.random((n, 1))
    chance = np.clip(1.2 - hard * [1.4, 0.9, 0.4], 0.02, 0.98)
    energy_j = np.array([1.0, 8.0, 60.0]) * np.exp(0.1 * rng.standard_normal((n, 3)))
    return chance, energy_j, (rng.random((n, 3)) < chance).astype(float), energy_j


def _path(n_calibration: int = 500, **changes: np.ndarray) -> tuple[Setting, ...]:
    expected, cost, quality, energy_j = _prompts()
    quality = changes.get("quality", quality)
    means = PoolMeans.of(quality, energy_j)
    return certification_path(expected, cost, quality, energy_j, means, 2, n_calibration)


def test_the_path_goes_from_careful_to_cheap() -> None:
    expected, cost, quality, energy_j = _prompts()
    path = _path()
    means = PoolMeans.of(quality, energy_j)
    rows = np.arange(len(quality))
    chosen = [choose(expected, cost, means, setting) for setting in path]
    spent = np.array([energy_j[rows, column].mean() for column in chosen])
    kept = np.array([quality[rows, column].mean() for column in chosen])
    assert 10 < len(path) <= 120
    assert spent[0] < energy_j[:, 2].mean()
    assert (np.diff(np.log(spent)) < -0.0249).all()
    assert kept[0] > 0.97 * quality[:, 2].mean()
    assert kept[-1] < kept[0] - 0.1


def test_few_calibration_prompts_make_a_careful_start() -> None:
    expected, cost, quality, energy_j = _prompts()
    means = PoolMeans.of(quality, energy_j)

    def moved(n_calibration: int) -> float:
        first = _path(n_calibration)[0]
        return float((choose(expected, cost, means, first) != 2).mean())

    assert moved(100) <= moved(1_000_000)


def test_without_a_prompt_that_all_models_answered_there_is_no_path() -> None:
    quality = _prompts()[2]
    quality[::2, 0] = np.nan
    quality[1::2, 1] = np.nan
    expected, cost, _, energy_j = _prompts()
    means = PoolMeans((0.5, 0.6, 0.9), (1.0, 8.0, 60.0))
    assert certification_path(expected, cost, quality, energy_j, means, 2, 500) == ()


def test_a_reference_model_that_is_never_right_has_no_path() -> None:
    assert _path(quality=np.zeros((800, 3))) == ()


def test_prompts_with_gaps_are_left_out() -> None:
    quality = _prompts()[2]
    quality[:10, 1] = np.nan
    assert len(_path(quality=quality)) > 5


def test_the_path_of_a_dial_is_its_frontier() -> None:
    settings = tuple(Setting(price, 0.0) for price in (4.0, 3.0, 2.0, 1.0, 0.0))
    means = PoolMeans((0.5, 0.9), (1.0, 9.0))
    dial = Dial(settings, (0.4, 0.8, 0.79, 0.9, 0.99), (0.1, 0.3, 0.5, 0.8, 1.2), means, 100)
    # too bad, too dear or beaten by something cheaper: three settings fall out
    assert path_of_dial(dial) == (settings[3], settings[1])


@pytest.mark.parametrize("n_calibration", [0, 1])
def test_no_calibration_prompts_are_no_error(n_calibration: int) -> None:
    _path(n_calibration)
