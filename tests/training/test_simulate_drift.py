from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from router.training import fitting, simulate_drift
from router.training.simulate_drift import main


@pytest.mark.slow
def test_streams_of_a_trained_router(
    make_matrix, make_frame, pool_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    monkeypatch.setattr(simulate_drift, "_HORIZON", 250)
    monkeypatch.setattr(simulate_drift, "_LATE", 200)
    runs = tmp_path / "runs.csv"
    make_frame(make_matrix(900)).to_csv(runs, index=False)
    words = [str(pool_file), str(runs), "--streams", "6", "--length", "500", "--drop", "0.1"]
    result = CliRunner().invoke(main, [*words, "--jobs", "1", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    none, once, exchangeable, *drifts = json.loads(result.stdout)
    # with so few held-out prompts false alarms say little: test_monitor_drift.py bounds them
    assert (none["drift"], none["n_streams"]) == (None, 6)
    assert once["name"] == "none, each prompt once"
    assert exchangeable["false_alarms"][0] <= 0.5
    assert [d["drift"]["kind"] for d in drifts] == [
        "random failures",
        "random failures",
        "less able",
        "less able",
        "one model",
    ]
    for found in drifts[:4]:
        assert found["median_delay"][0] <= 250
    unseen = CliRunner().invoke(main, [*words, "--unseen", "puzzles"], catch_exceptions=False)
    assert "new prompts 0.2" in unseen.stdout
    shown = CliRunner().invoke(
        main, [*words, "--seeds", "2", "--jobs", "1"], catch_exceptions=False
    )
    assert "seed 1: " in shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines() if "random failures 0.1" in line]
    assert [row[0] for row in rows] == ["0", "0", "1", "1", "all", "all"]
    assert [row[5] for row in rows] == ["6"] * 4 + ["12"] * 2


def test_wrong_input_is_one_line(make_matrix, make_frame, pool_file: Path, tmp_path: Path):
    runs = tmp_path / "runs.csv"
    make_frame(make_matrix(60)).to_csv(runs, index=False)
    for words, message in (
        ([tmp_path / "none.toml"], "none.toml"),
        ([pool_file, runs, "--unseen", "poems"], "no task label has the part 'poems'"),
    ):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 2
        error = result.stderr.splitlines()[-1]
        assert error.startswith("error: ")
        assert message in error
