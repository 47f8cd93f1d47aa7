"""A small router from arrays: three models, four embedding dimensions, a bank of twelve."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

import fault_server as faults
from router.artifact import Artifact, write_artifact
from router.blocks import BlockScaler
from router.calibration import Calibration, GroupEvidence
from router.dial import Dial, PoolMeans, Setting
from router.features import FeatureExtractor, FeatureSpec
from router.floors import FloorEvidence
from router.model import NeighbourHead, QualityLink, RouterModel
from router.pool import Pool, PoolModel
from router.recalibration import KNOTS, Recalibration
from router.router import Router
from router.textprofile import PROFILE_NAMES
from router.textstats import STATISTIC_NAMES
from router.trees import LEAF_THRESHOLD, TreeEnsemble

GOLDEN = ("Why is the sky blue?", "Compute 12 + 34 * 5.", "")
CARD = "# A small router\n"


class LetterEncoder:
    """Four numbers from the text's hash; the same text gives the same row anywhere."""

    name = "letters"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        digests = [hashlib.sha256(text.encode()).digest()[:4] for text in texts]
        rows = np.frombuffer(b"".join(digests), np.uint8).reshape(len(texts), 4)
        return rows.astype(np.float32) / 255.0

    def fingerprint(self) -> str:
        return self.name


MakeArtifact: TypeAlias = Callable[..., Artifact]


@pytest.fixture(scope="session")
def encoder() -> LetterEncoder:
    return LetterEncoder()


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    return FeatureSpec(encoder="letters", max_chars=400, n_buckets=64)


@pytest.fixture(scope="session")
def extractor(spec: FeatureSpec, encoder: LetterEncoder) -> FeatureExtractor:
    return FeatureExtractor(spec, encoder)


@pytest.fixture(scope="session")
def model(extractor: FeatureExtractor) -> RouterModel:
    """Quality of about 0.5, 0.75 and 0.9, answers of about 100, 200 and 400 tokens."""
    rng = np.random.default_rng(7)
    n_features, n_columns, n_waves = len(extractor.dense_names), extractor.n_columns, 8
    n_latents = 9  # two of a logistic link, three of a linear one, four of lengths

    def small(*shape: int) -> NDArray[np.float32]:
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    scaler = BlockScaler(
        mean=small(n_features),
        scale=np.full(n_features, 0.5, np.float32),
        idf=rng.uniform(1.0, 5.0, n_columns).astype(np.float32),
        frequencies=small(n_features, n_waves),
        n_embedding=4,
    )
    links = (
        QualityLink(slice(0, 2), rng.standard_normal((2, 3)), np.array([0.0, 1.1, 2.2]), True, 0.6),
        QualityLink(slice(2, 5), np.eye(3), np.array([0.5, 0.75, 0.9]), False, 0.4),
    )
    intercept = [0.0] * 5 + np.log([100.0, 200.0, 400.0]).tolist() + [np.log(0.25)]
    return RouterModel(
        scaler=scaler,
        dense_weights=small(n_features + 2 * n_waves, n_latents),
        ngram_weights=small(n_columns, n_latents).astype(np.float16),
        intercept=np.array(intercept, np.float32),
        neighbours=NeighbourHead.build(
            (3, 50), small(12, n_features), (small(12, n_latents), small(12, n_latents))
        ),
        cluster_centres=small(2, n_features),
        cluster_values=small(2, n_latents),
        trees=two_trees(small(5, n_latents)),
        links=links,
        token_factor=np.array([1.0, 1.1, 1.2]),
        token_limit=np.array([2000.0, 3000.0, 4000.0]),
        recalibration=Recalibration(KNOTS * np.array([[0.9], [1.0], [1.1]])),
    )


def two_trees(values: NDArray[np.float32]) -> TreeEnsemble:
    """One tree asks for letters and then for digits, the other for the number of words."""
    letters = len(STATISTIC_NAMES) + PROFILE_NAMES.index("log_count_of_'a'")
    digits = len(STATISTIC_NAMES) + PROFILE_NAMES.index("most_digits")
    words = len(STATISTIC_NAMES) + PROFILE_NAMES.index("log_words")
    last = LEAF_THRESHOLD
    values = values.astype(np.float16).astype(np.float32)
    return TreeEnsemble(
        roots=np.array([0, 5], np.int32),
        column=np.array([letters, digits, 0, 0, 0, words, 0, 0], np.int32),
        threshold=np.array([0.5, 1.0, last, last, last, 1.5, last, last], np.float32),
        left=np.array([1, 3, 2, 3, 4, 6, 6, 7], np.int32),
        row=np.array([0, 0, 0, 1, 2, 0, 3, 4], np.int32),
        values=values,
        mean=values.mean(axis=0),
        depth=2,
    )


