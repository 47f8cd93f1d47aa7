"""Sentence embeddings from a table of token vectors, in numpy.

The table is distilled from all-MiniLM-L6-v2 by :mod:`router.training.distil` with model2vec
(Tulkens and van Dongen, 2024): a text's embedding is the normalised sum of its tokens' rows.
Rows are 8-bit integers and their scales 16-bit integers, so that the sum is exact and the same
on every platform.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError

__all__ = ["StaticEncoder", "default_static_encoder"]

TABLE_FILE = "table.npy"
SCALES_FILE = "scales.npy"
TOKENIZER_FILE = "tokenizer.json"
METADATA_FILE = "metadata.json"

_ASCII_WORD = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
# Each is a word of its own.
_IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
_CONTROLS = bytes((*range(9), 11, 12, *range(14, 32), 127))
_WIDE_CONTROLS = dict.fromkeys((*_CONTROLS, *range(128, 160)))
_CACHED_WORDS = 50_000
_CACHED_CHARS = 64
_PROBES = (
    "Why is the sky blue?",
    "def f(x): return x**2 + 0x1F  # unbelievably_long_identifier",
    "Über größere naïve Fälle — 为什么 ß İ 😀 e\u0301 \u200b\u00a0x",
)


class StaticEncoder:
    """Embeds texts with a table of token vectors.

    Parameters
    ----------
    table : ndarray of shape (n_tokens, n_dimensions)
        int8 token vectors.
    scales : ndarray of shape (n_tokens,)
        uint16 factor of each row; 0 leaves a token out.
    tokenizer : dict
        Content of the ``tokenizer.json`` of a lower-casing BERT WordPiece tokenizer. Its
        truncation, padding, special and added tokens are left out.
    """

    def __init__(
        self,
        table: NDArray[np.int8],
        scales: NDArray[np.uint16],
        tokenizer: Mapping[str, Any],
    ) -> None:
        from tokenizers import Tokenizer

        self._table = table
        self._scales = scales.astype(np.float64)
        bare = dict(tokenizer, truncation=None, padding=None, post_processor=None, added_tokens=[])
        self._tokenizer_json = json.dumps(bare, sort_keys=True)
        self._tokenizer = Tokenizer.from_str(self._tokenizer_json)
        vocabulary: dict[str, int] = bare["model"]["vocab"]
        self._words = {token: i for token, i in vocabulary.items() if _ASCII_WORD.fullmatch(token)}
        self._continuations = {
            token[2:]: i for token, i in vocabulary.items() if token.startswith("##")
        }
        self._ideographs = {
            token: i for token, i in vocabulary.items() if _IDEOGRAPH.fullmatch(token)
        }
        self._pieces: dict[str, list[int]] = {}

    @classmethod
    def load(cls, folder: str | Path) -> StaticEncoder:
        """Load an encoder from a folder.

        Parameters
        ----------
        folder : str or Path
            Holds ``table.npy`` (mapped into memory, not read), ``scales.npy`` and
            ``tokenizer.json``.

        Returns
        -------
        StaticEncoder
            The encoder.

        Raises
        ------
        ArtifactError
            If a file is missing, damaged or does not fit the others.
        """
        folder = Path(folder)
        # tokenizers raises plain Exception.
        try:
            mapped = np.load(folder / TABLE_FILE, mmap_mode="r", allow_pickle=False)
            scales = np.load(folder / SCALES_FILE, allow_pickle=False)
            tokenizer = json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))
            n_tokens = len(tokenizer["model"]["vocab"])
            shapes = f"{mapped.dtype}{mapped.shape}, {scales.dtype}{scales.shape}, {n_tokens}"
            expected = f"int8{(n_tokens, mapped.shape[-1])}, uint16{(n_tokens,)}, {n_tokens}"
            if shapes != expected:
                raise ValueError(f"table, scales and tokens are {shapes}, not {expected}")
            return cls(np.asarray(mapped), scales, tokenizer)
        except Exception as error:
            raise ArtifactError(
                f"{folder} holds no static encoder ({error}): make it again with "
                "'python -m router.training.distil' or reinstall wattroute"
            ) from error

    @property
    def n_dimensions(self) -> int:
        """Length of an embedding."""
        return int(self._table.shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            The texts; the time grows with their length.

        Returns
        -------
        ndarray of shape (len(texts), n_dimensions)
            float32 rows of unit length, zero for a text without known tokens. A text's row
            does not depend on the others.
        """
        embeddings = np.zeros((len(texts), self.n_dimensions), np.float32)
        for i, text in enumerate(texts):
            ids = np.array(self.token_ids(text), np.intp)
            if len(ids):
                # Integers below 2**53 in float64: exact, in whatever order BLAS adds them.
                total = self._scales.take(ids) @ self._table.take(ids, 0).astype(np.float64)
                norm = math.sqrt(total.dot(total))
                if norm > 0:
                    embeddings[i] = total / norm
        return embeddings

    def token_ids(self, text: str) -> list[int]:
        """Return the tokens of a text as a bag: all of them, their order is not kept.

        ASCII and Chinese characters are split here, which is several times faster than the
        tokenizer and gives the same tokens; chunks with others go to the tokenizer. Split
        words are remembered.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        list of int
            Row numbers of the table.
        """
        ids: list[int] = []
        if not text.isascii():
            ids = [i for i in map(self._ideographs.get, _IDEOGRAPH.findall(text)) if i is not None]
            chunks = _IDEOGRAPH.sub(" ", text).translate(_WIDE_CONTROLS).split()
            for chunk in chunks:
                if not chunk.isascii():
                    ids += self._cached_pieces(chunk)
            text = " ".join([chunk for chunk in chunks if chunk.isascii()])
        words = _ASCII_WORD.findall(text.encode().translate(None, _CONTROLS).decode().lower())
        found = list(map(self._words.get, words))
        ids += [i for i in found if i is not None]
        if None in found:
            for word, i in zip(words, found, strict=True):
                if i is None:
                    ids += self._cached_pieces(word)
        return ids

    def fingerprint(self) -> str:
        """Return the SHA-256 of the table, the tokenizer and the embeddings of probe texts."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(b"static encoder 1")
        digest.update(self._table.tobytes())
        digest.update(self._scales.astype("<f8").tobytes())
        digest.update(self._tokenizer_json.encode())
        digest.update(str([sorted(self.token_ids(text)) for text in _PROBES]).encode())
        digest.update(np.rint(self.encode(_PROBES) * 1000.0).astype("<i4").tobytes())
        return digest.hexdigest()

    def _cached_pieces(self, word: str) -> list[int]:
        pieces = self._pieces.get(word)
        if pieces is None:
            pieces = self._split(word) if word.isascii() else self._tokenized(word)
            if len(self._pieces) >= _CACHED_WORDS:
                self._pieces = {}
            if len(word) <= _CACHED_CHARS:
                self._pieces[word] = pieces
        return pieces

    def _tokenized(self, chunk: str) -> list[int]:
        # Lone surrogates are dropped, as the tokenizer drops their replacement.
        chunk = chunk.encode("utf-8", "ignore").decode()
        ids: list[int] = self._tokenizer.encode(chunk, add_special_tokens=False).ids
        return ids

    def _split(self, word: str) -> list[int]:
        """Split an ASCII word into the longest pieces, from the left (WordPiece)."""
        if len(word) > 100:
            return []
        pieces: list[int] = []
        vocabulary = self._words
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = vocabulary.get(word[start:end])
                if piece is not None:
                    pieces.append(piece)
                    start = end
                    break
            else:
                return []
            vocabulary = self._continuations
        return pieces


@lru_cache(maxsize=1)
def default_static_encoder() -> StaticEncoder:
    """Return the encoder that comes with the package, loaded once.

    Returns
    -------
    StaticEncoder
        256 dimensions.
    """
    return StaticEncoder.load(Path(str(files("router"))) / "data" / "static_encoder")
