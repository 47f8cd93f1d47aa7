from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from click.testing import CliRunner

from router.dial import PoolMeans
from router.training.certify.__main__ import simulate_promise
from router.training.certify.population import Population, population_of
from router.training.certify.simulate import Cell, render_cells, simulate


def _ladder(n: int, seed: int, *, fractions: bool = False) -> tuple[np.ndarray, ...]:
    """Expected quality and energy, quality and energy of three models; the heads are noisy."""
    rng = np.random.default_rng(seed)
    hard = rng.random((n, 1))
    chance = np.clip(1.25 - hard * [1.4, 1.1, 0.6], 0.02, 0.97)
    noise = 0.6 * rng.standard_normal((n, 3))
    expected = 1 / (1 + np.exp(-(np.log(chance / (1 - chance)) + noise)))
    quality = (rng.random((n, 3)) < chance).astype(float)
    if fractions:
        quality = np.where(rng.random((n, 3)) < 0.3, 0.25 + quality / 2, quality)
    energy_j = np.array([1.0, 8.0, 60.0]) * np.exp(0.4 * rng.standard_normal((n, 3)))
    return expected, np.tile([1.0, 8.0, 60.0], (n, 1)), quality, energy_j


def make_population(n: int = 2000, **options: bool) -> Population:
    training = _ladder(800, 1, **options)
    means = PoolMeans.of(training[2], training[3])
    return Population(*_ladder(n, 2, **options), training, means, 2)


@pytest.fixture(scope="module")
def population() -> Population:
    return make_population()


def broken_no_more_than_promised(cells: list[Cell]) -> None:
    for cell in cells:
        assert cell.limit == pytest.approx(
            cell.error + 3 * sqrt(cell.error * (1 - cell.error) / cell.draws)
        )
        assert cell.kept, cell


def test_certificates_are_right_as_often_as_they_say(population: Population) -> None:
    cells = simulate(population, sizes=(200, 600), bars=(0.9, 0.98), draws=60)
    assert [(c.n, c.bar, c.error) for c in cells[:4]] == [
        (200, 0.9, 0.1),
        (200, 0.9, 0.2),
        (200, 0.98, 0.1),
        (200, 0.98, 0.2),
    ]
    broken_no_more_than_promised(cells)
    # what is promised is not nothing
    assert all(cell.energy < 0.9 for cell in cells if cell.bar == 0.9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "betting"])
@pytest.mark.parametrize("fractions", [False, True])
def test_certificates_are_right_in_many_draws(method: str, fractions: bool) -> None:
    population = make_population(fractions=fractions)
    cells = simulate(population, sizes=(300, 1000), draws=250, method=method)
    broken_no_more_than_promised(cells)


@pytest.mark.slow
def test_a_path_that_all_breaks_the_bar_is_hardly_ever_certified() -> None:
    """The worst case: every setting keeps just less than the bar."""
    rng = np.random.default_rng(3)
    n = 4000
    reference = (rng.random(n) < 0.8).astype(float)
    loses = np.zeros(n, bool)
    right = np.flatnonzero(reference)
    loses[right[: round(0.0525 * len(right))]] = True  # keeps 0.9475
    quality = np.stack([np.where(loses, 0.0, reference), reference], axis=1)
    energy_j = np.tile([1.0, 10.0], (n, 1))
    expected = np.tile([0.75, 0.8], (n, 1)) + 0.01 * rng.standard_normal((n, 2))
    means = PoolMeans.of(quality, energy_j)
    population = Population(
        expected, energy_j, quality, energy_j, (expected, energy_j, quality, energy_j), means, 1
    )
    bar = float(quality[:, 0].mean() / quality[:, 1].mean()) + 1e-3
    cells = simulate(population, sizes=(400,), bars=(bar,), draws=400)
    broken_no_more_than_promised(cells)


def test_more_prompts_cost_less_energy(population: Population) -> None:
    cells = simulate(population, sizes=(150, 1500), bars=(0.95,), errors=(0.1,), draws=40)
    assert cells[1].energy < cells[0].energy
    assert cells[1].energy_ratio < cells[0].energy_ratio


