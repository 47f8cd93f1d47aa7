"""Prompts that are there more than once, and prompts on both sides of a split."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from router.eval.matrix import Prompt
from router.eval.runs_description.near_duplicates import near_duplicate_clusters, normalised
from router.messages import prompt_text

__all__ = ["Leak", "PromptKeys", "PromptRepeats", "count_repeats", "find_leaks"]

_Index = NDArray[np.int64]

_SHOWN = 5
_MOST_SPLITS = 20
_DIGITS = re.compile(r"\d+")
_TRAINING_NAMES = ("train", "training")


@dataclass(frozen=True, slots=True)
class PromptKeys:
    """What prompts are told apart by, one number a prompt for each notion of equality.

    Attributes
    ----------
    same : ndarray of shape (n,)
        Equal for the same text in lower case with white space collapsed.
    near : ndarray of shape (n,)
        Equal for nearly the same text with the same numbers in it.
    template : ndarray of shape (n,)
        Equal for nearly the same text, whatever its numbers: mostly other questions made from
        one template.
    """

    same: _Index
    near: _Index
    template: _Index

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> PromptKeys:
        """Find them for n prompts, as the router reads them."""
        texts = [normalised(prompt_text(prompt).text) for prompt in prompts]
        cluster = near_duplicate_clusters(texts)
        numbers = [(int(c), *_DIGITS.findall(text)) for c, text in zip(cluster, texts, strict=True)]
        return cls(_numbered(texts), _numbered(numbers), cluster)


@dataclass(frozen=True, slots=True)
class PromptRepeats:
    """How many prompts are there more than once.

    Attributes
    ----------
    n_prompts : int
        All prompts.
    n_same : int
        Prompts whose text another prompt has too; a group of them never crosses a split.
    n_near : int
        Further prompts that are nearly the same as another one, with the same numbers.
    n_template : int
        Further prompts that are nearly the same as another one but for its numbers.
    largest_family : int
        Prompts in the largest cluster of nearly equal ones.
    examples : tuple of tuple of str
        Ids of prompts of a few clusters of the first two kinds, the largest first.
    """

    n_prompts: int
    n_same: int
    n_near: int
    n_template: int
    largest_family: int
    examples: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """Prompts of one split that are in another one too.

    Attributes
    ----------
    first, second : str
        Names of the splits.
    n_first, n_second : int
        Their prompts.
    n_same : int
        Prompts of the second whose text is in the first too.
    n_near : int
        Further prompts of the second that are nearly the same as one of the first, with the
        same numbers.
    n_template : int
        Further prompts of the second that are nearly the same as one of the first but for its
        numbers.
    examples : tuple of str
        Ids of a few prompts of the second, of the first two kinds.
    """

    first: str
    second: str
    n_first: int
    n_second: int
    n_same: int
    n_near: int
    n_template: int
    examples: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether a prompt is on both sides, or nearly so."""
        return self.n_same + self.n_near > 0


def count_repeats(keys: PromptKeys, prompt_ids: Sequence[str]) -> PromptRepeats:
    """Count the prompts that are there more than once.

    Parameters
    ----------
    keys : PromptKeys
        Of n prompts.
    prompt_ids : sequence of str
        Their ids.

    Returns
    -------
    PromptRepeats
        Each prompt counts once, under the strictest notion that fits.

    Examples
    --------
    >>> texts = ["Name a river in Asia.", "name a river  in asia.", "Why?"]
    >>> count_repeats(PromptKeys.of(texts), ["a", "b", "c"]).n_same
    2
    """
    same, near, template = (_repeated(key) for key in (keys.same, keys.near, keys.template))
    sizes = np.bincount(keys.near) if len(keys.near) else np.zeros(0, np.int64)
    largest = [int(c) for c in np.argsort(-sizes, kind="stable")[:_SHOWN] if sizes[c] > 1]
    return PromptRepeats(
        n_prompts=len(prompt_ids),
        n_same=int(same.sum()),
        n_near=int((near & ~same).sum()),
        n_template=int((template & ~near & ~same).sum()),
        largest_family=int(np.bincount(keys.template).max()) if len(keys.template) else 0,
        examples=tuple(
            tuple(prompt_ids[i] for i in np.flatnonzero(keys.near == c)[:_SHOWN]) for c in largest
        ),
    )


def find_leaks(
    keys: PromptKeys, prompt_ids: Sequence[str], splits: Sequence[Collection[str]]
) -> tuple[Leak, ...]:
    """Find prompts that are on both sides of a split.

    Parameters
    ----------
    keys : PromptKeys
        Of n prompts of all splits together.
    prompt_ids : sequence of str
        Their ids.
    splits : sequence of collection of str
        Names of the splits that each prompt is in; none for prompts that are left out.

    Returns
    -------
    tuple of Leak
        One for each pair of splits, the training split first in its pairs; only such pairs where
        there are more than 20 splits.
    """
    members: dict[str, list[int]] = {}
    for i, names in enumerate(splits):
        for name in names:
            members.setdefault(name, []).append(i)
    leaks = []
    for first, second in combinations(sorted(members, key=_order), 2):
        if len(members) > _MOST_SPLITS and not _trains(first):
            break
        a, b = np.array(members[first]), np.array(members[second])
        same = np.isin(keys.same[b], keys.same[a])
        near = np.isin(keys.near[b], keys.near[a]) & ~same
        template = np.isin(keys.template[b], keys.template[a]) & ~near & ~same
        leaks.append(
            Leak(
                first=first,
                second=second,
                n_first=len(a),
                n_second=len(b),
                n_same=int(same.sum()),
                n_near=int(near.sum()),
                n_template=int(template.sum()),
                examples=tuple(
                    prompt_ids[i] for i in [*b[same].tolist(), *b[near].tolist()][:_SHOWN]
                ),
            )
        )
    return tuple(leaks)


def _order(name: str) -> tuple[bool, str]:
    """Sort training splits before the others."""
    return not _trains(name), name


def _trains(name: str) -> bool:
    return name.lower() in _TRAINING_NAMES


def _repeated(key: _Index) -> NDArray[np.bool_]:
    """Which prompts share their number with another one."""
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse.reshape(-1)] > 1)


def _numbered(values: Sequence[object]) -> _Index:
    """Return numbers for values, in the order of their first appearance."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)
