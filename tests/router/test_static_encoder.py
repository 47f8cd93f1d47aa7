from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from router.errors import ArtifactError
from router.static_encoder import StaticEncoder, default_static_encoder

FOLDER = Path(str(files("router"))) / "data" / "static_encoder"
WORDS = ("[PAD]", "[UNK]", "the", "cat", "##s", "sat", "1", "##2", ".", "é", "漢", "cafe")


def toy_tokenizer(**changes: Any) -> dict[str, Any]:
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
    }
    return tokenizer | changes


@pytest.fixture
def toy_folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    scales = rng.integers(1, 2**16, len(WORDS)).astype(np.uint16)
    scales[:2] = 0
    np.save(tmp_path / "table.npy", rng.integers(-127, 128, (len(WORDS), 4)).astype(np.int8))
    np.save(tmp_path / "scales.npy", scales)
    (tmp_path / "tokenizer.json").write_text(json.dumps(toy_tokenizer()), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def test_embedding_is_the_normalised_sum_of_scaled_rows(toy_folder: Path) -> None:
    table = np.load(toy_folder / "table.npy").astype(float)
    scales = np.load(toy_folder / "scales.npy").astype(float)
    rows = [WORDS.index(word) for word in ("the", "cat", "##s", "sat", ".")]
    total = (scales[rows, None] * table[rows]).sum(axis=0)
    got = StaticEncoder.load(toy_folder).encode(["The CATS sat."])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], total / np.linalg.norm(total), rtol=1e-6)


def test_shipped_encoder() -> None:
    encoder = default_static_encoder()
    assert encoder is default_static_encoder()
    got = encoder.encode(["How do I sort a list?", "Order the items of a list.", "Rain in Spain"])
    assert got.shape == (3, encoder.n_dimensions) == (3, 256)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-6)
    similarity = got @ got.T
    assert similarity[0, 1] > similarity[0, 2]


@given(st.lists(st.text(), max_size=4))
def test_batch_equals_single_bit_for_bit(texts: list[str]) -> None:
    encoder = default_static_encoder()
    batch = encoder.encode(texts)
    assert batch.shape == (len(texts), 256)
    for text, row in zip(texts, batch, strict=True):
        np.testing.assert_array_equal(encoder.encode([text])[0], row)


def known(ids: list[int]) -> list[int]:
    return sorted(i for i in ids if i > 1)


@given(st.text() | st.text(st.characters(max_codepoint=0x17F)))
@example("".join(map(chr, range(0x250))))
@example("a\x0bb\x1cc\x85d\u00a0e\u2028f\u200bg\u3000h\ufeffi\ufffdj")
@example("é".join(map(chr, range(256))))
@example("e\u0301 \u0301 cafe\u0301 İ ß ẞ ﬁ Å ÅB 汉a字 😀a ①")
@example("汉\u0301字é 汉字漢字。漢 a汉b\u4dff\u9fff\ua000\u3400")
@example("a" * 100 + " " + "b" * 101 + " 0x1f3 snake_case_name CamelCase don't 3.14")
@example("[PAD] [UNK] [CLS] [SEP] [MASK] ##s")
def test_tokens_are_those_of_the_tokenizer(tokenizer: Any, text: str) -> None:
    """The own splitting of ASCII and the tokenizer agree on every text."""
    got = default_static_encoder().token_ids(text)
    assert known(got) == known(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("text", ["", " \n\t", "\x00", "[PAD]"[:0], "\u200b", "\ud800"])
def test_nothing_is_the_zero_vector(text: str) -> None:
    assert not default_static_encoder().encode([text]).any()


def test_names_of_special_tokens_are_plain_text() -> None:
    encoder = default_static_encoder()
    brackets = encoder.token_ids("[ unk ]")
    assert encoder.token_ids("[UNK]") == brackets
    assert 1 not in brackets


def test_lone_surrogates_are_dropped() -> None:
    encoder = default_static_encoder()
    np.testing.assert_array_equal(encoder.encode(["caf\ud800é cat"]), encoder.encode(["café cat"]))


def test_truncation_padding_and_special_tokens_are_left_out(toy_folder: Path) -> None:
    plain = StaticEncoder.load(toy_folder)
    special = {
        "id": 1,
        "content": "[UNK]",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    baggage = toy_tokenizer(
        truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        added_tokens=[special],
    )
    (toy_folder / "tokenizer.json").write_text(json.dumps(baggage), encoding="utf-8")
    loaded = StaticEncoder.load(toy_folder)
    text = "é é é é the cat [UNK]"
    assert known(loaded.token_ids(text)) == known(plain.token_ids(text))
    assert loaded.fingerprint() == plain.fingerprint()


def test_fingerprint_notices_every_file(toy_folder: Path) -> None:
    seen = {StaticEncoder.load(toy_folder).fingerprint()}
    table = np.load(toy_folder / "table.npy")
    table[5, 1] ^= 1
    np.save(toy_folder / "table.npy", table)
    seen.add(StaticEncoder.load(toy_folder).fingerprint())
    scales = np.load(toy_folder / "scales.npy")
    scales[5] ^= 1
    np.save(toy_folder / "scales.npy", scales)
    seen.add(StaticEncoder.load(toy_folder).fingerprint())
    changed = toy_tokenizer()
    changed["model"]["vocab"] = dict(zip(reversed(WORDS), range(len(WORDS)), strict=True))
    (toy_folder / "tokenizer.json").write_text(json.dumps(changed), encoding="utf-8")
    seen.add(StaticEncoder.load(toy_folder).fingerprint())
    assert len(seen) == 4


def test_piece_cache_is_bounded(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.static_encoder._CACHED_WORDS", 3)
    encoder = StaticEncoder.load(toy_folder)
    for word in ("cats", "thes", "sats", "112", "é1", "cats", "é" * 65, "1" * 65):
        assert encoder.token_ids(word) == encoder.token_ids(word)
        assert len(encoder._pieces) <= 3
        assert all(len(kept) <= 64 for kept in encoder._pieces)


@pytest.mark.parametrize("name", ["table.npy", "scales.npy", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "other"])
def test_damaged_files_are_refused(toy_folder: Path, name: str, damage: str) -> None:
    path = toy_folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        path.write_bytes(b"[]")
    with pytest.raises(ArtifactError, match=r"no static encoder .*router\.training\.distil"):
        StaticEncoder.load(toy_folder)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("table.npy", np.zeros((len(WORDS), 4), np.float32)),
        ("table.npy", np.zeros((len(WORDS) + 1, 4), np.int8)),
        ("table.npy", np.zeros(len(WORDS), np.int8)),
        ("scales.npy", np.zeros(len(WORDS), np.float16)),
        ("scales.npy", np.zeros(3, np.uint16)),
        ("table.npy", np.array([{}], object)),
    ],
)
def test_files_that_do_not_fit_are_refused(
    toy_folder: Path, name: str, array: np.ndarray[Any, Any]
) -> None:
    np.save(toy_folder / name, array)
    with pytest.raises(ArtifactError):
        StaticEncoder.load(toy_folder)


def test_shipped_files_are_those_of_the_metadata() -> None:
    import hashlib

    metadata = json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["license"] == "Apache-2.0"
    for name, digest in metadata["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 9_000_000
