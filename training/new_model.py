"""Fitting all that serving needs of one more model, from a few graded prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.eval.matrix import AnswerMatrix
from router.features import Features
from router.model import RouterModel
from router.pool import PoolModel
from router.training.heads import TrainingBlocks
from router.training.ladder import ladder_prior
from router.training.new_column import (
    Column,
    ColumnPrior,
    GradedBlocks,
    fit_linear_column,
    fit_logistic_column,
)
from router.training.widen import NewModel

__all__ = ["WELL_KNOWN", "FittedModel", "fit_new_model"]

_Floats = NDArray[np.float64]

WELL_KNOWN = 0.01
"""Standard deviation of a model's mean quality from which on choices rest on the mean itself."""

_QUANTILES = (0.1, 0.9)
_UNKNOWN_TOKENS = 300.0
_SLOPE_VARIANCE = 0.1
_OWN_VARIANCE = 0.02
_LENGTH_SPREAD = 0.1
_LEAST_DEVIATION = 1e-6
_LEAST_SLOPE = 0.02
_MAX_LOG_ODDS = 30.0
_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class FittedModel:
    """One more model as it was fitted.

    Attributes
    ----------
    model : NewModel
        What serving needs. While `provisional`, its expected quality is lower than what is
        believed by `deviation`, in the mean; its probabilities are what is believed.
    deviation : float
        Posterior standard deviation of its mean quality.
    provisional : bool
        Whether that is more than 0.01.
    token_low, token_high : float
        10 % and 90 % quantiles of actual over expected tokens, each by a fit without that answer.
    assumed_tokens : bool
        Whether all of its lengths are assumed.
    """

    model: NewModel
    deviation: float
    provisional: bool
    token_low: float
    token_high: float
    assumed_tokens: bool

    @property
    def lowered_by(self) -> float:
        """What its expected quality is lower by than what is believed."""
        return self.deviation if self.provisional else 0.0


def fit_new_model(
    trained: RouterModel, cells: AnswerMatrix, features: Features, new: PoolModel
) -> FittedModel:
    """Fit one more model for a trained router.

    Parameters
    ----------
    trained : RouterModel
        The trained model of the router.
    cells : AnswerMatrix
        The graded prompts: the router's models in their order, then the new one. Grades of the
        router's models may be missing.
    features : Features
        Features of the prompts.
    new : PoolModel
        The new model.

    Returns
    -------
    FittedModel
        Ready to widen the trained model with.
    """
    expected = trained.score(features, np.ones(len(cells))).quality
    surprise = cells.quality[:, :-1] - expected
    known = ~np.isnan(surprise)
    blocks = GradedBlocks.build(
        TrainingBlocks.build(trained.scaler, features),
        np.where(known, surprise, 0.0) if known.any() else None,
    )
    latent = trained.latent(features)
    quality = cells.quality[:, -1]
    links = _quality_columns(trained, latent, expected.mean(axis=0), blocks, quality)
    deviation = _deviation(trained, links, quality)
    provisional = deviation > WELL_KNOWN
    shift = deviation if provisional else 0.0
    log_tokens, tokens, assumed = _tokens(cells.completion_tokens[:, -1], new)
    column = _length_column(latent[:, -trained.n_models - 1 : -1], blocks, log_tokens)
    mean_log = np.exp(column.unseen)
    # as in training: expected lengths that add up to what was seen
    factor = float(tokens.mean() / mean_log.mean())
    low, high = np.quantile(tokens / (mean_log * factor), _QUANTILES).tolist()
    mean = float(quality.mean())
    return FittedModel(
        model=NewModel(
            links=tuple(
                _lowered(column, shift, logistic=link.logistic)
                for link, column in zip(trained.links, links, strict=True)
            ),
            log_tokens=column,
            token_factor=factor,
            token_limit=float(tokens.max()),
            # the other models' map, and the way back from the lower quality
            recalibration=trained.recalibration.values.mean(axis=0)
            + shift / max(mean * (1.0 - mean), _LEAST_SLOPE),
        ),
        deviation=deviation,
        provisional=provisional,
        token_low=min(low, 1.0),
        token_high=max(high, 1.0),
        assumed_tokens=assumed,
    )


