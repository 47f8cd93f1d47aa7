"""Prompts that are nearly the same: clusters of texts that share most of their word triples.

Candidates come from MinHash signatures in bands (Broder, "On the resemblance and containment of
documents", 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3); each
is then checked on the triples themselves, so that a cluster has no pair by accident. Of a family
of thousands of texts made from one template a few members may be missed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIMILARITY", "near_duplicate_clusters", "normalised"]

SIMILARITY = 0.8
"""Share of the word triples of both that two texts have in common if they are nearly the same."""

_Index = NDArray[np.int64]
_Hashes = NDArray[np.uint64]

_N_BANDS, _BAND_ROWS = 16, 4
_SHINGLE_WORDS = 3
_SIGNATURE_SLACK = 0.2
# one character is a word where words are not written apart
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_HALF = np.uint64(32)


def normalised(text: str) -> str:
    """Return a text in lower case with white space collapsed.

    Examples
    --------
    >>> normalised("Why  NOT?")
    'why not?'
    """
    return " ".join(text.lower().split())


def near_duplicate_clusters(texts: Sequence[str]) -> _Index:
    """Group texts that are nearly the same.

    Parameters
    ----------
    texts : sequence of str
        The n texts. Equal texts are always in one cluster, and so are texts whose sets of word
        triples have a Jaccard similarity of at least `SIMILARITY`, and what is linked by them.

    Returns
    -------
    ndarray of shape (n,)
        Cluster of each text, numbered in the order of their first text.

    Examples
    --------
    >>> near_duplicate_clusters(["a b c d e f g h i j k l", "A b c d e f g h i j k l!", "x y z"])
    array([0, 0, 1])
    """
    plain = [normalised(text) for text in texts]
    distinct, place = np.unique(np.array(plain, dtype=object), return_inverse=True)
    known: dict[str, int] = {}
    shingles = [_shingles(text, known) for text in distinct.tolist()]
    parent = np.arange(len(shingles))
    signatures = _signatures(shingles)
    for i, j in _candidates(signatures):
        a, b = _root(parent, i), _root(parent, j)
        if a != b and _jaccard(shingles[i], shingles[j]) >= SIMILARITY:
            parent[max(a, b)] = min(a, b)
    roots = np.array([_root(parent, i) for i in range(len(parent))], np.int64)[place.reshape(-1)]
    _, first, cluster = np.unique(roots, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[cluster.reshape(-1)]


def _shingles(text: str, known: dict[str, int]) -> _Hashes:
    """Return sorted hashes of the distinct word triples of a text."""
    words = _WORD.findall(text) or [text]
    codes = []
    for word in words:
        code = known.get(word)
        if code is None:
            digest = blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
            code = known[word] = int.from_bytes(digest, "big")
        codes.append(code)
    hashes = np.array(codes, np.uint64)
    order = min(_SHINGLE_WORDS, len(hashes))
    n = len(hashes) - order + 1
    total = np.zeros(n, np.uint64)
    for k in range(order):
        total += hashes[k : k + n] * _MULTIPLIERS[k]
        total ^= total >> _HALF
    return np.unique(total)


def _signatures(shingles: Sequence[_Hashes]) -> NDArray[np.uint32]:
    """Return the MinHash signature of each set, of shape (n, n_bands * band_rows)."""
    n_hashes = _N_BANDS * _BAND_ROWS
    signatures = np.empty((len(shingles), n_hashes), np.uint32)
    if not len(shingles):
        return signatures
    flat = np.concatenate(shingles)
    starts = np.cumsum([0, *map(len, shingles[:-1])])
    # odd multipliers and offsets, fixed so that clusters are the same everywhere
    factors = np.random.default_rng(0).integers(0, 2**63, (n_hashes, 2), np.uint64)
    for k, (factor, offset) in enumerate(factors):
        mixed = (flat * (factor | np.uint64(1)) + offset) >> _HALF
        signatures[:, k] = np.minimum.reduceat(mixed, starts)
    return signatures


def _candidates(signatures: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """Return pairs that share a band and whose signatures agree nearly as often as they must."""
    pairs = []
    for band in range(_N_BANDS):
        part = signatures[:, band * _BAND_ROWS : (band + 1) * _BAND_ROWS]
        order = np.lexsort(part.T)
        starts = np.r_[True, (part[order[1:]] != part[order[:-1]]).any(axis=1)]
        first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        later = np.flatnonzero(~starts)
        # each member with the first of its bucket and with the one before it
        pairs += [np.stack([order[later], other], 1) for other in (first[later], order[later - 1])]
    if not pairs:
        return []
    found = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    agreement = (signatures[found[:, 0]] == signatures[found[:, 1]]).mean(axis=1)
    kept = found[agreement >= SIMILARITY - _SIGNATURE_SLACK]
    return [(int(i), int(j)) for i, j in kept]


def _jaccard(a: _Hashes, b: _Hashes) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def _root(parent: _Index, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i
