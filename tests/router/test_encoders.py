from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.encoders import (
    PrecomputedEncoder,
    SentenceTransformerEncoder,
    load_encoder,
)
from router.errors import ConfigError, MissingExtraError
from router.static_encoder import default_static_encoder


class FakeWeights:
    def __init__(self, values: list[float]) -> None:
        self.values = np.array(values, np.float32)
        self.shape = self.values.shape
        self.dtype = "torch.float32"

    def detach(self) -> FakeWeights:
        return self

    cpu = float = detach

    def numpy(self) -> np.ndarray[Any, Any]:
        return self.values


class FakeModel:
    """What of a sentence-transformers model is used."""

    max_seq_length: int | None = 4
    weights: tuple[float, ...] = (1.0, 2.0)

    def __init__(self, path: str) -> None:
        if path == "missing":
            raise OSError("no such model")
        self.calls: list[list[str]] = []

    def __iter__(self) -> Any:
        return iter(["transformer", "pooling"])

    def state_dict(self) -> dict[str, FakeWeights]:
        return {"w": FakeWeights(list(self.weights))}

    def encode(self, texts: list[str], **options: Any) -> np.ndarray[Any, Any]:
        assert options["show_progress_bar"] is False
        self.calls.append(texts)
        rows = np.array([[len(text) + 1, 1.0] for text in texts], np.float64)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    module = SimpleNamespace(SentenceTransformer=FakeModel)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    return FakeModel


def test_names() -> None:
    assert load_encoder("static") is default_static_encoder()
    precomputed = load_encoder("precomputed:384")
    assert isinstance(precomputed, PrecomputedEncoder)
    assert precomputed.encode([]).shape == (0, 384)
    other = load_encoder("folder/model")
    assert isinstance(other, SentenceTransformerEncoder)
    assert other.path_or_name == "folder/model"


@pytest.mark.parametrize(
    "name", ["", " ", "precomputed:", "precomputed:x", "precomputed:-3", "precomputed:0"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError):
        load_encoder(name)


def test_precomputed_refuses_texts() -> None:
    encoder = PrecomputedEncoder(8)
    with pytest.raises(ConfigError, match=r"pass embeddings= of 8 dimensions"):
        encoder.encode(["text"])
    assert encoder.fingerprint() != PrecomputedEncoder(9).fingerprint()


def test_missing_extra_is_named_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    encoder = load_encoder("all-MiniLM-L6-v2")
    with pytest.raises(MissingExtraError, match=r"wattroute\[encoders\]"):
        encoder.encode(["x"])


def test_model_that_cannot_be_loaded(fake: type[FakeModel]) -> None:
    with pytest.raises(ConfigError, match=r"'missing' cannot be loaded.*no such model"):
        load_encoder("missing").encode(["x"])


def test_sentence_transformer(fake: type[FakeModel]) -> None:
    encoder = SentenceTransformerEncoder("model")
    got = encoder.encode(["a", "bbb"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-6)
    assert encoder.encode([]).shape == (0, 2)


def test_long_texts_keep_both_ends(fake: type[FakeModel], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceTransformerEncoder("model")
    encoder.encode(["start" + "x" * 100 + "the end"])
    assert encoder._model.calls[-1] == ["startxxx\nxthe end"]
    monkeypatch.setattr(fake, "max_seq_length", None)
    encoder.encode(["x" * 100])
    assert encoder._model.calls[-1] == ["x" * 100]


def test_fingerprint_is_that_of_the_model_not_of_its_place(
    fake: type[FakeModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SentenceTransformerEncoder("here").fingerprint()
    assert here == SentenceTransformerEncoder("there", batch_size=1).fingerprint()
    monkeypatch.setattr(fake, "weights", (1.0, 2.5))
    assert here != SentenceTransformerEncoder("here").fingerprint()
