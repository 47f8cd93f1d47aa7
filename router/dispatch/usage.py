"""Tokens that a request really used, and the energy of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from router.decision import Decision
from router.energy import Catalogue, EnergyInterval, weakest_basis
from router.pool import PoolModel

__all__ = ["EnergyRates", "Usage", "usage_of"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request.

    Attributes
    ----------
    prompt_tokens, completion_tokens : int
        Tokens of the prompt and of all answers.
    estimated : bool
        Whether they were counted here, because the server sent none.
    """

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


def usage_of(body: object) -> Usage | None:
    """Return the usage in a chat completion or a chunk of one, or None if there is none.

    Examples
    --------
    >>> usage_of({"usage": {"prompt_tokens": 9, "completion_tokens": 12}})
    Usage(prompt_tokens=9, completion_tokens=12, estimated=False)
    """
    usage = body.get("usage") if isinstance(body, Mapping) else None
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return None if prompt is None or completion is None else Usage(prompt, completion)


def _count(usage: Mapping[str, object], key: str) -> int | None:
    count = usage.get(key)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        return None
    return count


class EnergyRates:
    """Joules per token of the models that a router may choose, and of any the catalogue knows.

    Parameters
    ----------
    models : mapping of str to PoolModel
        The router's own models by their id in the API.
    """

    def __init__(self, models: Mapping[str, PoolModel]) -> None:
        self._models = dict(models)

    def energy_j(self, model: str, usage: Usage) -> EnergyInterval | None:
        """Return the joules of a request from its tokens, or None for an unknown model.

        Parameters
        ----------
        model : str
            Id in the API.
        usage : Usage
            What was used.

        Returns
        -------
        EnergyInterval or None
            Uncertain in the joules per token; assumed where the tokens are estimated.
        """
        known = self._models.get(model) or _catalogue_model(model)
        if known is None:
            return None
        energy = known.energy(usage.prompt_tokens, usage.completion_tokens)
        if not usage.estimated:
            return energy
        basis = weakest_basis(energy.basis, "assumed")
        return EnergyInterval(energy.value_j, energy.low_j, energy.high_j, basis)

    def expected_j(
        self, decision: Decision, model: str, prompt_tokens: float, n: int = 1
    ) -> EnergyInterval | None:
        """Return what a model is expected to use for a request.

        Parameters
        ----------
        decision : Decision
            The router's, with the expected tokens of one answer of the model.
        model : str
            Id in the API.
        prompt_tokens : float
            Tokens of the prompt, which is read once.
        n : int
            Answers asked for.

        Returns
        -------
        EnergyInterval or None
            With the expectation's own relative interval, which holds the uncertainty of the
            answer's length; None where the model is not among the candidates.
        """
        found = [c for c in decision.candidates if c.model == model]
        if not found:
            return None
        expected = found[0].energy_j
        known = self._models.get(model) or _catalogue_model(model)
        if known is None or expected.value_j <= 0:
            return expected
        value_j = known.energy(prompt_tokens, n * found[0].completion_tokens).value_j
        return expected * (value_j / expected.value_j)


@lru_cache(maxsize=4096)
def _catalogue_model(model: str) -> PoolModel | None:
    entry = Catalogue.default().match(model)
    if entry is None:
        return None
    return PoolModel(
        name=entry.name,
        api_id=model,
        joules_per_prompt_token=entry.joules_per_prompt_token,
        joules_per_completion_token=entry.joules_per_completion_token,
        low_factor=entry.low_factor,
        high_factor=entry.high_factor,
        basis=entry.basis,
    )
