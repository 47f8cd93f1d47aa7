"""What is stored of a collection: answers, tries that failed, and prompts that were not asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["Answer", "FailedTry", "Skip"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished answer.

    Attributes
    ----------
    model : str
        Name of the model in the runs.
    key : str
        ``SuitePrompt.key`` of what was asked.
    prompt_id : str
        Id of the prompt.
    text : str
        What the model wrote.
    finish_reason : str, optional
        ``"stop"``, ``"length"`` where the answer was cut off, or what else the server says.
    prompt_tokens, completion_tokens, reasoning_tokens : int, optional
        As the server counted them; None where it does not say.
    latency_s : float
        Seconds from the request to the whole answer, without waits and earlier tries.
    asked_at : float
        Unix time of the request in seconds.
    tries : int
        Requests that it took.
    reasoning : str, optional
        Reasoning that the server returned beside the answer.
    served_model : str, optional
        The model that the server says it used.
    energy_j : float, optional
        Energy of the request in joules, where it could be metered.
    energy_basis : str, optional
        What `energy_j` rests on, beginning with ``measured`` or ``estimated``.
    """

    model: str
    key: str
    prompt_id: str
    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency_s: float = 0.0
    asked_at: float = 0.0
    tries: int = 1
    reasoning: str | None = None
    served_model: str | None = None
    energy_j: float | None = None
    energy_basis: str | None = None

    @property
    def truncated(self) -> bool:
        """Whether the limit on tokens cut the answer off."""
        return self.finish_reason == "length"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are known."""
        return _known(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Answer:
        """Make it from what `to_dict` returned."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


@dataclass(frozen=True, slots=True)
class FailedTry:
    """One request that gave no answer.

    Attributes
    ----------
    model, key, prompt_id : str
        As in `Answer`.
    failure, message : str
        Its kind, as :class:`router.dispatch.failure.Failure` has it, and what the server said.
    asked_at : float
        Unix time of the request in seconds.
    status : int, optional
        HTTP status.
    """

    model: str
    key: str
    prompt_id: str
    failure: str
    message: str
    asked_at: float
    status: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are known."""
        return _known(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FailedTry:
        """Make it from what `to_dict` returned."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


@dataclass(frozen=True, slots=True)
class Skip:
    """One prompt that a model was not asked, because its outcome could be told without.

    Attributes
    ----------
    model, key, prompt_id : str
        As in `Answer`.
    predicted_quality : float
        Probability of a good answer that was predicted. It is no grade.
    """

    model: str
    key: str
    prompt_id: str
    predicted_quality: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return _known(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Skip:
        """Make it from what `to_dict` returned."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def _known(record: Answer | FailedTry | Skip) -> dict[str, Any]:
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    return {key: value for key, value in values.items() if value is not None}
