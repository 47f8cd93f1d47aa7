from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.features import FeatureExtractor
from router.static_encoder import default_static_encoder
from router.training.embedding_cache import CachedEncoder


class Recorder:
    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        rows = [[len(text), len(self.name)] for text in texts]
        return np.array(rows, np.float32).reshape(-1, 2)

    def fingerprint(self) -> str:
        return self.name


def test_each_text_is_computed_once(tmp_path: Path) -> None:
    first = Recorder()
    got = CachedEncoder(first, tmp_path).encode(["a", "bb", "a", "漢字"])
    np.testing.assert_array_equal(got, [[1, 8], [2, 8], [1, 8], [2, 8]])
    assert got.dtype == np.float32
    assert first.batches == [["a", "bb", "漢字"]]
    second = Recorder()
    again = CachedEncoder(second, tmp_path).encode(["ccc", "bb"])
    np.testing.assert_array_equal(again, [[3, 8], [2, 8]])
    assert second.batches == [["ccc"]]


def test_another_encoder_has_its_own_entries(tmp_path: Path) -> None:
    CachedEncoder(Recorder(), tmp_path).encode(["a"])
    other = Recorder("another one")
    np.testing.assert_array_equal(CachedEncoder(other, tmp_path).encode(["a"]), [[1, 11]])


def test_no_texts(tmp_path: Path) -> None:
    assert CachedEncoder(Recorder(), tmp_path).encode([]).shape == (0, 2)


def test_features_are_the_same(tmp_path: Path) -> None:
    cached = CachedEncoder(default_static_encoder(), tmp_path)
    texts = ["Why is the sky blue?", "What is 12 + 34?"]
    plain, through = FeatureExtractor(), FeatureExtractor(encoder=cached)
    assert plain.fingerprint() == through.fingerprint()
    for _ in range(2):
        np.testing.assert_array_equal(plain.extract(texts).dense, through.extract(texts).dense)
