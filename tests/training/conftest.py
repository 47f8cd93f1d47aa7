"""Small synthetic evaluation runs: the text of a prompt tells which model can answer it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from router.eval.matrix import AnswerMatrix, Prompt
from router.eval.protocol import true_energy
from router.features import FeatureExtractor, Features, FeatureSpec
from router.mlflow_store import open_client
from router.pool import Pool, PoolModel
from router.training.blocks import fit_scaler
from router.training.fitting import FittedRouter, fit_router
from router.training.heads import HeadBank, TrainingBlocks
from router.training.targets import Targets, build_targets

_SPEC = FeatureSpec(n_buckets=2**12)  # smaller than by default, to be quick
_NAMES = ("small", "middle", "large")
_JOULES = (0.1, 0.5, 5.0)
_THINGS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "hammer")
_KINDS = (
    ("sums", "Add {a} to {b}, take {c} away and give the number that comes out."),
    ("words", "Describe the {x} and the {y} in a poem about {z}, with {a} verses."),
    ("puzzles", "Prove that no {x} of {a} pieces fits a {y} of {b} pieces; find a {z}."),
)
# chance of a right answer: rows are kinds, columns are models
_CHANCE = np.array([[0.95, 0.30, 0.90], [0.10, 0.95, 0.90], [0.05, 0.05, 0.80]])
_TOKENS = np.array([[40.0, 60.0, 80.0], [200.0, 150.0, 300.0], [400.0, 300.0, 900.0]])


@dataclass(frozen=True, slots=True)
class Problem:
    """All that the fit of a router takes."""

    matrix: AnswerMatrix
    pool: Pool
    features: Features
    targets: Targets
    energy_j: np.ndarray

    def fit(self, seed: int = 0) -> FittedRouter:
        return fit_router(
            self.features, self.targets, self.matrix.groups, self.energy_j, self.pool, seed=seed
        )

    def bank(self, seed: int = 0) -> HeadBank:
        return HeadBank(TrainingBlocks.build(fit_scaler(self.features), self.features), seed=seed)


def _pool(assumed: float | None = None) -> Pool:
    return Pool(
        "three",
        tuple(
            PoolModel(
                name=name,
                api_id=f"{name}-api",
                joules_per_prompt_token=joules / 10,
                joules_per_completion_token=joules,
                low_factor=0.5,
                high_factor=2.0,
                basis="estimated",
                assumed_completion_tokens=assumed,
            )
            for name, joules in zip(_NAMES, _JOULES, strict=True)
        ),
    )


def _matrix(n: int = 240, seed: int = 0, prompts: Sequence[Prompt] | None = None) -> AnswerMatrix:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(_KINDS), n)
    texts = []
    for kind in kinds:
        a, b, c = rng.integers(2, 10_000, 3)
        x, y, z = rng.choice(_THINGS, 3, replace=False)
        texts.append(_KINDS[kind][1].format(a=a, b=b, c=c, x=x, y=y, z=z))
    lengths = _TOKENS[kinds] * np.exp(0.2 * rng.standard_normal((n, 3)))
    return AnswerMatrix(
        prompts=tuple(prompts or texts),
        prompt_ids=tuple(f"p{seed}-{i}" for i in range(n)),
        models=_NAMES,
        quality=(rng.random((n, 3)) < _CHANCE[kinds]).astype(float),
        prompt_tokens=np.repeat([[len(text) / 4] for text in texts], 3, axis=1),
        completion_tokens=np.rint(lengths),
        energy_j=np.full((n, 3), np.nan),
        tasks=tuple(_KINDS[kind][0] for kind in kinds),
        groups=np.unique(texts, return_inverse=True)[1].astype(np.int64),
    )


def _problem(matrix: AnswerMatrix, extra: AnswerMatrix | None = None) -> Problem:
    pool = _pool()
    features = FeatureExtractor(_SPEC).extract(matrix.prompts)
    targets = build_targets(matrix, extra, pool)
    return Problem(matrix, pool, features, targets, true_energy(matrix, pool))


def _frame(matrix: AnswerMatrix) -> pd.DataFrame:
    """Return the runs of a matrix, a row for each graded answer."""
    rows = [
        {
            "prompt_id": matrix.prompt_ids[i],
            "prompt": prompt,
            "model": model,
            "quality": matrix.quality[i, j],
            "prompt_tokens": matrix.prompt_tokens[i, j],
            "completion_tokens": matrix.completion_tokens[i, j],
            "task": matrix.tasks[i],
        }
        for i, prompt in enumerate(matrix.prompts)
        for j, model in enumerate(matrix.models)
        if not np.isnan(matrix.quality[i, j])
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices are faster on one thread, most of all beside other work."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def pool() -> Pool:
    return _pool()


@pytest.fixture(scope="session")
def make_pool() -> Callable[..., Pool]:
    return _pool


@pytest.fixture(scope="session")
def make_matrix() -> Callable[..., AnswerMatrix]:
    return _matrix


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    return _problem


@pytest.fixture(scope="session")
def make_frame() -> Callable[[AnswerMatrix], pd.DataFrame]:
    return _frame


@pytest.fixture(scope="session")
def problem() -> Problem:
    """240 prompts of three kinds, every model graded on each."""
    return _problem(_matrix())


@pytest.fixture(scope="session")
def fitted(problem: Problem) -> FittedRouter:
    return problem.fit()


@pytest.fixture(scope="session")
def problem_with_extra(problem: Problem) -> Problem:
    """The same with two more models, one of them graded on two prompts in three."""
    rng = np.random.default_rng(5)
    noise = rng.random((len(problem.matrix), 2)) < 0.1
    quality = np.abs(problem.matrix.quality[:, :2] - noise)
    quality[rng.random(len(quality)) < 1 / 3, 1] = np.nan
    cells = {
        name: np.full(quality.shape, np.nan)
        for name in ("prompt_tokens", "completion_tokens", "energy_j")
    }
    extra = replace(problem.matrix, models=("other", "rare"), quality=quality, **cells)
    return replace(problem, targets=build_targets(problem.matrix, extra, problem.pool))


@pytest.fixture
def pool_file(tmp_path: Path, pool: Pool) -> Path:
    path = tmp_path / "pool.toml"
    path.write_text(pool.to_toml(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of MLflow without runs: its tables take seconds to make, a copy nothing."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    open_client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="session")
def make_store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that makes a store of its own and returns its tracking URI."""

    def make() -> str:
        return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('store'))}"

    return make


@pytest.fixture(scope="session")
def mlflow_process() -> Callable[[Sequence[str], Path, str], AbstractContextManager[str]]:
    """Starts ``mlflow`` with words in a folder and gives its URL once `ready` below it answers."""

    @contextmanager
    def start(words: Sequence[str], folder: Path, ready: str) -> Iterator[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "mlflow", *words, "--port", str(port), "--workers", "1"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "PATH": path},
                start_new_session=True,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                for _ in range(1200):
                    assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
                    try:
                        urllib.request.urlopen(url + ready, timeout=5).close()
                        break
                    except OSError:
                        time.sleep(0.1)
                yield url
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)

    return start
