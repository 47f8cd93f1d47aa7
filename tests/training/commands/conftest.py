from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.eval.matrix import AnswerMatrix
from router.training import fitting


@dataclass
class Here:
    """A working folder with runs in three formats, a pool file and a router."""

    folder: Path
    frame: pd.DataFrame

    def run(self, *words: object, code: int = 0) -> Result:
        """Run a command in the folder and check its exit code."""
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result

    def train(self, *words: object, code: int = 0) -> Result:
        """Train quickly: no held-out splits, no MLflow."""
        words = ("train", *words, "--splits", 0, "--no-tracking")
        return self.run(*words, code=code)

    def fails(self, *words: object) -> str:
        """Run a command that must fail, and return its one line of error."""
        result = self.run(*words, code=2)
        assert result.stdout == ""
        errors = [line for line in result.stderr.splitlines() if not re.match(r" +[\d.]+ s ", line)]
        assert errors[0].startswith("error: ")
        assert len(errors) == 1, errors
        return errors[0].removeprefix("error: ")


@pytest.fixture(scope="session")
def material(
    make_matrix: Callable[..., AnswerMatrix],
    make_frame: Callable[[AnswerMatrix], pd.DataFrame],
    pool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Here:
    folder = tmp_path_factory.mktemp("commands")
    frame = make_frame(make_matrix(60))
    frame.to_csv(folder / "runs.csv", index=False)
    frame.to_parquet(folder / "runs.parquet", index=False)
    frame.to_json(folder / "runs.jsonl", orient="records", lines=True)
    make_frame(make_matrix(90, seed=1)).to_csv(folder / "new.csv", index=False)
    (folder / "pool.toml").write_text(pool.to_toml(), encoding="utf-8")
    here = Here(folder, frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        here.train("runs.csv", "--pool", "pool.toml", "--out", "router")
    return here


@pytest.fixture
def here(material: Here, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(material.folder)
    monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
    return material
