"""Embeddings kept on disk between trainings.

A sentence-transformers model needs tens of milliseconds a text, so what it answered is kept
with :class:`joblib.Memory` under the encoder's fingerprint and the text's hash. The static
encoder is faster than a disk and needs no cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from router.encoders import Encoder

__all__ = ["CachedEncoder"]


class CachedEncoder:
    """Gives the embeddings of another encoder, each text computed once.

    joblib reads its entries with pickle: use a folder that only you can write to.

    Parameters
    ----------
    encoder : Encoder
        Computes what is not there yet.
    folder : str or Path
        Where the entries go; made if missing.
    """

    def __init__(self, encoder: Encoder, folder: str | Path) -> None:
        self.encoder = encoder
        self._entry = Memory(str(folder), verbose=0).cache(_entry, ignore=["computed"])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            The texts; the unknown ones go to the encoder in one call, each once.

        Returns
        -------
        ndarray of shape (len(texts), n_dimensions)
            float32, as the encoder gives it.
        """
        if not len(texts):
            return self.encoder.encode([])
        fingerprint = self.fingerprint()
        by_hash = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
        missing = [
            key for key in by_hash if not self._entry.check_call_in_cache(fingerprint, key, {})
        ]
        embeddings = self.encoder.encode([by_hash[key] for key in missing])
        computed = dict(zip(missing, embeddings, strict=True))
        rows = {key: self._entry(fingerprint, key, computed) for key in by_hash}
        keys = (hashlib.sha256(text.encode()).hexdigest() for text in texts)
        return np.stack([rows[key] for key in keys])

    def fingerprint(self) -> str:
        """Return the encoder's fingerprint."""
        return self.encoder.fingerprint()


def _entry(
    fingerprint: str, text_hash: str, computed: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return an embedding; joblib stores it under the first two arguments."""
    return computed[text_hash]
