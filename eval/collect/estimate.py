"""What a collection will take: requests, tokens, time and energy, before it starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.dispatch.usage import EnergyRates, Usage
from router.energy import EnergyInterval, weakest_basis
from router.eval.collect.answers import Answer
from router.eval.collect.settings import AskSettings
from router.eval.suites import SuitePrompt
from router.messages import prompt_text

__all__ = [
    "CollectionEstimate",
    "ModelEstimate",
    "RequestForecast",
    "estimate_collection",
    "expected_prompt_tokens",
]

_CHARS_PER_TOKEN = 4.0
_ASSUMED_COMPLETION_TOKENS = 300.0
_ASSUMED_TOKENS_PER_S = 40.0
_ENOUGH = 10


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What one model will take.

    Attributes
    ----------
    model : str
        Its name.
    n_requests : int
        Prompts that it has not answered yet.
    completion_tokens : float
        Expected tokens of one answer.
    seconds : float
        At its concurrency and rate limit.
    energy_j : EnergyInterval, optional
        Of all requests; None for a model whose energy nobody knows.
    observed : bool
        Whether tokens and time come from its stored answers.
    """

    model: str
    n_requests: int
    completion_tokens: float
    seconds: float
    energy_j: EnergyInterval | None
    observed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "model": self.model,
            "n_requests": self.n_requests,
            "completion_tokens": round(self.completion_tokens, 1),
            "seconds": round(self.seconds, 1),
            "energy_j": None if self.energy_j is None else _interval(self.energy_j),
            "observed": self.observed,
        }


@dataclass(frozen=True, slots=True)
class CollectionEstimate:
    """What a collection will take.

    Attributes
    ----------
    models : tuple of ModelEstimate
        By model.
    seconds : float
        All models together, with the limits of the key.
    days : float
        The part of `seconds` that the limit of a day asks for, in days.
    energy_j : EnergyInterval
        Of the models whose energy is known.
    """

    models: tuple[ModelEstimate, ...]
    seconds: float
    days: float
    energy_j: EnergyInterval

    @property
    def n_requests(self) -> int:
        """Requests of all models."""
        return sum(model.n_requests for model in self.models)

    @property
    def unknown_energy(self) -> tuple[str, ...]:
        """Models whose energy nobody knows."""
        return tuple(model.model for model in self.models if model.energy_j is None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "n_requests": self.n_requests,
            "seconds": round(self.seconds, 1),
            "energy_j": _interval(self.energy_j),
            "energy_unknown": list(self.unknown_energy),
            "models": [model.to_dict() for model in self.models],
        }


class RequestForecast:
    """Expects tokens and joules of single requests, from stored answers where there are any.

    Parameters
    ----------
    rates : EnergyRates
        Joules per token.
    answers : iterable of Answer
        Answers so far.
    """

    def __init__(self, rates: EnergyRates, answers: Iterable[Answer] = ()) -> None:
        self._rates = rates
        self._lengths: defaultdict[str, _Mean] = defaultdict(_Mean)
        self._seconds: defaultdict[str, _Mean] = defaultdict(_Mean)
        for answer in answers:
            self.learn(answer)

    def learn(self, answer: Answer) -> None:
        """Take a new answer into account."""
        self._seconds[answer.model].add(answer.latency_s)
        if answer.completion_tokens is not None:
            self._lengths[answer.model].add(answer.completion_tokens)

    def observed(self, model: str) -> bool:
        """Whether there are enough answers of a model to expect the next from them."""
        return self._lengths[model].count >= _ENOUGH

    def completion_tokens(self, settings: AskSettings) -> float:
        """Return the tokens expected of an answer."""
        if self.observed(settings.model):
            return self._lengths[settings.model].value
        return min(_ASSUMED_COMPLETION_TOKENS, float(settings.max_tokens))

    def latency_s(self, settings: AskSettings) -> float:
        """Return the seconds expected of a request."""
        seconds = self._seconds[settings.model]
        if seconds.count >= _ENOUGH:
            return seconds.value
        return 1.0 + self.completion_tokens(settings) / _ASSUMED_TOKENS_PER_S

    def energy_j(self, settings: AskSettings, prompt_tokens: int) -> EnergyInterval | None:
        """Return the joules expected of a request; None for an unknown model.

        Where the length of answers is assumed, the interval reaches from an answer of one token
        to the longest one allowed.
        """
        tokens = self.completion_tokens(settings)
        value = self._joules(settings, prompt_tokens, tokens)
        if value is None or self.observed(settings.model):
            return value
        low = self._joules(settings, prompt_tokens, 1.0)
        high = self._joules(settings, prompt_tokens, float(settings.max_tokens))
        assert low is not None
        assert high is not None
        basis = weakest_basis(value.basis, "assumed")
        return EnergyInterval(value.value_j, low.low_j, max(high.high_j, value.value_j), basis)

    def spent_j(self, answer: Answer, prompt_tokens: int, settings: AskSettings) -> float:
        """Return the joules of an answer by its usage, or as expected where it has none."""
        if answer.energy_j is not None and (answer.energy_basis or "").startswith("measured"):
            return answer.energy_j
        tokens = answer.completion_tokens
        length = self.completion_tokens(settings) if tokens is None else float(tokens)
        given = answer.prompt_tokens
        found = self._joules(settings, prompt_tokens if given is None else given, length)
        return 0.0 if found is None else found.value_j

    def _joules(
        self, settings: AskSettings, prompt: int, completion: float
    ) -> EnergyInterval | None:
        usage = Usage(prompt, round(completion))
        for name in (settings.model, settings.api_id):
            found = self._rates.energy_j(name, usage)
            if found is not None:
                return found
        return None


