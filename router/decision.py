"""Records of a routing decision."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from router.certificate import Certificate, FloorCertificate
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
        Probability of a good answer, one with a quality of at least one half.
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
        bar is met by the reference model alone or the prompt is unlike those of training.
    shrinkage : float or None
        How far expected qualities were moved towards the pool's means, from 0 to 1 (one model
        for all prompts); None like the price.
    prompt_tokens : float
        Expected tokens of the prompt.
    candidates : tuple of Candidate
        Every model of the pool, in the pool's order.
    ranking : tuple of str
        Ids of the models that may be chosen, in the order in which to try them should one
        fail: the chosen one, the others that reach ``min_probability`` by falling bargain at the
        price in force, models that others beat in quality and energy, and last, for callers that
        would rather have any answer than none, those below ``min_probability``.
    reason : str
        Why the model was chosen, in a sentence.
    reference : str
        Id of the reference model.
    warnings : tuple of str
        What the caller should know, such as a bar that is not certified.
    certificate : Certificate or None
        Whether the bar is promised, and on what grounds; None from what is not calibrated.
    floor_certificate : FloorCertificate or None
        The same of ``min_probability`` for the chosen model; None without one.
    novelty : float or None
        Share of prompts like those of training that are less unlike the training prompts, in
        [0, 1]; about uniform for prompts like them. None where the guard is off or the router has
        none.
    """

    model: str
    probability: float
    energy_j: EnergyInterval
    quality: float
    price: float | None
    shrinkage: float | None
    prompt_tokens: float
    candidates: tuple[Candidate, ...]
    ranking: tuple[str, ...]
    reason: str
    reference: str
    warnings: tuple[str, ...] = ()
    certificate: Certificate | None = None
    floor_certificate: FloorCertificate | None = None
    novelty: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON types, under the names of its attributes.

        Returns
        -------
        dict
            With an energy as ``value_j``, ``low_j``, ``high_j`` and ``basis``, all in joules.
        """
        decision = asdict(self)
        listed = ("candidates", "ranking", "warnings")
        return decision | {key: list(decision[key]) for key in listed}
