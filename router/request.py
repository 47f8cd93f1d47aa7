"""What a caller asks of the router, and the order of the models that follows from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.dial import PoolMeans, Setting, shrink
from router.errors import ConfigError
from router.novelty import NoveltyGuard
from router.policy import TIE, best_bargain

__all__ = ["Request", "allowed_ids", "checked_number"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]

_NO_SETTING = Setting(0.0, 0.0)
_MEANS_ALONE = Setting(0.0, 1.0)

# tiers of a ranking, from the first to the last
_FIRST, _CANDIDATE, _PRUNED, _FALLBACK_BELOW_FLOOR, _BELOW_FLOOR, _NOT_ALLOWED = range(6)


@dataclass(frozen=True, slots=True)
class Request:
    """The bar, the setting that it became, the floor and the models that may be chosen.

    Attributes
    ----------
    bar : float
        The quality bar.
    setting : Setting or None
        Setting of the dial; None where only the reference model keeps the bar.
    floor : float or None
        Least probability of a good answer.
    allowed : tuple of bool
        Which models may be chosen, at least one.
    reference : int
        Column of the reference model.
    fallback : int
        Column of the model that stands in where none fits: the reference model, or, where that
        is not allowed, the allowed one with the best mean quality on the training prompts.
    tier : ndarray of shape (n_models,)
        Where the floor does not matter, models of a lower tier come before those of a higher.
    means : PoolMeans
        Mean outcomes on the training prompts, nothing pruned.
    why_fallback : str
        Why the fallback serves where there is no setting.
    notes : tuple of str
        What the caller should know for every prompt alike.
    novel : bool
        Whether this is for prompts unlike those of training.
    """

    bar: float
    setting: Setting | None
    floor: float | None
    allowed: tuple[bool, ...]
    reference: int
    fallback: int
    tier: _Index
    means: PoolMeans
    why_fallback: str
    notes: tuple[str, ...]
    novel: bool = False

    @classmethod
    def build(
        cls,
        bar: float,
        setting: Setting | None,
        floor: float | None,
        allowed: Collection[str] | None,
        ids: Sequence[str],
        reference: int,
        means: PoolMeans,
        *,
        why_fallback: str = "nothing else keeps the bar",
        notes: tuple[str, ...] = (),
    ) -> Request:
        """Check what was asked for.

        Parameters
        ----------
        bar : float
            The quality bar.
        setting : Setting or None
            Setting of the dial for it.
        floor : float or None
            Least probability of a good answer.
        allowed : collection of str or None
            Ids that may be chosen; None for all.
        ids : sequence of str
            Ids of the pool's models, in its order.
        reference : int
            Column of the reference model.
        means : PoolMeans
            Mean outcomes on the training prompts.
        why_fallback : str
            Why the fallback serves where there is no setting.
        notes : tuple of str
            What the caller should know for every prompt alike.

        Raises
        ------
        ConfigError
            If `floor` is out of range, or `allowed` is empty or has an id that the pool lacks.
        """
        if floor is not None and not 0.0 <= floor <= 1.0:
            raise ConfigError(f"min_probability is {floor!r}: use a probability in [0, 1]")
        if allowed is None:
            mask = (True,) * len(ids)
        else:
            names = allowed_ids(allowed, ids)
            mask = tuple(name in names for name in ids)
        left = [j for j, may in enumerate(mask) if may]
        quality, energy_j = means.quality, means.energy_j
        fallback = reference
        if not mask[reference]:
            fallback = min(left, key=lambda j: (-quality[j], energy_j[j]))
        tier = np.where(mask, _CANDIDATE, _NOT_ALLOWED)
        for j in means.pruned:
            # for the sake of a better one, so one of those must be left
            better = [i for i in left if quality[i] >= quality[j] and energy_j[i] < energy_j[j]]
            if mask[j] and (allowed is None or better):
                tier[j] = _PRUNED
        if setting is None:
            tier[fallback] = _FIRST
        unpruned = PoolMeans(quality, energy_j)
        return cls(
            bar=bar,
            setting=setting,
            floor=floor,
            allowed=mask,
            reference=reference,
            fallback=fallback,
            tier=tier,
            means=unpruned,
            why_fallback=why_fallback,
            notes=notes,
        )

    def beyond_training(self, guard: NoveltyGuard) -> Request:
        """Return what becomes of the request for prompts unlike those of training.

        The heads' expectations decide nothing: first comes the model that the guard trusts to
        keep the bar, if it is one that may be chosen and not all is left to the reference model
        already, then the others by falling mean quality on the training prompts.

        Parameters
        ----------
        guard : NoveltyGuard
            The guard that noticed them.
        """
        fallback = None
        if self.setting is not None:
            fallback = guard.stand_in(self.bar, self.means.energy_j, self.allowed)
        if fallback is None:
            fallback = self.fallback
        tier = self.tier.copy()
        tier[self.fallback] = _CANDIDATE
        tier[fallback] = _FIRST
        return replace(
            self,
            setting=None,
            fallback=fallback,
            tier=tier,
            why_fallback="the prompt is unlike those of training",
            notes=(*self.notes, "the prompt is unlike those of training: expectations are guesses"),
            novel=True,
        )

    def rank(self, quality: _Floats, energy_j: _Floats, probability: _Floats) -> _Index:
        """Order the allowed models for each prompt, from the chosen one to the last resort.

        First come the models that reach the floor: the fallback where only it keeps the bar,
        then the others by falling bargain, pruned ones last. After them come those below the
        floor: the fallback, then the others by falling bargain.

        Parameters
        ----------
        quality, energy_j : ndarray of shape (n, n_models)
            Expected quality and energy in joules, which bargains are made of.
        probability : ndarray of shape (n, n_models)
            Probability of a good answer, which is held against the floor.

        Returns
        -------
        ndarray of shape (n, n_allowed)
            Columns of the models.
        """
        if len(quality) == 1:
            row = quality[0].tolist(), energy_j[0].tolist(), probability[0].tolist()
            return np.array([self._rank_one(*row)], np.int64)
        setting = self._effective_setting()
        shrunken, cost_j = shrink(quality, energy_j, self.means, setting)
        tier = np.repeat(self.tier[None], len(quality), axis=0)
        if self.floor is not None:
            below = (probability < self.floor) & (self.tier < _NOT_ALLOWED)
            tier[below] = _BELOW_FLOOR
            tier[below[:, self.fallback], self.fallback] = _FALLBACK_BELOW_FLOOR
        best = tier.min(axis=1, keepdims=True)
        chosen = best_bargain(np.where(tier == best, shrunken, -np.inf), cost_j, setting.price)
        tier[np.arange(len(tier)), chosen] = _FIRST - 1
        order = np.lexsort((cost_j, setting.price * cost_j - shrunken, tier), axis=1)
        return order[:, : sum(self.allowed)]

    def _rank_one(
        self, quality: list[float], energy_j: list[float], probability: list[float]
    ) -> list[int]:
        """Order the models for one prompt; on a few numbers lists are faster than arrays."""
        setting = self._effective_setting()
        price, shrinkage, means = setting.price, setting.shrinkage, self.means.quality
        if shrinkage >= 1.0:
            quality, energy_j = list(means), list(self.means.energy_j)
        elif shrinkage > 0.0:
            quality = [q + shrinkage * (m - q) for q, m in zip(quality, means, strict=True)]
        tier = self.tier.tolist()
        if self.floor is not None:
            for j, p in enumerate(probability):
                if p < self.floor and tier[j] < _NOT_ALLOWED:
                    tier[j] = _FALLBACK_BELOW_FLOOR if j == self.fallback else _BELOW_FLOOR
        bargain = [q - price * cost for q, cost in zip(quality, energy_j, strict=True)]
        first = min(tier)
        level = [j for j, t in enumerate(tier) if t == first]
        enough = max(bargain[j] for j in level) - TIE
        chosen = min((energy_j[j], j) for j in level if bargain[j] >= enough)[1]
        tier[chosen] = _FIRST - 1
        order = sorted(range(len(tier)), key=lambda j: (tier[j], -bargain[j], energy_j[j]))
        return order[: sum(self.allowed)]

    def _effective_setting(self) -> Setting:
        return self.setting or (_MEANS_ALONE if self.novel else _NO_SETTING)

    def reason(
        self,
        quality: list[float],
        energy_j: list[float],
        probability: list[float],
        j: int,
        chosen: int,
    ) -> str:
        """Say why model j was chosen or not.

        Parameters
        ----------
        quality, energy_j, probability : list of float
            Expectations of each model for the prompt.
        j : int
            Column of the model.
        chosen : int
            Column of the chosen model.
        """
        if j == chosen:
            return self._reason_chosen(probability[j], j)
        if not self.allowed[j]:
            return "not among the models allowed"
        if self.floor is not None and probability[j] < self.floor:
            return f"probability below {self.floor:g}"
        if self.novel:
            return "not the model for prompts unlike those of training"
        if self.setting is None:
            return "does not keep the bar" if chosen == self.fallback else "no higher probability"
        if self.setting.shrinkage >= 1.0:
            return "not the fixed model of this bar"
        gain, cost_j = quality[j] - quality[chosen], energy_j[j] - energy_j[chosen]
        if gain > 0 and cost_j <= 0:
            return f"{gain:+.3f} quality here, but worse on average"
        if gain > 0:
            return f"{gain:+.3f} quality is not worth {_signed(cost_j)} J"
        if cost_j >= 0:
            return "more energy, no better"
        return f"{_signed(cost_j)} J does not make up for {gain:+.3f} quality"

    def _reason_chosen(self, probability: float, j: int) -> str:
        stand_in = "best allowed model on average"
        if j == self.reference:
            stand_in = "reference model"
        elif self.novel:
            stand_in = "fixed model"
        if self.floor is not None and probability < self.floor:
            return f"{stand_in}: no candidate reaches probability {self.floor:g}"
        if self.setting is not None:
            if self.setting.shrinkage >= 1.0:
                return "fixed model: telling prompts apart saves nothing more at this bar"
            return "best bargain at the bar's energy price"
        if j == self.fallback:
            return f"{stand_in}: {self.why_fallback}"
        if self.novel:
            return f"best on average of those that reach probability {self.floor:g}"
        whose = "reference model" if self.fallback == self.reference else "best allowed model"
        return f"highest probability: the {whose}'s is below {self.floor:g}"

    def warnings(self, probability: list[float]) -> tuple[str, ...]:
        """Return what the caller should know.

        Parameters
        ----------
        probability : list of float
            Probability of a good answer by each model.
        """
        warnings = []
        if not self.allowed[self.reference]:
            warnings.append(
                f"the reference model is not allowed: a bar of {self.bar:g} may not be kept"
            )
        elif self.setting is None and not self.notes:
            warnings.append(f"only the reference model keeps a bar of {self.bar:g}")
        if self.floor is not None:
            reached = max(p for p, may in zip(probability, self.allowed, strict=True) if may)
            if reached < self.floor:
                warnings.append(f"no candidate reaches a probability of {self.floor:g}")
        return (*warnings, *self.notes)


def allowed_ids(allowed: Collection[str], ids: Sequence[str]) -> frozenset[str]:
    """Return the models that may be chosen.

    Parameters
    ----------
    allowed : collection of str
        Ids that may be chosen.
    ids : sequence of str
        Ids of the pool's models.

    Raises
    ------
    ConfigError
        If there is none, or one that the pool lacks.
    """
    if isinstance(allowed, (str, bytes)):
        raise ConfigError(f"allowed is {allowed!r}: put the one id in a list")
    try:
        names = list(allowed)
    except TypeError as error:
        raise ConfigError(f"allowed is {allowed!r}: use a list of ids") from error
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise ConfigError(
            f"allowed has {', '.join(map(repr, unknown))}, which the pool lacks: "
            f"use {', '.join(ids)}"
        )
    if not names:
        raise ConfigError(f"allowed is empty: name at least one of {', '.join(ids)}")
    return frozenset(names)


def checked_number(name: str, value: float) -> float:
    """Return an argument as a number.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : float
        What was given; numbers of other libraries are converted.

    Raises
    ------
    ConfigError
        If it is not a finite number.
    """
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name} is {value!r}: use a number") from error
    if not math.isfinite(number):
        raise ConfigError(f"{name} is {value!r}: use a finite number")
    return number


def _signed(joules: float) -> str:
    return f"{joules:+,.0f}" if abs(joules) >= 10 else f"{joules:+.2g}"
