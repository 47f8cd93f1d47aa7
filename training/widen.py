"""A trained model with one more model of the pool, in the arrays that serving scores.

Expectations of the models that were there do not change: the new latents have weight 0 for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.model import NeighbourHead, QualityLink, RouterModel
from router.recalibration import Recalibration
from router.training.new_column import Column

__all__ = ["NewModel", "widen"]

_Floats = NDArray[np.float64]
_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NewModel:
    """All that serving needs of one more model.

    Attributes
    ----------
    links : tuple of Column
        One for each link of the trained model, over the latents that the link reads.
    log_tokens : Column
        Logarithm of completion tokens, over the other models' logarithms.
    token_factor : float
        From its exponential to the mean length.
    token_limit : float
        Longest expected answer in tokens.
    recalibration : ndarray of shape (n_knots,)
        Log-odds of a good answer at each knot of :class:`Recalibration`.
    """

    links: tuple[Column, ...]
    log_tokens: Column
    token_factor: float
    token_limit: float
    recalibration: _Floats


def widen(model: RouterModel, new: NewModel) -> RouterModel:
    """Return a trained model with one more model at the end of its pool.

    Each link gets one more latent, the part of the new model's own; the logarithm of its answers'
    lengths is one more latent behind those of the others.

    Parameters
    ----------
    model : RouterModel
        The trained model.
    new : NewModel
        The one to add.

    Returns
    -------
    RouterModel
        Expects the same of the other models, but for rounding.

    Raises
    ------
    ValueError
        If `new` does not have one column for each link, or the links do not read the latents one
        after the other.
    """
    if len(new.links) != len(model.links):
        raise ValueError(f"{len(new.links)} columns for {len(model.links)} links")
    ends = [bound for link in model.links for bound in (link.columns.start, link.columns.stop)]
    if ends != sorted(ends):
        raise ValueError("the links must read the latents one after the other")
    n_latents, n_models = model.intercept.size, model.n_models
    lengths = slice(n_latents - n_models - 1, n_latents - 1)
    places = [link.columns.stop for link in model.links] + [n_latents - 1]
    mix = new.log_tokens.coefficients
    own = [*new.links, new.log_tokens]

    def inserted(array: NDArray[np.floating], columns: _Floats) -> _Floats:
        """Put columns of shape (rows, n_links + 1) among the latents."""
        return np.insert(array.astype(np.float64), places, columns, axis=1)

    def mixed(array: NDArray[np.floating], parts: Sequence[_Floats] | None = None) -> _Floats:
        """Latents with what the new ones take from the old ones and from features."""
        columns = np.zeros((len(array), len(places)))
        if parts is not None:
            columns += np.stack(parts, axis=1)
        columns[:, -1] += array[:, lengths].astype(np.float64) @ mix
        return inserted(array, columns)

    intercept = mixed(model.intercept[None])[0]
    intercept[_after(places)[-1]] += new.log_tokens.intercept
    neighbours = model.neighbours
    if neighbours is not None:
        values = tuple(mixed(v).astype(np.float32) for v in neighbours.values)
        neighbours = NeighbourHead.build(neighbours.neighbours, neighbours.bank, values)
    trees = model.trees
    if trees is not None:
        trees = trees.with_values(mixed(trees.values), mixed(trees.mean[None])[0])
    return replace(
        model,
        dense_weights=mixed(model.dense_weights, [c.dense_weights for c in own]).astype(np.float32),
        ngram_weights=mixed(model.ngram_weights, [c.ngram_weights for c in own]).astype(np.float16),
        intercept=intercept.astype(np.float32),
        neighbours=neighbours,
        cluster_values=mixed(model.cluster_values).astype(np.float32),
        trees=trees,
        links=tuple(map(_widened_link, model.links, new.links, range(len(places)))),
        token_factor=np.append(model.token_factor, new.token_factor),
        token_limit=np.append(model.token_limit, new.token_limit),
        recalibration=Recalibration(np.vstack([model.recalibration.values, new.recalibration])),
    )


def _after(places: Sequence[int]) -> list[int]:
    """Where columns that are inserted before `places` come to lie."""
    return [place + i for i, place in enumerate(places)]


def _widened_link(link: QualityLink, new: Column, n_before: int) -> QualityLink:
    n_latents, n_models = link.coefficients.shape
    coefficients = np.zeros((n_latents + 1, n_models + 1))
    coefficients[:-1, :-1] = link.coefficients
    coefficients[:-1, -1] = new.coefficients
    coefficients[-1, -1] = 1.0
    return replace(
        link,
        columns=slice(link.columns.start + n_before, link.columns.stop + n_before + 1),
        coefficients=coefficients,
        intercept=np.append(link.intercept, new.intercept),
    )