class _Mean:
    """A mean that grows."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self._sum += value

    @property
    def value(self) -> float:
        return self._sum / self.count


def expected_prompt_tokens(prompt: SuitePrompt, settings: AskSettings) -> int:
    """Return about how many tokens a prompt has: four characters to one."""
    n_chars = len(prompt_text(prompt.prompt).text) + len(settings.system or "")
    return 4 * len(prompt.messages) + round(n_chars / _CHARS_PER_TOKEN)


def estimate_collection(
    pending: Mapping[str, Sequence[SuitePrompt]],
    settings: Mapping[str, AskSettings],
    forecast: RequestForecast,
    *,
    per_minute: int | None = None,
    per_day: int | None = None,
    sent_today: int = 0,
    one_at_a_time: bool = False,
) -> CollectionEstimate:
    """Estimate what a collection will take.

    Parameters
    ----------
    pending : mapping of str to sequence of SuitePrompt
        By model, the prompts to ask.
    settings : mapping of str to AskSettings
        By model, how it is asked.
    forecast : RequestForecast
        What single requests are expected to take.
    per_minute, per_day : int, optional
        Requests that the key allows.
    sent_today : int
        Requests of the last day.
    one_at_a_time : bool
        Whether only one request runs at a time, over all models.

    Returns
    -------
    CollectionEstimate
        Without retries.
    """
    models = []
    known_j: list[EnergyInterval] = []
    for name, prompts in pending.items():
        how = settings[name]
        parts = [forecast.energy_j(how, expected_prompt_tokens(p, how)) for p in prompts]
        known = [part for part in parts if part is not None]
        energy = None
        if len(known) == len(parts):
            energy = EnergyInterval(
                sum(part.value_j for part in known),
                sum(part.low_j for part in known),
                sum(part.high_j for part in known),
                weakest_basis(*(part.basis for part in known)) if known else "assumed",
            )
            if known:
                known_j.append(energy)
        seconds = len(prompts) * forecast.latency_s(how) / (1 if one_at_a_time else how.concurrency)
        if how.requests_per_minute:
            seconds = max(seconds, 60.0 * (len(prompts) / how.requests_per_minute - 1.0))
        models.append(
            ModelEstimate(
                model=name,
                n_requests=len(prompts),
                completion_tokens=forecast.completion_tokens(how),
                seconds=seconds,
                energy_j=energy,
                observed=forecast.observed(name),
            )
        )
    n = sum(model.n_requests for model in models)
    each = [model.seconds for model in models]
    seconds = sum(each) if one_at_a_time else max(each, default=0.0)
    if per_minute:
        seconds = max(seconds, 60.0 * (n / per_minute - 1.0))
    days = max(0.0, -(-(n + sent_today) // per_day) - 1.0) if per_day and n else 0.0
    total = sum(known_j[1:], known_j[0]) if known_j else EnergyInterval(0.0, 0.0, 0.0, "assumed")
    return CollectionEstimate(tuple(models), max(seconds, days * 86_400.0), days, total)


def _interval(energy: EnergyInterval) -> dict[str, Any]:
    return {
        "value": round(energy.value_j, 3),
        "low": round(energy.low_j, 3),
        "high": round(energy.high_j, 3),
        "basis": energy.basis,
    }