def _quality_columns(
    trained: RouterModel,
    latent: _Floats,
    pool_quality: _Floats,
    blocks: GradedBlocks,
    quality: _Floats,
) -> list[Column]:
    """Fit a column for each link."""
    # two more answers, one of them right: no model is known to be always right or wrong
    level = float(quality.sum() + 1.0) / (len(quality) + 2.0)
    columns = []
    for link in trained.links:
        read = latent[:, link.columns]
        prior = ladder_prior(link, read, pool_quality, level)
        fit = fit_logistic_column if link.logistic else fit_linear_column
        column = fit(read, blocks, quality, prior)
        columns.append(_adding_up(column, float(quality.mean()), logistic=link.logistic))
    return columns


def _deviation(trained: RouterModel, columns: list[Column], quality: _Floats) -> float:
    """Return the deviation of the mean quality: the posterior's, or that of what it leaves open.

    The second is that of a difference estimator, which holds whatever the prompts are like.
    """
    posterior = sum(
        link.weight * column.deviation for link, column in zip(trained.links, columns, strict=True)
    )
    unseen = sum(
        link.weight * _expected(column.unseen, logistic=link.logistic)
        for link, column in zip(trained.links, columns, strict=True)
    )
    # again two more answers, one of them right: a handful of equal grades is no certainty
    level = float(np.mean(unseen))
    squares = float(np.square(quality - unseen).sum()) + level**2 + (1.0 - level) ** 2
    unexplained = squares / (len(quality) + 2) / len(quality)
    return float(max(posterior, np.sqrt(unexplained)))


def _tokens(found: _Floats, new: PoolModel) -> tuple[_Floats, _Floats, bool]:
    """Logarithms of the completion tokens and the tokens, gaps filled, and whether all are gaps."""
    known = ~np.isnan(found)
    fallback = new.assumed_completion_tokens
    if fallback is None:
        fallback = float(np.median(found[known])) if known.any() else _UNKNOWN_TOKENS
    tokens = np.maximum(np.where(known, found, fallback), 1.0)
    return np.log(tokens), tokens, not known.any()


def _length_column(latent: _Floats, blocks: GradedBlocks, log_tokens: _Floats) -> Column:
    """Fit the logarithm of the completion tokens on those of the other models."""
    variance = float(log_tokens.var())
    alive = (latent.std(axis=0) > _LEAST_DEVIATION) & (variance > 0.0)
    # what the other models' answers have in common with slope 1, then single models
    common = alive / max(int(alive.sum()), 1)
    prior = ColumnPrior(
        base=float(log_tokens.mean()),
        spread=_LENGTH_SPREAD * variance,
        mean=common,
        covariance=_SLOPE_VARIANCE * np.outer(common, common)
        + _OWN_VARIANCE * np.diag(alive.astype(np.float64)),
    )
    return fit_linear_column(latent, blocks, log_tokens, prior)


def _adding_up(column: Column, mean: float, *, logistic: bool) -> Column:
    """Move a column so that its expectations of the graded prompts add up to their grades."""
    low, high = -_MAX_LOG_ODDS, _MAX_LOG_ODDS
    for _ in range(_HALVINGS):
        step = (low + high) / 2.0
        if _expected(column.unseen + step, logistic=logistic).mean() < mean:
            low = step
        else:
            high = step
    return _moved(column, (low + high) / 2.0)


def _lowered(column: Column, shift: float, *, logistic: bool) -> Column:
    """Lower a column so that the expected quality falls by `shift` in the mean."""
    if logistic:
        quality = _expected(column.unseen, logistic=True)
        shift /= max(float((quality * (1.0 - quality)).mean()), _LEAST_SLOPE)
    return _moved(column, -shift)


def _moved(column: Column, step: float) -> Column:
    return replace(column, intercept=column.intercept + step, unseen=column.unseen + step)


def _expected(value: _Floats, *, logistic: bool) -> _Floats:
    """Return the quality that a link's value stands for."""
    if not logistic:
        return np.clip(value, 0.0, 1.0)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -_MAX_LOG_ODDS, _MAX_LOG_ODDS))))
