"""One run of a collection: in which order what is asked of whom."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.eval.collect.adaptive import AdaptiveSettings, AuditResult, in_sample, learn_rule
from router.eval.collect.answers import Skip
from router.eval.collect.collector import Collector
from router.eval.collect.estimate import RequestForecast, expected_prompt_tokens
from router.eval.collect.settings import AskSettings
from router.eval.collect.store import AnswerStore
from router.eval.suites import SuitePrompt

__all__ = [
    "Saved",
    "by_energy",
    "collect_adaptively",
    "collect_all",
    "fair_keys",
    "in_random_order",
    "saved",
]

Qualities = Callable[[], Mapping[tuple[str, str], float]]


@dataclass(frozen=True, slots=True)
class Saved:
    """What leaving questions out saved for one model.

    Attributes
    ----------
    model : str
        Its name.
    n_skipped : int
        Prompts that it was not asked.
    n_asked : int
        Answers that it gave.
    energy_j : float, optional
        Joules that the answers left out were expected to take; None for an unknown model.
    audit : AuditResult, optional
        How often the rule, as it is now, tells outcomes of the fair sample wrongly; None where no
        rule keeps the error budget.
    """

    model: str
    n_skipped: int
    n_asked: int
    energy_j: float | None
    audit: AuditResult | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "model": self.model,
            "n_skipped": self.n_skipped,
            "n_asked": self.n_asked,
            "energy_j": None if self.energy_j is None else round(self.energy_j, 3),
            "audit": None if self.audit is None else self.audit.to_dict(),
        }


def in_random_order(prompts: Sequence[SuitePrompt], seed: int) -> tuple[SuitePrompt, ...]:
    """Return prompts in an order that the seed decides, so that any first part is a fair sample.

    Parameters
    ----------
    prompts : sequence of SuitePrompt
        In any order.
    seed : int
        Seed of the order.

    Returns
    -------
    tuple of SuitePrompt
        All of them; the order of two does not depend on the others.
    """

    def place(prompt: SuitePrompt) -> bytes:
        return hashlib.sha256(f"{seed}\0{prompt.key}\0order".encode()).digest()

    return tuple(sorted(prompts, key=place))


def by_energy(
    settings: Mapping[str, AskSettings], forecast: RequestForecast
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the models from the least to the most energy of a request, and those not known.

    Parameters
    ----------
    settings : mapping of str to AskSettings
        By model, in the order that models of unknown energy keep, after the others.
    forecast : RequestForecast
        Expects energies.
    """
    joules: dict[str, float] = {}
    for model, how in settings.items():
        found = forecast.energy_j(how, 200)
        if found is not None:
            joules[model] = found.value_j
    unknown = tuple(model for model in settings if model not in joules)
    return (*sorted(joules, key=lambda m: (joules[m], m)), *unknown), unknown


async def collect_all(
    collector: Collector, prompts: Sequence[SuitePrompt], models: Sequence[str]
) -> None:
    """Ask every model every prompt that it has not answered, until nothing more is affordable.

    Parameters
    ----------
    collector : Collector
        Asks.
    prompts : sequence of SuitePrompt
        In the order to ask them.
    models : sequence of str
        All models.
    """
    pairs = [(model, prompt) for prompt in prompts for model in models]
    n_before = -1
    # what was expected to be over the budget may be within it after all
    while collector.stopped is None and collector.n_answered != n_before:
        n_before = collector.n_answered
        await collector.ask_all(pairs)


async def collect_adaptively(
    collector: Collector,
    store: AnswerStore,
    prompts: Sequence[SuitePrompt],
    models: Sequence[str],
    qualities: Qualities,
    adaptive: AdaptiveSettings,
    *,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> None:
    """Ask the smallest model every prompt, and others where their outcome is not plain already.

    Parameters
    ----------
    collector : Collector
        Asks.
    store : AnswerStore
        Keeps what was left out.
    prompts : sequence of SuitePrompt
        In an order by chance; the first ones are asked of every model.
    models : sequence of str
        From the smallest to the largest.
    qualities : callable
        Grades what is new and returns all qualities by model and prompt key.
    adaptive : AdaptiveSettings
        When a question may be left out.
    seed : int
        Seed of the audit share.
    say : callable, optional
        Told when a rule is found or lost.
    """
    first, rest = prompts[: adaptive.first], prompts[adaptive.first :]
    fair = fair_keys(prompts, adaptive, seed)
    had_rule: dict[str, bool] = {}
    await collector.ask_all([(model, prompt) for prompt in first for model in models])
    for start in range(0, len(rest), adaptive.batch):
        batch = rest[start : start + adaptive.batch]
        for i, model in enumerate(models):
            if collector.stopped is not None:
                return
            known = qualities() if i else {}
            rule = learn_rule(model, models[:i], prompts, known, fair, adaptive) if i else None
            if i and say is not None and had_rule.get(model, False) != (rule is not None):
                had_rule[model] = rule is not None
                say(_rule_text(model, rule.audit if rule is not None else None))
            ask = []
            for prompt in batch:
                pair = (model, prompt.key)
                if pair in store.state.answers or pair in store.state.skips:
                    continue
                if rule is not None and prompt.key not in fair:
                    probability = rule.probability(prompt, known)
                    if rule.sure(probability):
                        store.add(Skip(*pair, prompt.prompt_id, round(probability, 6)))
                        continue
                ask.append((model, prompt))
            await collector.ask_all(ask)


def fair_keys(prompts: Sequence[SuitePrompt], adaptive: AdaptiveSettings, seed: int) -> set[str]:
    """Return the keys of the prompts that every model is asked in any case."""
    first = {prompt.key for prompt in prompts[: adaptive.first]}
    return first | {p.key for p in prompts if in_sample(p, adaptive.audit, seed)}


def saved(
    store: AnswerStore,
    prompts: Sequence[SuitePrompt],
    models: Sequence[str],
    settings: Mapping[str, AskSettings],
    forecast: RequestForecast,
    qualities: Mapping[tuple[str, str], float],
    adaptive: AdaptiveSettings,
    *,
    seed: int = 0,
) -> tuple[Saved, ...]:
    """Return what leaving questions out saved, model by model.

    Parameters
    ----------
    store : AnswerStore
        Knows what was asked and left out.
    prompts, models, adaptive, seed
        As for :func:`collect_adaptively`.
    settings : mapping of str to AskSettings
        By model.
    forecast : RequestForecast
        Expects the energy of what was left out.
    qualities : mapping of (str, str) to float
        Quality by model and prompt key.
    """
    fair = fair_keys(prompts, adaptive, seed)
    asked = Counter(model for model, _ in store.state.answers)
    results = []
    for i, model in enumerate(models):
        skipped = [p for p in prompts if (model, p.key) in store.state.skips]
        how = settings[model]
        parts = [forecast.energy_j(how, expected_prompt_tokens(p, how)) for p in skipped]
        known = [part.value_j for part in parts if part is not None]
        rule = learn_rule(model, models[:i], prompts, qualities, fair, adaptive) if i else None
        results.append(
            Saved(
                model=model,
                n_skipped=len(skipped),
                n_asked=asked[model],
                energy_j=sum(known) if len(known) == len(parts) else None,
                audit=None if rule is None else rule.audit,
            )
        )
    return tuple(results)


def _rule_text(model: str, audit: AuditResult | None) -> str:
    if audit is None:
        return f"{model} is asked everything again: its outcomes are not plain enough"
    return (
        f"{model} is not asked where its outcome is plain: told wrongly {audit.n_wrong} times in "
        f"{audit.n} of the fair sample, at most {audit.upper:.1%} by the bound"
    )
