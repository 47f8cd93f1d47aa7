from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.training import fitting
from router.training.leave_one_model_out import Addition
from router.training.simulate_add_model import AdditionTable, main


def row(model: str, seed: int, chosen: str, full: float, gain: float, draw: int = 0) -> Addition:
    return Addition(
        seed, model, 200, chosen, draw, full, full + 0.1, gain, 0.2, 0.0, 0.02, (0.9, 0.94, 1.0),
        (0.91, 0.96, 0.99),
    )  # fmt: skip


@pytest.fixture
def table() -> AdditionTable:
    rows = []
    for seed in (0, 1):
        for model, full, gain in (("a", 1.0, 0.95), ("b", 0.5, 0.25), ("c", 0.0, 0.0)):
            rows += [("one", row(model, seed, "random", full, gain - 0.1, draw)) for draw in (0, 1)]
            rows.append(("one", row(model, seed, "selected", full, gain)))
    return AdditionTable(tuple(rows))


def test_the_figures_of_a_table(table: AdditionTable):
    found = table.summary(("one",), 200)
    assert found["n_models"] == 3
    selected, random = found["selected"], found["random"]
    assert selected["full"].mean == pytest.approx(0.95)  # the median of 0.95, 0.5 and 1
    assert random["full"].mean == pytest.approx(0.5)  # of 0.85, 0.3 and 0.5
    assert selected["told"].mean == pytest.approx(0.5)  # of 0.86, 0.42 and 0.5
    assert (selected["reached"], random["reached"]) == (2, 0)
    assert selected["total"].mean == pytest.approx(1.2 / 1.5)
    assert found["gain"].mean == pytest.approx(0.1)
    assert found["brier"].mean == 0.0
    assert [kept for _, kept, _, _ in table.broken(200)] == [1.0, 0.0, 1.0]


def test_seeds_that_lack_a_model_are_left_out(table: AdditionTable):
    rows = [r for r in table.rows if not (r[1].seed == 1 and r[1].model == "a")]
    found = AdditionTable(tuple(rows)).grid(("one",), 200, "selected", lambda a: a.gain)
    assert found.shape == (3, 1)


@pytest.mark.slow
def test_a_run_is_kept_and_not_repeated(
    make_matrix, make_frame, pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    make_frame(make_matrix(200)).to_csv(tmp_path / "runs.csv", index=False)
    pool_file = tmp_path / "pool.toml"
    text = pool.to_toml().replace("\n", '\nruns = "runs.csv"\n', 1)
    pool_file.write_text(text, encoding="utf-8")
    kept = tmp_path / "rows.jsonl"
    words = [str(pool_file), "--sizes", "30,40", "--draws", "1", "--rows", str(kept)]
    first = CliRunner().invoke(main, [*words, "--jobs", "1"], catch_exceptions=False)
    assert first.exit_code == 0, first.stderr
    assert "Median over models" in first.stdout
    assert "seed 0: fitting" in first.stderr
    assert len(kept.read_text().splitlines()) == 3 * 2 * 2
    again = CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)
    assert "fitting" not in again.stderr
    shown = json.loads(again.stdout)
    assert [part["n"] for part in shown["summary"]["three"]] == [30, 40]
    assert len(shown["rows"]) == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [(["none.toml"], "none.toml"), (["none.toml", "--sizes", "many"], "--sizes many")],
)
def test_wrong_input_is_one_line(words: list[str], message: str):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert message in result.stderr
