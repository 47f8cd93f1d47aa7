"""What turns texts into embeddings.

The static encoder is the default. Any sentence-transformers model can take its place, and so
can embeddings that the caller computed. A router serves with the encoder it was trained with:
its fingerprint is part of the features' fingerprint.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError, MissingExtraError
from router.static_encoder import default_static_encoder
from router.textcap import cap_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder", "PrecomputedEncoder", "SentenceTransformerEncoder", "load_encoder"]

_PRECOMPUTED = "precomputed:"
_CHARS_PER_TOKEN = 4


class Encoder(Protocol):
    """Turns texts into embeddings."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a float32 array of shape (len(texts), n_dimensions), also for no texts."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of all that decides the embeddings."""
        ...


class PrecomputedEncoder:
    """Stands for embeddings that the caller passes with the prompts.

    Parameters
    ----------
    n_dimensions : int
        Length of an embedding.

    Raises
    ------
    ConfigError
        If `n_dimensions` is not positive.
    """

    def __init__(self, n_dimensions: int) -> None:
        if n_dimensions < 1:
            raise ConfigError(f"n_dimensions is {n_dimensions}: use at least 1")
        self.n_dimensions = n_dimensions

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Refuse any text, for only the caller has its embedding.

        Parameters
        ----------
        texts : sequence of str
            Must be empty.

        Returns
        -------
        ndarray of shape (0, n_dimensions)
            float32.

        Raises
        ------
        ConfigError
            If there is a text.
        """
        if len(texts):
            raise ConfigError(
                "this router was trained on precomputed embeddings: pass embeddings= of "
                f"{self.n_dimensions} dimensions with the prompts"
            )
        return np.empty((0, self.n_dimensions), np.float32)

    def fingerprint(self) -> str:
        """Return the number of dimensions, which is all that is known here."""
        return f"{_PRECOMPUTED}{self.n_dimensions}"


class SentenceTransformerEncoder:
    """Embeds texts with a sentence-transformers model, loaded at first use.

    Parameters
    ----------
    path_or_name : str
        Folder or Hub name of the model.
    batch_size : int
        Texts embedded at once.
    """

    def __init__(self, path_or_name: str, *, batch_size: int = 32) -> None:
        self.path_or_name = path_or_name
        self.batch_size = batch_size

    @cached_property
    def _model(self) -> SentenceTransformer:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("sentence-transformers", "encoders") from error
        try:
            return SentenceTransformer(self.path_or_name)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"encoder {self.path_or_name!r} cannot be loaded: give the folder or the Hub "
                f"name of a sentence-transformers model ({error})"
            ) from error

    @property
    def _max_chars(self) -> int:
        length = self._model.max_seq_length
        return _CHARS_PER_TOKEN * length if length else sys.maxsize

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; of one longer than the model reads, the beginning and the end.

        Parameters
        ----------
        texts : sequence of str
            The texts.

        Returns
        -------
        ndarray of shape (len(texts), n_dimensions)
            float32 rows of unit length.

        Raises
        ------
        MissingExtraError
            If sentence-transformers is not installed.
        ConfigError
            If the model cannot be loaded.
        """
        if not len(texts):
            probe = self._model.encode(["probe"], show_progress_bar=False)
            return np.empty((0, probe.shape[1]), np.float32)
        embeddings: NDArray[np.float32] = self._model.encode(
            [cap_text(text, self._max_chars) for text in texts],
            batch_size=self.batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return embeddings.astype(np.float32, copy=False)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the model's modules, weights and maximal length."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        model = self._model
        digest = hashlib.sha256(b"sentence-transformers 1")
        digest.update(f"{model.max_seq_length} {[type(m).__name__ for m in model]}".encode())
        for name, weights in sorted(model.state_dict().items()):
            digest.update(f"{name} {tuple(weights.shape)} {weights.dtype}".encode())
            digest.update(weights.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()


def load_encoder(name: str) -> Encoder:
    """Return the encoder of a name.

    Parameters
    ----------
    name : str
        ``"static"`` for the encoder that comes with the package, ``"precomputed:N"`` for
        embeddings of N dimensions that come with the prompts, else the folder or Hub name of
        a sentence-transformers model.

    Returns
    -------
    Encoder
        The encoder. A sentence-transformers model loads at its first use.

    Raises
    ------
    ConfigError
        If `name` is empty or the number of dimensions is not a number.
    ArtifactError
        If the files of the static encoder are damaged.

    Examples
    --------
    >>> load_encoder("static").encode(["Why is the sky blue?"]).shape
    (1, 256)
    """
    if name == "static":
        return default_static_encoder()
    if name.startswith(_PRECOMPUTED):
        digits = name.removeprefix(_PRECOMPUTED)
        if not digits.isdecimal():
            raise ConfigError(f"encoder is {name!r}: write 'precomputed:' and a whole number")
        return PrecomputedEncoder(int(digits))
    if not name.strip():
        raise ConfigError("encoder is empty: use 'static' or a sentence-transformers model")
    return SentenceTransformerEncoder(name)
