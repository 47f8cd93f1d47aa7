from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from router import Router
from router.training import default_runs
from router.training.graded_prompts import load_default_graded_prompts, load_graded_prompts
from router.training.schema import RunsError
from router.training.train import prompt_hashes


def test_runs_become_graded_prompts(tmp_path: Path, make_matrix, make_frame):
    matrix = make_matrix(20)
    matrix.quality[3, 1] = np.nan
    make_frame(matrix).to_csv(tmp_path / "runs.csv", index=False)
    found = load_graded_prompts([tmp_path / "runs.csv"])
    assert found.models == ("large", "middle", "small")
    order = [matrix.prompt_ids.index(name) for name in found.prompt_ids]
    assert found.prompts == tuple(matrix.prompts[i] for i in order)
    assert found.tasks == tuple(matrix.tasks[i] for i in order)
    np.testing.assert_array_equal(found.quality, matrix.quality[order][:, ::-1])
    np.testing.assert_array_equal(found.hashes, prompt_hashes(found.prompts))


def test_the_default_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One task of them: all would take a minute to make again."""
    few = partial(default_runs.load_default_runs, limit_tasks=1, n_jobs=1, progress=False)
    monkeypatch.setattr("router.training.graded_prompts.load_default_runs", few)
    monkeypatch.chdir(tmp_path)
    found = load_default_graded_prompts()
    assert len(found.prompts) > 10
    artifact = Router.load().artifact
    assert set(artifact.pool.names) <= set(found.models)
    assert np.isin(found.hashes, artifact.lineage["prompt_hashes"]).any()


def test_bad_runs_are_refused(tmp_path: Path):
    path = tmp_path / "runs.csv"
    path.write_text("prompt,model,quality\nWhy?,small,9\n")
    with pytest.raises(RunsError, match="quality"):
        load_graded_prompts([path])
