"""What a monitor compares with: graded answers of the router on prompts it had not seen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.errors import ArtifactError, ConfigError
from router.monitor.bets import N_BANDS, band_of
from router.monitor.conformal import Bag

__all__ = [
    "LINEAGE_KEY",
    "Baseline",
    "Baselines",
    "Cell",
    "level_of",
    "novelty_level",
    "stored_baselines",
]

_Floats = NDArray[np.float64]

LINEAGE_KEY = "monitor"
"""Where the lineage of an artifact has the baselines."""

_LEVELS = 100
_MAX_NOVELTY = 1_000
_PRIOR_ANSWERS = 10.0


@dataclass(frozen=True, slots=True)
class Cell:
    """Reference answers of one model in one band of predicted probability.

    Attributes
    ----------
    n : int
        How many there are.
    probability : float
        Mean predicted probability.
    quality : float
        Mean quality.
    levels : str
        How often each quality occurred, in hundredths, as :meth:`Bag.to_text` writes it.
    """

    n: int
    probability: float
    quality: float
    levels: str

    @property
    def offset(self) -> float:
        """Quality beyond the predicted one, trusted as far as the number of answers goes."""
        return (self.quality - self.probability) * self.n / (self.n + _PRIOR_ANSWERS)


@dataclass(frozen=True, slots=True)
class Baseline:
    """How the router did at one quality bar on prompts that it had not seen.

    Attributes
    ----------
    bar : float or None
        The quality bar that the models were chosen for; None if it is not known.
    models : tuple of str
        Ids of the pool's models.
    cells : mapping of (str, int) to Cell
        Reference answers by model and band; cells without any are absent.
    novelty : tuple of float
        Novelty of reference prompts, empty where it was not measured.
    variance : float
        Mean squared difference of quality from what was expected.
    """

    bar: float | None
    models: tuple[str, ...]
    cells: Mapping[tuple[str, int], Cell]
    novelty: tuple[float, ...] = ()
    variance: float = 0.25

    @property
    def n_answers(self) -> int:
        """Reference answers in all."""
        return sum(cell.n for cell in self.cells.values())

    def n_answers_of(self, model: str) -> int:
        """Return the number of reference answers of one model."""
        return sum(cell.n for (name, _), cell in self.cells.items() if name == model)

    def expected(self, model: str, probability: float) -> float:
        """Return the quality to expect of an answer: the probability, corrected by the cell."""
        cell = self.cells.get((model, band_of(probability)))
        return probability if cell is None else min(max(probability + cell.offset, 0.0), 1.0)

    def band_shares(self) -> _Floats:
        """Return the share of the reference answers in each band, of shape (n_bands,)."""
        counts = np.zeros(N_BANDS)
        for (_, band), cell in self.cells.items():
            counts[band] += cell.n
        total = counts.sum()
        return counts / total if total else np.full(N_BANDS, 1.0 / N_BANDS)

    def digest(self) -> str:
        """Return a digest of everything in it, to tell one baseline from another."""
        text = json.dumps([self.models, _to_dict(self), self.novelty], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def of_answers(
        cls,
        models: Sequence[str],
        chosen: Sequence[str],
        probability: ArrayLike,
        quality: ArrayLike,
        *,
        novelty: Iterable[float] = (),
        bar: float | None = None,
    ) -> Baseline:
        """Build a baseline from graded answers.

        Parameters
        ----------
        models : sequence of str
            Ids of the pool's models.
        chosen : sequence of str
            Id of the model that answered each of n prompts.
        probability, quality : array-like of shape (n,)
            What the router predicted and what came of it, both in [0, 1]. The prompts must be
            ones that the router was not trained on, or predictions out of fold.
        novelty : iterable of float
            Novelty of prompts like these; a thousand of them are kept.
        bar : float, optional
            The quality bar that the models were chosen for.

        Raises
        ------
        ConfigError
            If a number is out of range or a model is not one of the pool.

        Examples
        --------
        >>> baseline = Baseline.of_answers(["small"], ["small"] * 4, [0.75] * 4, [1, 1, 0, 1])
        >>> baseline.n_answers, baseline.expected("small", 0.75)
        (4, 0.75)
        """
        predicted = _in_unit("probability", probability)
        graded = _in_unit("quality", quality)
        if not len(chosen) == len(predicted) == len(graded):
            raise ConfigError("chosen, probability and quality must have the same length")
        rows: dict[tuple[str, int], list[int]] = {}
        for row, (model, p) in enumerate(zip(chosen, predicted.tolist(), strict=True)):
            if model not in models:
                raise ConfigError(f"model {model!r} is not one of {', '.join(models)}")
            rows.setdefault((model, band_of(p)), []).append(row)
        cells = {
            key: Cell(
                n=len(found),
                probability=round(float(predicted[found].mean()), 6),
                quality=round(float(graded[found].mean()), 6),
                levels=Bag(level_of(q) for q in graded[found].tolist()).to_text(),
            )
            for key, found in sorted(rows.items())
        }
        baseline = cls(bar, tuple(models), cells, _thinned(novelty))
        expected = [baseline.expected(*pair) for pair in zip(chosen, predicted, strict=True)]
        squares = (graded - np.array(expected)) ** 2
        variance = round(float(squares.mean()), 6) if len(squares) else 0.25
        return cls(bar, tuple(models), cells, baseline.novelty, variance)


@dataclass(frozen=True, slots=True)
class Baselines:
    """Baselines of one router at several quality bars, as its artifact stores them.

    Attributes
    ----------
    bars : tuple of Baseline
        One for each bar.
    """

    bars: tuple[Baseline, ...]

    def for_bar(self, bar: float) -> Baseline:
        """Return the baseline of the nearest bar; of two equally near ones the higher.

        Raises
        ------
        ConfigError
            If there is none, or `bar` is not in (0, 1].
        """
        if not 0.0 < bar <= 1.0:
            raise ConfigError(f"quality is {bar!r}: use a share of the reference in (0, 1]")
        if not self.bars:
            raise ConfigError("there is no baseline to compare with")
        return min(self.bars, key=lambda b: (round(abs((b.bar or 0.0) - bar), 9), -(b.bar or 0.0)))

    def to_dict(self) -> dict[str, Any]:
        """Return the baselines as JSON types; models and novelty, which they share, once."""
        first = self.bars[0]
        return {
            "models": list(first.models),
            "novelty": " ".join(f"{score:.3g}" for score in first.novelty),
            "bars": [_to_dict(baseline) for baseline in self.bars],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Baselines:
        """Build the baselines from :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        models = tuple(map(str, stored["models"]))
        novelty = tuple(map(float, str(stored["novelty"]).split()))
        return cls(tuple(_from_dict(row, models, novelty) for row in stored["bars"]))


