from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from router.training import fitting
from router.training.certify.__main__ import simulate_promise
from router.training.certify.population import GradedRuns
from router.training.certify.share import main, share_cells


@pytest.fixture(scope="module")
def runs(make_matrix, pool) -> GradedRuns:
    return GradedRuns.of(make_matrix(700), pool)


def test_what_is_held_out_certifies_and_the_rest_trains(
    runs: GradedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    seen = []
    population = GradedRuns.population

    def noted(self: GradedRuns, train, rest, **options):
        seen.append((set(self.cells.groups[train]), set(self.cells.groups[rest])))
        return population(self, train, rest, **options)

    monkeypatch.setattr(GradedRuns, "population", noted)
    cells = list(share_cells(runs, (0.25, 0.01), draws=3, n_jobs=1))
    # with one prompt in a hundred held out there is nothing to certify on
    assert [(c.share, c.bar) for c in cells] == [(0.25, 0.9), (0.25, 0.95), (0.25, 0.98)]
    assert len(seen) == 1
    assert not seen[0][0] & seen[0][1]
    for cell in cells:
        assert cell.n_calibration == pytest.approx(cell.n_training / 3, abs=10)
        assert 0.0 < cell.own <= 1.0
        assert 0.0 < cell.energy <= 1.0 + 1e-9
        assert 0.8 < cell.quality < 1.2
    energies = [cell.energy for cell in cells]
    assert energies == sorted(energies)


def test_some_of_a_population_is_one(runs: GradedRuns) -> None:
    every = np.arange(len(runs.cells))
    population = runs.population(every[:300], every[300:], n_jobs=1)
    some = population.rows(np.arange(50, 90))
    np.testing.assert_array_equal(some.quality, population.quality[50:90])
    assert some.training is population.training
    assert some.reference == population.reference


def test_the_command_prints_a_row_for_each_bar(
    make_matrix, make_frame, pool, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    make_frame(make_matrix(700)).to_csv(tmp_path / "runs.csv", index=False)
    text = pool.to_toml().replace("[[model]]", 'runs = "runs.csv"\n\n[[model]]', 1)
    (tmp_path / "pool.toml").write_text(text, encoding="utf-8")
    words = [str(tmp_path / "pool.toml"), "--seeds", "1", "--share", "0.3", "--jobs", "1"]
    shown = CliRunner().invoke(main, words, catch_exceptions=False)
    assert shown.exit_code == 0
    assert [line.split()[2] for line in shown.stdout.splitlines()[2:]] == ["0.9", "0.95", "0.98"]
    cells = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert {cell["share"] for cell in cells} == {0.3}
    assert CliRunner().invoke(main, [*words, "--share", "1"]).exit_code == 2


@pytest.mark.parametrize("command", [main, simulate_promise])
def test_a_pool_file_that_is_not_there_is_one_line(command, tmp_path) -> None:
    failed = CliRunner().invoke(command, [str(tmp_path / "none.toml")])
    assert failed.exit_code == 2
    assert failed.stderr.startswith("error: ")
    assert "none.toml" in failed.stderr
