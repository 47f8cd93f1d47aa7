"""Records of a routing decision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from router.energy import EnergyInterval

__all__ = ["Candidate", "Decision", "RoutedModel"]


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """A model of a router's pool.

    Attributes
    ----------
    id : str
        Id in the API.
    run_name : str
        Name in the evaluation runs that it was trained on.
    reference : bool
        Whether it is the reference model: the best single model on the training prompts.
    """

    id: str
    run_name: str
    reference: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is expected of one model on one prompt.

    Attributes
    ----------
    model : str
        Id in the API.
    probability : float
        Probability of a good answer.
    energy_j : EnergyInterval
        Energy of the request in joules, with its basis.
    completion_tokens : float
        Expected tokens of the answer.
    chosen : bool
        Whether the prompt goes to this model.
    reason : str
        Why it was chosen or not.
    """

    model: str
    probability: float
    energy_j: EnergyInterval
    completion_tokens: float
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a prompt goes, and why.

    Attributes
    ----------
    model : str
        Id of the chosen model in the API.
    probability : float
        Its probability of a good answer.
    energy_j : EnergyInterval
        Its energy for this request in joules.
    quality : float
        The quality bar: the share of the reference model's mean quality that traffic keeps.
    price : float or None
        The energy price that the bar was turned into, in quality per joule; None where the
        bar is met by the reference model alone.
    shrinkage : float or None
        How far expected qualities were moved towards the pool's means, from 0 to 1 (one model
        for all prompts); None like the price.
    prompt_tokens : float
        Expected tokens of the prompt.
    candidates : tuple of Candidate
        Every model of the pool, in the pool's order.
    reason : str
        Why the model was chosen, in a sentence.
    reference : str
        Id of the reference model.
    warnings : tuple of str
        What the caller should know, such as a bar that only the reference model meets.
    """

    model: str
    probability: float
    energy_j: EnergyInterval
    quality: float
    price: float | None
    shrinkage: float | None
    prompt_tokens: float
    candidates: tuple[Candidate, ...]
    reason: str
    reference: str
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON types, under the names of its attributes.

        Returns
        -------
        dict
            With an energy as ``value_j``, ``low_j``, ``high_j`` and ``basis``, all in joules.
        """
        decision = asdict(self)
        return decision | {key: list(decision[key]) for key in ("candidates", "warnings")}