def stored_baselines(lineage: Mapping[str, Any]) -> Baselines:
    """Return the baselines that an artifact's lineage has.

    Parameters
    ----------
    lineage : mapping
        ``Artifact.lineage``.

    Raises
    ------
    ArtifactError
        If there are none, or they are damaged.
    """
    stored = lineage.get(LINEAGE_KEY)
    if stored is None:
        raise ArtifactError(
            "the router does not say how it did on prompts that it had not seen: train it again "
            "with this release, or give graded feedback from a time when all was well as baseline"
        )
    try:
        return Baselines.from_dict(stored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"the router's baselines are damaged ({error!r}): train it again"
        ) from error


def level_of(quality: float) -> float:
    """Return the level of a quality: hundredths, so that there are few of them to store."""
    return float(round(quality * _LEVELS))


def novelty_level(novelty: float) -> float:
    """Return the level of a novelty, at three digits; the most novel is lowest."""
    return -float(f"{novelty:.3g}")


def _in_unit(name: str, values: ArrayLike) -> _Floats:
    array = np.asarray(values, np.float64)
    # written so that NaN is out of range too
    if array.ndim != 1 or not ((array >= 0.0) & (array <= 1.0)).all():
        raise ConfigError(f"{name} must be a list of numbers in [0, 1]")
    return array


def _thinned(novelty: Iterable[float]) -> tuple[float, ...]:
    """Keep a random thousand: which ones must not depend on their values."""
    scores = [float(f"{score:.3g}") for score in novelty]
    if not all(map(math.isfinite, scores)):
        raise ConfigError("novelty must be a list of finite numbers")
    if len(scores) > _MAX_NOVELTY:
        kept = np.random.default_rng(0).permutation(len(scores))[:_MAX_NOVELTY]
        scores = [scores[i] for i in kept]
    return tuple(sorted(scores))


def _to_dict(baseline: Baseline) -> dict[str, Any]:
    cells: dict[str, dict[str, Any]] = {}
    for (model, band), cell in sorted(baseline.cells.items()):
        row = f"{cell.probability:.6g} {cell.quality:.6g} {cell.levels}"
        cells.setdefault(model, {})[str(band)] = row
    return {"bar": baseline.bar, "variance": baseline.variance, "cells": cells}


def _from_dict(
    stored: Mapping[str, Any], models: tuple[str, ...], novelty: tuple[float, ...]
) -> Baseline:
    cells = {}
    for model, bands in stored["cells"].items():
        for band, row in bands.items():
            probability, quality, levels = row.split(" ", 2)
            key = str(model), int(band)
            if key[0] not in models or not 0 <= key[1] < N_BANDS:
                raise ValueError(f"no cell of the pool: {key!r}")
            cells[key] = Cell(
                len(Bag.from_text(levels)), float(probability), float(quality), levels
            )
    bar = stored["bar"]
    return Baseline(
        None if bar is None else float(bar), models, cells, novelty, float(stored["variance"])
    )
