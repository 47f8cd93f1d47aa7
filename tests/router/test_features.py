from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import router.features as features_module
from router.encoders import PrecomputedEncoder
from router.errors import ConfigError
from router.features import FeatureExtractor, Features, FeatureSpec
from router.textstats import STATISTIC_NAMES, text_statistics

CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": "image_url"}]},
]


class CountingEncoder:
    """Two dimensions: length and a one."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    def fingerprint(self) -> str:
        return "counting"


def row(features: Features, i: int) -> tuple[list[int], list[float]]:
    span = slice(features.indptr[i], features.indptr[i + 1])
    return features.indices[span].tolist(), features.values[span].tolist()


def test_shapes_types_and_names() -> None:
    extractor = FeatureExtractor()
    got = extractor.extract(["Why is the sky blue?", CHAT, ""])
    assert len(got) == 3
    assert got.dense.shape == (3, 256 + len(STATISTIC_NAMES)) == (3, len(extractor.dense_names))
    assert got.n_embedding == extractor.n_embedding == 256
    assert extractor.dense_names[256:] == STATISTIC_NAMES
    assert got.n_columns == extractor.n_columns == 2**16
    types = [a.dtype for a in (got.dense, got.indptr, got.indices, got.values)]
    assert types == [np.float32, np.int64, np.int32, np.float32]
    assert got.indptr[-1] == len(got.indices) == len(got.values)
    assert np.isfinite(got.dense).all()
    assert got.dense[1, extractor.dense_names.index("has_system")] == 1
    assert row(got, 2) == ([], [])


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=4))
def test_batch_equals_single_bit_for_bit(texts: list[str]) -> None:
    extractor = FeatureExtractor()
    batch = extractor.extract(texts)
    for i, text in enumerate(texts):
        for same in (text, [{"role": "user", "content": text}]):
            single = extractor.extract([same])
            np.testing.assert_array_equal(single.dense[0], batch.dense[i])
            assert row(single, 0) == row(batch, i)


def test_chunks_change_nothing_and_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Question {'abc'[i % 3]} of {i} words" for i in range(10)]
    whole = FeatureExtractor().extract(texts)
    monkeypatch.setattr(features_module, "_CHUNK_ROWS", 3)
    seen: list[tuple[int, int]] = []
    encoder = CountingEncoder()
    chunked = FeatureExtractor().extract(texts, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(3, 10), (6, 10), (9, 10), (10, 10)]
    for name in ("dense", "indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))
    FeatureExtractor(encoder=encoder).extract(texts)
    assert [len(batch) for batch in encoder.batches] == [0, 3, 3, 3, 1]


def test_no_prompts() -> None:
    got = FeatureExtractor().extract([])
    assert len(got) == 0
    assert got.indptr.tolist() == [0]
    assert got.indices.dtype == np.int32
    assert got.values.dtype == np.float32


def test_every_block_reads_the_same_capped_text() -> None:
    encoder = CountingEncoder()
    extractor = FeatureExtractor(FeatureSpec(max_chars=100), encoder)
    text = "a" * 5000 + "The question?"
    got = extractor.extract([text])
    (capped,) = encoder.batches[-1]
    assert len(capped) == 101
    assert capped.endswith("The question?")
    assert row(got, 0) == row(extractor.extract([capped]), 0)
    assert got.dense[0, extractor.dense_names.index("log_chars")] > np.log(5000) / 5


def test_given_embeddings_replace_the_encoder() -> None:
    extractor = FeatureExtractor(FeatureSpec(encoder="precomputed:2"))
    assert isinstance(extractor.encoder, PrecomputedEncoder)
    got = extractor.extract(["a", "b"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(got.dense[:, :2], [[1, 2], [3, 4]])
    with pytest.raises(ConfigError, match="pass embeddings="):
        extractor.extract(["a"])
    assert extractor.fingerprint() != FeatureExtractor().fingerprint()


@pytest.mark.parametrize(
    "embeddings", [[1, 2], [[1, 2, 3]], [[1, 2], [3, 4]], [[np.nan, 1]], [["x", 1]], [[1], [2, 3]]]
)
def test_embeddings_are_checked(embeddings: Any) -> None:
    extractor = FeatureExtractor(FeatureSpec(encoder="precomputed:2"))
    with pytest.raises(ConfigError, match="embeddings"):
        extractor.extract(["a"], embeddings)


@pytest.mark.parametrize("prompts", ["text", b"text", CHAT, {"role": "user", "content": "x"}])
def test_one_prompt_is_not_a_sequence_of_prompts(prompts: Any) -> None:
    with pytest.raises(ConfigError, match="put the one prompt in a list"):
        FeatureExtractor().extract(prompts)


def test_bad_prompt_is_numbered() -> None:
    with pytest.raises(ConfigError, match=r"prompts\[1\]: prompt\[0\]\['role'\]"):
        FeatureExtractor().extract(["fine", [{"role": "robot", "content": "x"}]])


def test_spec_survives_json() -> None:
    spec = FeatureSpec(encoder="m", max_chars=500, n_buckets=64, word_orders=(1,), char_orders=())
    assert FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert FeatureSpec.from_dict({}) == FeatureSpec()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_bucket": 64}, "'n_bucket'.*n_buckets"),
        ({"encoder": None}, "encoder"),
        ({"max_chars": 15}, "max_chars"),
        ({"max_chars": 100.0}, "max_chars"),
        ({"max_chars": True}, "max_chars"),
        ({"n_buckets": 63}, "n_buckets"),
        ({"word_orders": ["1"]}, "word_orders"),
        ({"char_orders": 3}, "char_orders"),
    ],
)
def test_spec_is_strict(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FeatureSpec.from_dict(settings)


def test_fingerprint_notices_settings_encoder_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(**settings: Any) -> str:
        return FeatureExtractor(FeatureSpec(**settings)).fingerprint()

    usual = fresh()
    assert usual == fresh()
    seen = {usual, fresh(max_chars=1999), fresh(n_buckets=2**14), fresh(char_orders=(3, 4))}
    seen.add(FeatureExtractor(encoder=CountingEncoder()).fingerprint())
    with monkeypatch.context() as patch:
        patch.setattr(features_module, "_CODE_VERSION", -1)
        seen.add(fresh())
    with monkeypatch.context() as patch:
        statistics = text_statistics
        patch.setattr(
            features_module, "text_statistics", lambda *a: statistics(*a) + np.float32(0.01)
        )
        seen.add(fresh())
    with monkeypatch.context() as patch:
        patch.setattr("router.ngrams._FINISH", np.uint64(3))
        seen.add(fresh())
    assert len(seen) == 8


def test_same_in_another_process() -> None:
    code = (
        "from router.features import FeatureExtractor as F\n"
        "import sys; print(F().fingerprint(), 'sentence_transformers' in sys.modules)"
    )
    environment = dict(os.environ, PYTHONHASHSEED="12345", OMP_NUM_THREADS="2")
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [FeatureExtractor().fingerprint(), "False"]