def pool_model(name: str, joules: float, basis: Any) -> PoolModel:
    return PoolModel(name, f"api/{name}", joules / 4, joules, 0.5, 2.0, basis)


@pytest.fixture(scope="session")
def make_artifact(
    model: RouterModel, spec: FeatureSpec, extractor: FeatureExtractor
) -> MakeArtifact:
    """Return the small artifact, with whatever is given in the place of its parts."""
    characters = np.array([max(len(prompt), 1) for prompt in GOLDEN], float)
    quality = model.score(extractor.extract(GOLDEN), characters).quality
    artifact = Artifact(
        model=model,
        pool=Pool(
            "small pool",
            (
                pool_model("small", 0.1, "measured"),
                pool_model("medium", 0.5, "estimated"),
                pool_model("large", 4.0, "estimated"),
            ),
        ),
        reference=2,
        dial=Dial(
            (
                Setting(1.0, 0.0),
                Setting(0.001, 0.0),
                Setting(0.0001, 0.0),
                Setting(0.003, 0.5),
                Setting(1.0, 1.0),
            ),
            (0.6, 0.9, 0.98, 0.8, 0.5),
            (0.01, 0.1, 0.4, 0.05, 0.005),
            PoolMeans((0.5, 0.6, 0.8), (5.0, 50.0, 900.0)),
            300,
        ),
        token_low=(0.5, 0.6, 0.7),
        token_high=(1.5, 1.6, 1.7),
        assumed_tokens=(False, False, True),
        features=spec,
        fingerprint=extractor.fingerprint(),
        golden=tuple(
            (prompt, tuple(np.round(row, 6).tolist()))
            for prompt, row in zip(GOLDEN, quality, strict=True)
        ),
        lineage={"seed": 0, "data_digest": "none"},
    )

    def make(**parts: Any) -> Artifact:
        return replace(artifact, **parts)

    return make


@pytest.fixture(scope="session")
def artifact(make_artifact: MakeArtifact) -> Artifact:
    return make_artifact()


@pytest.fixture(scope="session")
def small_router(artifact: Artifact, encoder: LetterEncoder) -> Router:
    return Router(artifact, encoder=encoder)


@pytest.fixture(scope="session")
def promising_router(artifact: Artifact, encoder: LetterEncoder) -> Router:
    """Promises bars up to 0.98 with a confidence of 0.9, bars up to 0.8 for ``maths``."""
    path = (Setting(0.0001, 0.0), Setting(0.003, 0.0))
    of_all = GroupEvidence("", 400, 0.8, (0.99, 0.9), (0.6, 0.2), (0.2, 0.3), ((2, 1, 0),))
    of_maths = replace(of_all, name="maths", n=70, steps=((1, 0, 0),))
    counts = (((90, 90, 90),) * 3,)
    calibration = Calibration(
        path=path,
        confidences=(0.9,),
        bars=(0.8, 0.98, 1.0),
        groups=(of_all, of_maths),
        floors=FloorEvidence(400, (0.7,), (*path, None), counts, counts, (((1, 1, 0),) * 3,)),
        method="exact",
        date="2026-11-23",
        data_digest="ab",
    )
    return Router(replace(artifact, calibration=calibration), encoder=encoder)


@pytest.fixture
def stored(artifact: Artifact, tmp_path: Path) -> Path:
    folder = tmp_path / "stored"
    write_artifact(artifact, folder, CARD)
    return folder


@pytest.fixture(scope="session")
def prompts() -> list[Any]:
    """Texts of every kind and chat messages."""
    return [
        "",
        "a",
        "What is 12 + 34?",
        "Write a Python function.\n```\ndef f(x):\n    return x\n```",
        "Über größere naïve Fälle — 为什么? 😀",
        "lone surrogate \ud800 inside",
        "Question " * 200 + "end?",
        *(f"Prompt number {i} about {'letters' * (i % 5)}." for i in range(40)),
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    ]


@pytest.fixture
def fault_server() -> Iterator[Any]:
    """A running FaultServer."""
    with faults.FaultServer() as server:
        yield server