def test_the_exact_test_costs_less_energy_than_betting(population: Population) -> None:
    exact, betting = (
        simulate(population, sizes=(500,), bars=(0.95,), errors=(0.1,), draws=30, method=method)
        for method in ("exact", "betting")
    )
    assert exact[0].energy < betting[0].energy


def test_the_same_seed_draws_the_same(population: Population) -> None:
    first = simulate(population, sizes=(200,), bars=(0.95,), draws=10)
    assert first == simulate(population, sizes=(200,), bars=(0.95,), draws=10)
    assert first != simulate(population, sizes=(200,), bars=(0.95,), draws=10, seed=1)


def test_what_the_population_itself_would_allow(population: Population) -> None:
    energies = [population.least_energy(bar) for bar in (0.8, 0.9, 0.95, 1.0)]
    assert energies == sorted(energies)
    assert 0 < energies[0] < energies[2] < 1


def test_no_test_of_paired_differences_does_without_a_margin(population: Population) -> None:
    path = population.path(500)
    few, some, many = (population.ideal_energy(path, n, 0.95, 0.1) for n in (50, 500, 10**9))
    assert few > some > many
    # it sees what the path has on the whole population, and no more
    assert population.least_energy(0.95) <= many * 1.05
    assert population.ideal_energy(path, 500, 0.95, 0.01) > some
    assert population.ideal_energy((), 500, 0.95, 0.1) == 1.0
    cell = simulate(population, sizes=(500,), bars=(0.95,), errors=(0.1,), draws=2)[0]
    assert cell.ideal_ratio == pytest.approx(some / population.least_energy(0.95))


def test_what_the_expectations_explain_of_the_differences(population: Population) -> None:
    assert 0.0 < population.explained(0.9) < 1.0
    told = replace(population, expected_quality=population.quality)
    assert told.explained(0.95) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    blind = replace(population, expected_quality=rng.random(population.quality.shape))
    assert blind.explained(0.7) < 0.05
    said: list[str] = []
    simulate(population, sizes=(100,), bars=(0.9,), draws=1, progress=said.append)
    assert f"{population.explained(0.9):.3f} at 0.9" in said[0]


def test_the_table_has_a_row_for_each_cell(population: Population) -> None:
    cells = simulate(population, sizes=(200,), bars=(0.9,), draws=5)
    lines = render_cells(cells).splitlines()
    assert len(lines) == 2 + len(cells)
    assert lines[2].startswith("| 200 | 0.9 | 0.9 | ")
    assert json.loads(json.dumps(cells[0].to_dict()))["kept"] is True


def test_the_population_shares_no_text_with_the_training(make_matrix, pool) -> None:
    matrix = make_matrix(150)
    found = population_of(matrix, pool, seed=1, n_jobs=1)
    assert len(found.quality) + len(found.training[2]) == 150
    assert 50 <= len(found.training[2]) <= 70
    seen = {tuple(row) for row in found.training[3].round(9).tolist()}
    assert not seen & {tuple(row) for row in found.energy_j.round(9).tolist()}


def test_the_command_prints_the_table(make_matrix, make_frame, pool, tmp_path) -> None:
    make_frame(make_matrix(150)).to_csv(tmp_path / "runs.csv", index=False)
    text = pool.to_toml().replace("[[model]]", 'runs = "runs.csv"\n\n[[model]]', 1)
    (tmp_path / "pool.toml").write_text(text, encoding="utf-8")
    words = [str(tmp_path / "pool.toml"), "--draws", "3", "--size", "60", "--jobs", "1"]
    result = CliRunner().invoke(simulate_promise, [*words, "--json"])
    assert result.exit_code in (0, 1), result.output
    cells = json.loads(result.stdout)
    assert len(cells) == 6
    assert {"n", "bar", "broken", "energy_ratio", "ideal_ratio"} <= set(cells[0])
