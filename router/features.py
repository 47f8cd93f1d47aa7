"""Features of prompts: embedding, statistics and profile of the text, hashed n-grams.

Training and serving call the same extractor. Its fingerprint goes into the artifact, so that
a router is never scored on features other than those it learned from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.encoders import Encoder, load_encoder
from router.errors import ConfigError
from router.messages import Prompt, PromptText, prompt_text
from router.ngrams import HashedNgrams
from router.textcap import cap_prompt
from router.textprofile import PROFILE_NAMES, text_profile
from router.textstats import STATISTIC_NAMES, text_statistics

__all__ = ["FeatureExtractor", "FeatureSpec", "Features", "prompt_texts"]

_CODE_VERSION = 2
_CHUNK_ROWS = 1024
_PROBES: tuple[Prompt, ...] = (
    "Why is the sky blue?",
    "Compute 12 + 34 * 5.\n(A) 182\n(B) 230\nAnswer:",
    'def f(x):\n    return {"key": x ** 2}\n```\nÜber größere naïve Fälle — 为什么? ß İ 😀',
    [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "<system-reminder>Today.</system-reminder>First"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look"}}]},
        {"role": "tool", "content": "42"},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image"}]},
    ],
    "Question " * 400 + "end?",
)


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What the features are made of.

    Attributes
    ----------
    encoder : str
        As in :func:`router.encoders.load_encoder`.
    max_chars : int
        Characters of a prompt that are read, from its beginning and its end.
    n_buckets : int
        Columns of each n-gram block, a power of two.
    word_orders : tuple of int
        Lengths of word n-grams.
    char_orders : tuple of int
        Lengths of character n-grams.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    """

    encoder: str = "static"
    max_chars: int = 2000
    n_buckets: int = 2**15
    word_orders: tuple[int, ...] = (1, 2)
    char_orders: tuple[int, ...] = (3, 5)

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, str):
            raise ConfigError(f"encoder is {self.encoder!r}: use a string")
        if type(self.max_chars) is not int or self.max_chars < 16:
            raise ConfigError(f"max_chars is {self.max_chars!r}: use a whole number from 16 up")
        self.ngrams()

    def ngrams(self) -> HashedNgrams:
        """Return the n-gram transformer of these settings."""
        return HashedNgrams(self.n_buckets, self.word_orders, self.char_orders)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> FeatureSpec:
        """Build the settings from a mapping; names that are left out keep their defaults.

        Parameters
        ----------
        settings : mapping
            As :meth:`to_dict` returns it.

        Returns
        -------
        FeatureSpec
            The settings.

        Raises
        ------
        ConfigError
            If a name is unknown or a value is not valid.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ConfigError(
                f"unknown feature setting {', '.join(map(repr, unknown))}: "
                f"use {', '.join(sorted(known))}"
            )
        values: dict[str, Any] = dict(settings)
        for name in ("word_orders", "char_orders"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Features:
    """Features of n prompts.

    Attributes
    ----------
    dense : ndarray of shape (n, n_dense)
        float32: the embedding, then the statistics, not standardised.
    profile : ndarray of shape (n, n_profile)
        float32: the profile of the text, as :func:`router.textprofile.text_profile` gives it.
    indptr, indices, values : ndarray
        The n-grams as a sparse matrix (CSR) of shape (n, n_columns): int64, int32, float32.
    n_columns : int
        Width of the sparse matrix.
    n_embedding : int
        Leading columns of `dense` that are the embedding.
    """

    dense: NDArray[np.float32]
    profile: NDArray[np.float32]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    n_columns: int
    n_embedding: int

    def __len__(self) -> int:
        return len(self.dense)


class FeatureExtractor:
    """Computes the features of prompts.

    Parameters
    ----------
    spec : FeatureSpec, optional
        What the features are made of.
    encoder : Encoder, optional
        Takes the place of the encoder that `spec` names, such as a cached one; it must give
        the same embeddings.

    Examples
    --------
    >>> features = FeatureExtractor().extract(["Why is the sky blue?", "What is 12 + 34?"])
    >>> features.dense.shape[0], len(features.indptr)
    (2, 3)
    """

    def __init__(self, spec: FeatureSpec | None = None, encoder: Encoder | None = None) -> None:
        self.spec: FeatureSpec = FeatureSpec() if spec is None else spec
        self.encoder: Encoder = load_encoder(self.spec.encoder) if encoder is None else encoder
        self._ngrams = self.spec.ngrams()
        self._n_embedding: int | None = None
        self._fingerprint: str | None = None

    @property
    def n_embedding(self) -> int:
        """Length of an embedding."""
        if self._n_embedding is None:
            self._n_embedding = self.encoder.encode([]).shape[1]
        return self._n_embedding

    @property
    def n_columns(self) -> int:
        """Width of the sparse block."""
        return self._ngrams.n_columns

    @property
    def dense_names(self) -> tuple[str, ...]:
        """Names of the columns of the dense block."""
        return (*(f"embedding_{i}" for i in range(self.n_embedding)), *STATISTIC_NAMES)

    def extract(
        self,
        prompts: Sequence[Prompt | PromptText],
        embeddings: ArrayLike | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Features:
        """Compute the features of prompts.

        Parameters
        ----------
        prompts : sequence of Prompt or PromptText
            Texts, lists of chat messages, or what :func:`router.messages.prompt_text` made of
            them. A prompt's features do not depend on the others.
        embeddings : array-like of shape (n, n_embedding), optional
            Embeddings to use instead of the encoder's.
        progress : callable, optional
            Called with the prompts done and their total after each thousand or so.

        Returns
        -------
        Features
            One row a prompt.

        Raises
        ------
        ConfigError
            If `prompts` is one prompt and not a sequence of them, a prompt is malformed (its
            number is named), or `embeddings` does not fit.
        """
        _check_many(prompts)
        n, width = len(prompts), self.n_embedding
        given = None if embeddings is None else self._checked(embeddings, n)
        dense = np.empty((n, width + len(STATISTIC_NAMES)), np.float32)
        profile = np.empty((n, len(PROFILE_NAMES)), np.float32)
        indptr = np.zeros(n + 1, np.int64)
        indices: list[NDArray[np.int32]] = []
        values: list[NDArray[np.float32]] = []
        for start in range(0, n, _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, n)
            texts = [
                self._text(prompts[i], i, dense[i, width:], profile[i]) for i in range(start, stop)
            ]
            dense[start:stop, :width] = (
                self.encoder.encode(texts) if given is None else given[start:stop]
            )
            rows = self._ngrams.transform(texts)
            indptr[start + 1 : stop + 1] = indptr[start] + rows.indptr[1:]
            indices.append(rows.indices)
            values.append(rows.values)
            if progress is not None:
                progress(stop, n)
        return Features(
            dense=dense,
            profile=profile,
            indptr=indptr,
            indices=_joined(indices, np.int32),
            values=_joined(values, np.float32),
            n_columns=self.n_columns,
            n_embedding=width,
        )

    def fingerprint(self) -> str:
        """Return a hash of all that decides the features.

        Returns
        -------
        str
            SHA-256 over the settings, the encoder, the version of this code and the features
            of built-in probe prompts, rounded, so that a platform or library that computes
            something else is noticed.
        """
        if self._fingerprint is None:
            settings = self.spec.to_dict()
            # The same model may lie in another folder: its own fingerprint tells.
            del settings["encoder"]
            probes = self.extract(_PROBES, np.zeros((len(_PROBES), self.n_embedding), np.float32))
            digest = hashlib.sha256()
            digest.update(json.dumps([_CODE_VERSION, settings], sort_keys=True).encode())
            digest.update(self.encoder.fingerprint().encode())
            digest.update(_rounded(probes.dense))
            digest.update(_rounded(probes.profile))
            digest.update(probes.indptr.astype("<i8").tobytes())
            digest.update(probes.indices.astype("<i4").tobytes())
            digest.update(_rounded(probes.values))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _text(
        self,
        prompt: Prompt | PromptText,
        i: int,
        statistics: NDArray[np.float32],
        profile: NDArray[np.float32],
    ) -> str:
        whole = prompt if isinstance(prompt, PromptText) else _numbered(prompt, i)
        capped = cap_prompt(whole, self.spec.max_chars)
        statistics[:] = text_statistics(whole, capped)
        profile[:] = text_profile(capped)
        return capped

    def _checked(self, embeddings: ArrayLike, n: int) -> NDArray[np.float32]:
        try:
            array = np.asarray(embeddings, np.float32)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"embeddings is not an array of numbers: {error}") from error
        if array.shape != (n, self.n_embedding):
            raise ConfigError(
                f"embeddings has shape {array.shape}: {(n, self.n_embedding)} is needed, a row a "
                "prompt"
            )
        if not np.isfinite(array).all():
            raise ConfigError("embeddings has values that are not finite")
        return array


def prompt_texts(prompts: Sequence[Prompt]) -> list[PromptText]:
    """Return the texts of prompts, which :meth:`FeatureExtractor.extract` takes too.

    Parameters
    ----------
    prompts : sequence of Prompt
        Texts or lists of chat messages.

    Raises
    ------
    ConfigError
        If `prompts` is one prompt and not a sequence of them, or one is malformed: its number is
        named.
    """
    _check_many(prompts)
    return [_numbered(prompt, i) for i, prompt in enumerate(prompts)]


def _check_many(prompts: Sequence[object]) -> None:
    if isinstance(prompts, (str, bytes, Mapping)) or (
        len(prompts) and isinstance(prompts[0], Mapping)
    ):
        raise ConfigError("prompts must be a sequence of prompts: put the one prompt in a list")


def _numbered(prompt: Prompt, i: int) -> PromptText:
    try:
        return prompt_text(prompt)
    except ConfigError as error:
        raise ConfigError(f"prompts[{i}]: {error}") from error


def _joined(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    joined = np.concatenate(parts) if parts else np.empty(0, dtype)
    parts.clear()
    return joined


def _rounded(values: NDArray[np.float32]) -> bytes:
    return np.rint(values.astype(np.float64) * 1000).astype("<i8").tobytes()
