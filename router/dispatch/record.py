"""The record of one routed request: what was decided, tried, answered and used."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from router.certificate import Certificate, FloorCertificate
from router.decision import Candidate, Decision
from router.dispatch.usage import Usage
from router.energy import EnergyInterval

__all__ = ["Attempt", "Dispatched", "Exclusion"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One step of a request.

    Attributes
    ----------
    model : str
        Id of the model.
    outcome : str
        ``"answered"``, ``"skipped"`` (not sent: why is in the message), ``"cancelled"`` (the
        caller went away), ``"sent"`` (still open), or the kind of a `Failure`.
    status : int, optional
        HTTP status, where a response came.
    wait_s : float
        Seconds waited before it.
    message : str
        What went wrong.
    request_id : str, optional
        The server's id of the request.
    """

    model: str
    outcome: str
    status: int | None = None
    wait_s: float = 0.0
    message: str = ""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A model of the pool that was left out before choosing.

    Attributes
    ----------
    model : str
        Id of the model.
    reason : str
        Why.
    """

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What became of one routed request.

    Attributes
    ----------
    requested : str
        The model name of the request, such as ``"auto:0.95"``.
    model : str or None
        Id of the model that answered, or was tried last; None before the first try.
    decision : Decision or None
        The router's decision; None where the router failed or nothing fitted.
    reason : str
        Why this model.
    fallback : str or None
        Why it is not the router's choice; None where it is.
    attempts : tuple of Attempt
        Every step, in order.
    excluded : tuple of Exclusion
        Models that were out before choosing.
    session_key : str or None
        Hash that names the conversation.
    kept : bool
        Whether the conversation's earlier model was kept.
    max_tokens : int or None
        The ``max_tokens`` that was sent.
    usage : Usage or None
        Tokens used; None until the answer is whole.
    finish_reason : str or None
        Why the answer ended.
    expected_energy_j : EnergyInterval or None
        Energy of the request on this model as expected before it, in joules.
    actual_energy_j : EnergyInterval or None
        Energy from the tokens used, in joules; None without usage.
    reference_energy_j : EnergyInterval or None
        What the reference model was expected to use for it, in joules; what it used where it
        answered itself.
    routing_s : float
        Seconds that deciding took.
    warnings : tuple of str
        What the caller should know.
    """

    requested: str
    model: str | None
    decision: Decision | None
    reason: str
    fallback: str | None
    attempts: tuple[Attempt, ...]
    excluded: tuple[Exclusion, ...]
    session_key: str | None
    kept: bool
    max_tokens: int | None
    usage: Usage | None
    finish_reason: str | None
    expected_energy_j: EnergyInterval | None
    actual_energy_j: EnergyInterval | None
    reference_energy_j: EnergyInterval | None
    routing_s: float
    warnings: tuple[str, ...] = ()

    @property
    def energy_j(self) -> EnergyInterval | None:
        """The energy from the tokens used where they are known, else the expected one."""
        return self.expected_energy_j if self.actual_energy_j is None else self.actual_energy_j

    @property
    def saved_j(self) -> float | None:
        """Joules less than the reference model was expected to use; below 0 is more."""
        if self.actual_energy_j is None or self.reference_energy_j is None:
            return None
        return self.reference_energy_j.value_j - self.actual_energy_j.value_j

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The router's candidates; none where the router failed."""
        return () if self.decision is None else self.decision.candidates

    @property
    def quality(self) -> float | None:
        """The quality bar; None where the router failed."""
        return None if self.decision is None else self.decision.quality

    @property
    def reference(self) -> str | None:
        """Id of the reference model; None where the router failed."""
        return None if self.decision is None else self.decision.reference

    @property
    def probability(self) -> float | None:
        """Probability of a good answer by this model; None where it is not known."""
        for candidate in self.candidates:
            if candidate.model == self.model and not math.isnan(candidate.probability):
                return candidate.probability
        return None

    @property
    def novelty(self) -> float | None:
        """How unlike those of training the prompt is, in [0, 1]; None where that is not known."""
        return None if self.decision is None else self.decision.novelty

    @property
    def certificate(self) -> Certificate | None:
        """Whether the bar is promised for this answer; None where nothing is calibrated.

        It never holds for an answer of another model than the one that the router chose.
        """
        found = None if self.decision is None else self.decision.certificate
        if found is None or not found.holds or (why := self._not_chosen()) is None:
            return found
        return replace(found, holds=False, reason=f"not covered: {why}")

    @property
    def floor_certificate(self) -> FloorCertificate | None:
        """The same of ``min_probability``; None without one."""
        found = None if self.decision is None else self.decision.floor_certificate
        if found is None or not found.holds or (why := self._not_chosen()) is None:
            return found
        return replace(found, holds=False, reason=f"floor not covered: {why}")

    def _not_chosen(self) -> str | None:
        """Return why the answer is from another model than the chosen one, or None."""
        if self.decision is None or self.model in (None, self.decision.model):
            return None
        return "the conversation kept its model" if self.kept else "another model answered"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON types, with what its properties say.

        Returns
        -------
        dict
            An energy has ``value_j``, ``low_j``, ``high_j`` and ``basis``.
        """
        record: dict[str, Any] = asdict(replace(self, decision=None))
        if self.decision is not None:
            record["decision"] = self.decision.to_dict()
        for key in ("attempts", "excluded", "warnings"):
            record[key] = list(record[key])
        record["energy_j"] = None if self.energy_j is None else asdict(self.energy_j)
        record["saved_j"] = self.saved_j
        record["probability"] = self.probability
        record["novelty"] = self.novelty
        for key in ("certificate", "floor_certificate"):
            promise = getattr(self, key)
            record[key] = None if promise is None else asdict(promise)
        return record
