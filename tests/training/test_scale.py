from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.features import FeatureExtractor
from router.pool import load_pool
from router.training import scale
from router.training.ingest import load_runs
from router.training.scale import Measurement, linear_ratios, measure, write_runs

LEAST_GIB = 0.1  # what Python and its libraries take


def test_runs_are_like_real_ones(tmp_path: Path):
    write_runs(tmp_path, 400, 5)
    runs = load_runs(tmp_path / "runs.parquet")
    matrix = runs.to_matrix()
    assert matrix.quality.shape == (400, 5)
    assert len(np.unique(matrix.groups)) == 400
    assert load_pool(tmp_path / "pool.toml").names == matrix.models
    # of 2,000 prompts of the benchmark pools: 375 characters and 635 n-grams
    assert 250 < np.mean([len(prompt) for prompt in matrix.prompts]) < 600
    features = FeatureExtractor().extract(matrix.prompts)
    assert 500 < features.indptr[-1] / 400 < 1000
    quality = matrix.quality.mean(axis=0)
    assert 0.05 < quality.min() < quality.max() < 0.98
    assert matrix.completion_tokens.min() >= 1
    assert not np.isnan(matrix.prompt_tokens).any()


def test_the_seed_decides(tmp_path: Path):
    stored = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        write_runs(tmp_path / name, 30, 2, seed=seed)
        stored.append(load_runs(tmp_path / name / "runs.parquet").digest)
    assert stored[0] == stored[1] != stored[2]


def test_stages_are_read_from_the_progress():
    lines = [
        "    1.5 s  120 runs of 40 prompts and 3 models from 1 file",
        "    2.0 s  features of 40 prompts",
        "    5.0 s  cross-fitting 15 heads on 30 prompts",
        "a warning of some library",
        "   11.0 s  stacking",
        "   11.5 s  fitting on all prompts",
        "   13.5 s  router written to router",
        "   14.0 s  done",
    ]
    spent = {name: seconds for name, seconds in scale._stages(lines).items() if seconds}
    assert spent == {
        "files": 2.5,
        "features": 3.0,
        "cross-fitting": 6.0,
        "stacking": 0.5,
        "fitting": 2.0,
    }


def found(n_prompts: int, cpu_s: float) -> Measurement:
    return Measurement(n_prompts, 12, {}, total_s=1.0, cpu_s=cpu_s, peak_gib=1.0)


def test_ratios_are_to_the_smallest():
    trainings = [found(400, 8.0), found(100, 1.0), found(200, 2.0)]
    assert linear_ratios(trainings) == pytest.approx([2.0, 1.0, 1.0])


def test_a_table_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    seen = []

    def stand_in(n_prompts: int, n_models: int, *, options: list[str]) -> Measurement:
        seen.append((n_prompts, n_models, options))
        return Measurement(n_prompts, n_models, {"files": 1.0}, 3.0, 2.0 * n_prompts, 0.5)

    monkeypatch.setattr(scale, "measure", stand_in)
    scale.main(["4000", "1000", "--models", "3", "--jobs", "1"])
    assert seen == [(1000, 3, ["--jobs", "1"]), (4000, 3, ["--jobs", "1"])]
    header, _, first, second = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "prompts"
    assert first.split()[0] == "1,000"
    assert second.split()[-1] == "1.00"
    scale.main(["1000", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["n_prompts"], row["peak_gib"], row["linear"]) == (1000, 0.5, 1.0)


def test_a_training_that_fails_says_why(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        scale.main(["5", "--models", "2"])
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "error: training failed: error: 5 distinct graded prompts: at least 20" in line


@pytest.mark.parametrize("words", [["0"], ["x"], [], ["100", "--models", "-2"]])
def test_sizes_that_are_none(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        scale.main(words)
    assert "error: " in capsys.readouterr().err


@pytest.mark.slow
def test_time_and_memory_grow_no_faster_than_the_prompts():
    """Time is that of the processor, so that other work on the machine hardly changes it."""
    few, many = (measure(n_prompts) for n_prompts in (2_000, 9_000))
    assert sum(many.stages_s.values()) <= many.total_s
    assert min(many.stages_s[stage] for stage in ("features", "cross-fitting", "fitting")) > 0
    assert linear_ratios([few, many])[1] < 1.3
    assert LEAST_GIB < few.peak_gib < many.peak_gib < 1.5
