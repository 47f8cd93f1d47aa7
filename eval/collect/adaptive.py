"""Leaving out questions whose outcome is plain already from what smaller models did.

Some prompts, drawn before anything is known, are asked of every model: the first ones and a random
audit share of all that follow. They are a fair sample, so the error of leaving others out can be
estimated from them, out of fold, and it keeps being checked.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError
from router.eval.suites import SuitePrompt

__all__ = ["AdaptiveSettings", "AuditResult", "OutcomeRule", "in_sample", "learn_rule"]

_Floats = NDArray[np.float64]

_FOLDS = 5
_RIDGE = 1.0
_STEPS = 30
_PRIOR = 2.0
_CANDIDATES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True, slots=True)
class AdaptiveSettings:
    """When a question may be left out.

    Attributes
    ----------
    error_budget : float
        Largest share of left-out questions whose outcome may be told wrongly, in (0, 0.5).
    audit : float
        Share of all later prompts that every model is asked in any case, in (0, 1].
    first : int
        Prompts that every model is asked at the beginning.
    batch : int
        Prompts between two looks at the outcomes.
    confidence : float
        Of the statement that the error is within its budget.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """

    error_budget: float = 0.1
    audit: float = 0.1
    first: int = 60
    batch: int = 50
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.error_budget < 0.5:
            raise ConfigError(f"error_budget is {self.error_budget}: use a share in (0, 0.5)")
        if not 0 < self.audit <= 1:
            raise ConfigError(f"audit is {self.audit}: use a share in (0, 1]; it keeps it honest")
        if self.first < 20 or self.batch < 1:
            raise ConfigError("adaptive needs at least 20 prompts at first and 1 in a batch")
        if not 0.5 <= self.confidence < 1:
            raise ConfigError(f"confidence is {self.confidence}: use a share in [0.5, 1)")


@dataclass(frozen=True, slots=True)
class AuditResult:
    """How often outcomes that would have been left out were told wrongly.

    Attributes
    ----------
    n : int
        Prompts of the fair sample that the rule would leave out.
    n_wrong : int
        Those whose outcome was told wrongly, out of fold.
    upper : float
        Upper confidence bound of the share.
    """

    n: int
    n_wrong: int
    upper: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"n": self.n, "n_wrong": self.n_wrong, "upper": round(self.upper, 4)}


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """Tells a model's outcome from smaller models' outcomes, where it is sure enough.

    Attributes
    ----------
    model : str
        The model.
    smaller : tuple of str
        The models that it looks at.
    weights : ndarray
        Of the logistic regression.
    threshold : float
        Probability from which it is sure of right, and below one minus which of wrong.
    audit : AuditResult
        Its error on the fair sample.
    """

    model: str
    smaller: tuple[str, ...]
    weights: _Floats
    task_rates: Mapping[str, float]
    base_rate: float
    threshold: float
    audit: AuditResult

    def probability(self, prompt: SuitePrompt, qualities: Mapping[tuple[str, str], float]) -> float:
        """Return the probability that the model's answer is good.

        Parameters
        ----------
        prompt : SuitePrompt
            The prompt.
        qualities : mapping of (str, str) to float
            Quality by model and prompt key, as far as known.
        """
        rate = self.task_rates.get(prompt.task, self.base_rate)
        seen = _of_prompt(self.smaller, prompt, qualities)
        row = _row(self.smaller, seen, rate, len(str(prompt.prompt)))
        return float(_sigmoid(row @ self.weights))

    def sure(self, probability: float) -> bool:
        """Return whether a probability is far enough from a half."""
        return max(probability, 1.0 - probability) >= self.threshold


def in_sample(prompt: SuitePrompt, share: float, seed: int) -> bool:
    """Return whether a prompt is in the audit share, whatever is known of it.

    Examples
    --------
    >>> in_sample(SuitePrompt("Why?", "a"), 1.0, seed=0)
    True
    """
    digest = hashlib.sha256(f"{seed}\0{prompt.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def learn_rule(
    model: str,
    smaller: Sequence[str],
    prompts: Sequence[SuitePrompt],
    qualities: Mapping[tuple[str, str], float],
    fair: set[str],
    settings: AdaptiveSettings,
) -> OutcomeRule | None:
    """Learn to tell a model's outcomes, and how sure it must be.

    The threshold is the lowest of a few for which an upper confidence bound of the error on the
    fair sample, out of fold, is within the budget; the bound allows for the number of candidates.

    Parameters
    ----------
    model : str
        The model.
    smaller : sequence of str
        Models that are asked before it.
    prompts : sequence of SuitePrompt
        Prompts with outcomes.
    qualities : mapping of (str, str) to float
        Quality by model and prompt key.
    fair : set of str
        Keys of the prompts that were to be asked in any case.
    settings : AdaptiveSettings
        Budget and confidence.

    Returns
    -------
    OutcomeRule or None
        None where no threshold keeps the budget.

    References
    ----------
    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    """
    known = [p for p in prompts if (model, p.key) in qualities]
    if len(known) < settings.first // 2:
        return None
    right = np.array([qualities[model, p.key] >= 0.5 for p in known], dtype=float)
    told = np.empty(len(known))
    folds = np.array([int(p.key[:8], 16) % _FOLDS for p in known])
    for fold in range(_FOLDS):
        rest, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(held):
            weights, rates, base = _fit(smaller, [known[i] for i in rest], right[rest], qualities)
            rows = _rows(smaller, [known[i] for i in held], qualities, rates, base)
            told[held] = _sigmoid(rows @ weights)
    is_fair = np.array([p.key in fair for p in known])
    confidence = 1.0 - (1.0 - settings.confidence) / len(_CANDIDATES)
    for threshold in _CANDIDATES:
        sure = is_fair & (np.maximum(told, 1.0 - told) >= threshold)
        wrong = int(((told >= 0.5) != (right >= 0.5))[sure].sum())
        upper = _upper_bound(wrong, int(sure.sum()), confidence)
        if upper <= settings.error_budget:
            weights, rates, base = _fit(smaller, known, right, qualities)
            audit = AuditResult(int(sure.sum()), wrong, upper)
            return OutcomeRule(model, tuple(smaller), weights, rates, base, threshold, audit)
    return None


def _fit(
    smaller: Sequence[str],
    prompts: Sequence[SuitePrompt],
    right: _Floats,
    qualities: Mapping[tuple[str, str], float],
) -> tuple[_Floats, dict[str, float], float]:
    base = float((right.sum() + 1.0) / (len(right) + 2.0))
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for prompt, outcome in zip(prompts, right, strict=True):
        sums[prompt.task] += outcome
        counts[prompt.task] += 1
    # a prompt's own outcome stays out of the rate that it is described by
    rows = np.array(
        [
            _row(
                smaller,
                _of_prompt(smaller, prompt, qualities),
                (sums[prompt.task] - outcome + _PRIOR * base) / (counts[prompt.task] - 1 + _PRIOR),
                len(str(prompt.prompt)),
            )
            for prompt, outcome in zip(prompts, right, strict=True)
        ]
    )
    rates = {t: (sums[t] + _PRIOR * base) / (counts[t] + _PRIOR) for t in counts}
    return _logistic(rows, right), rates, base


def _rows(
    smaller: Sequence[str],
    prompts: Sequence[SuitePrompt],
    qualities: Mapping[tuple[str, str], float],
    rates: Mapping[str, float],
    base: float,
) -> _Floats:
    return np.array(
        [
            _row(
                smaller,
                _of_prompt(smaller, p, qualities),
                rates.get(p.task, base),
                len(str(p.prompt)),
            )
            for p in prompts
        ]
    )


def _of_prompt(
    smaller: Sequence[str], prompt: SuitePrompt, qualities: Mapping[tuple[str, str], float]
) -> dict[str, float]:
    return {m: qualities[m, prompt.key] for m in smaller if (m, prompt.key) in qualities}


def _row(
    smaller: Sequence[str], qualities: Mapping[str, float], rate: float, n_chars: int
) -> _Floats:
    """Return one row: a constant, task rate, length, mean outcome, outcome of each model."""
    known = [qualities[m] for m in smaller if m in qualities]
    mean = sum(known) / len(known) if known else 0.5
    own = [2.0 * (qualities.get(m, mean) - 0.5) for m in smaller]
    rate = min(max(rate, 0.01), 0.99)
    logit = math.log(rate / (1.0 - rate))
    return np.array([1.0, logit, math.log1p(n_chars) - 5.0, 2.0 * (mean - 0.5), *own])


def _logistic(rows: _Floats, right: _Floats) -> _Floats:
    """Fit a ridge logistic regression by Newton's method; the constant is not penalised."""
    weights = np.zeros(rows.shape[1])
    penalty = np.full(rows.shape[1], _RIDGE)
    penalty[0] = 1e-3
    for _ in range(_STEPS):
        told = _sigmoid(rows @ weights)
        gradient = rows.T @ (told - right) + penalty * weights
        curvature = (rows * (told * (1.0 - told) + 1e-6)[:, None]).T @ rows + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _sigmoid(scores: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(scores, -30.0, 30.0)))


def _upper_bound(n_wrong: int, n: int, confidence: float) -> float:
    """Return the Clopper-Pearson upper bound of a share, by bisection on the binomial tail."""
    if n == 0 or n_wrong >= n:
        return 1.0
    low, high = n_wrong / n, 1.0
    for _ in range(60):
        share = (low + high) / 2
        tail = sum(
            math.exp(
                math.lgamma(n + 1)
                - math.lgamma(k + 1)
                - math.lgamma(n - k + 1)
                + k * math.log(share)
                + (n - k) * math.log1p(-share)
            )
            for k in range(n_wrong + 1)
        )
        if tail > 1.0 - confidence:
            low = share
        else:
            high = share
    return high
