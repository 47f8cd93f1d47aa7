from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor, FeatureSpec
from router.training import fitting, simulate_redrawn
from router.training.simulate_redrawn import main, redrawn_figures


@pytest.fixture
def prompts(make_matrix, pool) -> PoolPrompts:
    extractor = FeatureExtractor(FeatureSpec(n_buckets=2**10))
    return PoolPrompts.prepare(make_matrix(300), pool, extractor=extractor)


def test_the_second_router_sees_grades_that_follow_the_probabilities(
    prompts: PoolPrompts, pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    seen = []
    original = simulate_redrawn.fit_split

    def fit_split(split, *args, **words):
        seen.append(split)
        return original(split, *args, **words)

    even = np.arange(len(prompts)) % 2 == 0
    sure = np.stack([even, ~even, np.ones_like(even)], axis=1)
    monkeypatch.setattr(simulate_redrawn, "fit_split", fit_split)
    monkeypatch.setattr(simulate_redrawn, "_probabilities", lambda *args: sure.astype(float))
    found = redrawn_figures(prompts, pool, 0, n_jobs=1)
    real, drawn = seen
    assert drawn.extra is None
    assert real.train.prompt_ids == drawn.train.prompt_ids
    index = [prompts.cells.prompt_ids.index(name) for name in drawn.train.prompt_ids]
    np.testing.assert_array_equal(drawn.train.quality, sure[index])  # certain, so no luck
    assert (real.train.quality != sure[index]).any()
    # who knows which half of the prompts the small models get right beats who has to guess it
    assert found.known < found.redrawn


def test_the_figures_depend_on_the_seed_alone(
    prompts: PoolPrompts, pool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    first, again, other = (redrawn_figures(prompts, pool, seed, n_jobs=1) for seed in (0, 0, 1))
    assert first == again != other
    assert np.isfinite([first.real, first.redrawn, first.known]).all()


def test_the_command(
    make_matrix, make_frame, pool_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    make_frame(make_matrix(120)).to_csv(tmp_path / "runs.csv", index=False)
    named = tmp_path / "named.toml"
    named.write_text(f'runs = "{tmp_path / "runs.csv"}"\n{pool_file.read_text()}')
    words = [str(named), "--seeds", "2", "--jobs", "1"]
    result = CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    ((name, rows),) = json.loads(result.stdout).items()
    assert [set(row) for row in rows] == [{"real", "redrawn", "known"}] * 2
    shown = CliRunner().invoke(main, words, catch_exceptions=False).stdout.splitlines()[-1]
    mean = np.mean([row["redrawn"] for row in rows])
    assert shown.split()[0] == name
    assert f"{mean:.3f}" in shown.split()
    wrong = CliRunner().invoke(main, [str(tmp_path / "none.toml")])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: ")
    assert "none.toml" in wrong.stderr
