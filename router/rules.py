"""Routing by rules: a task type, a keyword or a pattern names the model.

A place to start without any evaluation runs, and a baseline for a learned router.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.config import check_keys, get_tables, get_text, get_texts, read_toml, suggest
from router.decision import Candidate, Decision, RoutedModel
from router.energy import Catalogue, EnergyInterval
from router.errors import ConfigError
from router.messages import Prompt, prompt_text
from router.pool import Pool, PoolModel

__all__ = ["Rule", "RuleDecision", "TaskRules"]

_RULE_KEYS = ("task", "model", "keywords", "patterns")
_FILE_KEYS = ("name", "default", "reference", "rule")
_SEARCHED_CHARACTERS = 20_000
_CHARACTERS_PER_TOKEN = 4.0
# Tokens of an answer where nothing is known of its length; the decision says "assumed".
_ASSUMED_TOKENS = 500.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: prompts of a task go to a model.

    Attributes
    ----------
    task : str
        Name of the task type.
    model : str
        Id of the model in the API.
    keywords : tuple of str
        Words or phrases; one of them in the question, in any case, makes the rule match.
    patterns : tuple of str
        Regular expressions with the same effect.

    Raises
    ------
    ConfigError
        If a text is blank or a pattern is not valid.
    """

    task: str
    model: str
    keywords: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    _matcher: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("task", "model"):
            if not getattr(self, name).strip():
                raise ConfigError(f"rule {self.task!r}: {name} is blank")
        if any(not keyword.strip() for keyword in self.keywords):
            raise ConfigError(f"rule {self.task!r}: a keyword is blank")
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(
                    f"rule {self.task!r}: pattern {pattern!r} is not valid: {error}"
                ) from error
        words = [rf"(?<!\w){re.escape(keyword.strip())}(?!\w)" for keyword in self.keywords]
        parts = [*words, *(f"(?:{pattern})" for pattern in self.patterns)]
        flags = re.IGNORECASE | re.MULTILINE
        matcher = re.compile("|".join(parts), flags) if parts else None
        object.__setattr__(self, "_matcher", matcher)

    def matches(self, text: str) -> bool:
        """Return whether the rule fits a question by its words."""
        return self._matcher is not None and self._matcher.search(text) is not None


@dataclass(frozen=True, slots=True)
class RuleDecision(Decision):
    """A decision by a rule. Probabilities are NaN: rules know none.

    Attributes
    ----------
    task : str or None
        Task type of the rule; None where the default took it.
    """

    task: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON types; a probability is None."""
        decision = Decision.to_dict(self) | {"probability": None}
        decision["candidates"] = [
            candidate | {"probability": None} for candidate in decision["candidates"]
        ]
        return decision


class TaskRules:
    """A router of rules: the first that matches names the model, else the default.

    It has the ``route`` of `router.Router`, so that it works wherever a router does. It cannot
    promise a quality: the bar is recorded and changes nothing.

    Parameters
    ----------
    rules : iterable of Rule
        In the order in which they are tried.
    default : str
        Id of the model for all other prompts.
    reference : str, optional
        Id of the reference model, which savings are counted against; the one with the most
        joules per token where not given.
    pool : Pool, optional
        Energy of the models by ``api_id``; the catalogue's where not given.

    Raises
    ------
    ConfigError
        If the energy of a model is not known.

    Examples
    --------
    >>> rules = TaskRules(
    ...     [Rule("code", "qwen3-coder-30b", keywords=("python",), patterns=("```",))],
    ...     default="llama-3.1-8b",
    ... )
    >>> rules.route("Write a Python function that sorts.").model
    'qwen3-coder-30b'
    >>> rules.route("Say hello.", task="code").model
    'qwen3-coder-30b'
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        default: str,
        *,
        reference: str | None = None,
        pool: Pool | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._default = default
        ids = dict.fromkeys([default, *(rule.model for rule in self._rules)])
        if reference is not None:
            ids.setdefault(reference)
        self._models = tuple(_pool_model(model, pool) for model in ids)
        largest = max(self._models, key=lambda model: model.joules_per_completion_token)
        self._reference = largest.api_id if reference is None else reference

    @classmethod
    def load(cls, path: str | Path, *, pool: Pool | None = None) -> TaskRules:
        r"""Read rules from a TOML file.

        Parameters
        ----------
        path : str or Path
            With ``default``, optionally ``reference`` and ``name``, and one ``[[rule]]`` table
            a rule: ``task``, ``model``, ``keywords`` and ``patterns``.
        pool : Pool, optional
            As for the class.

        Raises
        ------
        ConfigError
            If the file cannot be read, a key is unknown or a value is not valid; the message
            names file and key.
        """
        where = str(path)
        data = read_toml(path)
        check_keys(data, _FILE_KEYS, where)
        default = get_text(data, "default", where)
        if default is None:
            raise ConfigError(f"{where}: 'default' is missing: give the id of a model")
        rules = [
            _rule(table, f"{where}, [[rule]] {number}")
            for number, table in enumerate(get_tables(data, "rule", where), start=1)
        ]
        try:
            return cls(rules, default, reference=get_text(data, "reference", where), pool=pool)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in the order in which they are tried."""
        return self._rules

    @property
    def models(self) -> tuple[RoutedModel, ...]:
        """The models that a rule or the default names; the reference model is marked."""
        return tuple(
            RoutedModel(model.api_id, model.name, model.api_id == self._reference)
            for model in self._models
        )

    @property
    def pool(self) -> Pool | None:
        """The models with their energy; None where there is only one."""
        return Pool("task rules", self._models) if len(self._models) > 1 else None

    @property
    def reference(self) -> str:
        """Id of the reference model."""
        return self._reference

    def route(
        self,
        prompt: Prompt,
        *,
        quality: float = 0.98,
        confidence: float = 0.9,
        min_probability: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        allowed: Collection[str] | None = None,
        task: str | None = None,
    ) -> RuleDecision:
        """Choose the model for one prompt.

        Parameters
        ----------
        prompt : str or sequence of mapping
            Text, or chat messages in OpenAI's shape.
        quality : float
            Recorded; rules know no quality.
        confidence, min_probability, group, uncertified : optional
            Have no effect, for the same reason.
        allowed : collection of str, optional
            Ids of the models that may be chosen; rules for others are passed over.
        task : str, optional
            The task type, where it is known: its rule goes before any that matches by words.

        Returns
        -------
        RuleDecision
            The chosen model and the order in which to try the others.

        Raises
        ------
        ConfigError
            If the prompt is malformed, the task unknown, or no model allowed.
        """
        whole = prompt_text(prompt)
        question = whole.text[: min(whole.n_question, _SEARCHED_CHARACTERS)]
        names = [model.api_id for model in self._models]
        if allowed is not None:
            names = [name for name in names if name in allowed]
            if not names:
                raise ConfigError("none of the models of the rules is allowed")
        rule = self._rule_for(question, task, names)
        chosen = self._default if rule is None else rule.model
        if chosen not in names:
            chosen = names[0]
        why = "default of the rules" if rule is None else f"rule {rule.task!r}"
        if rule is None and chosen != self._default:
            why = f"first model allowed: the default, {self._default}, is not"
        prompt_tokens = len(whole.text) / _CHARACTERS_PER_TOKEN
        candidates = tuple(
            _candidate(model, prompt_tokens, model.api_id == chosen, why) for model in self._models
        )
        best = next(candidate for candidate in candidates if candidate.chosen)
        others = [name for name in (self._default, *names) if name in names and name != chosen]
        return RuleDecision(
            model=chosen,
            probability=math.nan,
            energy_j=best.energy_j,
            quality=quality,
            price=None,
            shrinkage=None,
            prompt_tokens=prompt_tokens,
            candidates=candidates,
            ranking=(chosen, *dict.fromkeys(others)),
            reason=why,
            reference=self._reference,
            warnings=("rules promise no quality",),
            task=None if rule is None else rule.task,
        )

    def route_many(
        self,
        prompts: Iterable[Prompt],
        *,
        quality: float = 0.98,
        confidence: float = 0.9,
        min_probability: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        allowed: Collection[str] | None = None,
        tasks: Iterable[str | None] | None = None,
    ) -> list[RuleDecision]:
        """Choose the models for many prompts; each as :meth:`route` would.

        Parameters
        ----------
        prompts : iterable of Prompt
            The prompts.
        quality, confidence, min_probability, group, uncertified, allowed
            As in :meth:`route`.
        tasks : iterable of str or None, optional
            Task types, one a prompt.
        """
        listed = list(prompts)
        known = [None] * len(listed) if tasks is None else list(tasks)
        return [
            self.route(
                prompt,
                quality=quality,
                confidence=confidence,
                min_probability=min_probability,
                group=group,
                uncertified=uncertified,
                allowed=allowed,
                task=task,
            )
            for prompt, task in zip(listed, known, strict=True)
        ]

    def _rule_for(self, question: str, task: str | None, names: Collection[str]) -> Rule | None:
        if task is not None:
            tasks = [rule.task for rule in self._rules]
            if task not in tasks:
                hint = suggest(task, tasks) or f"; known: {', '.join(tasks) or 'none'}"
                raise ConfigError(f"task {task!r} has no rule{hint}")
            of_task = [rule for rule in self._rules if rule.task == task and rule.model in names]
            return of_task[0] if of_task else None
        return next(
            (rule for rule in self._rules if rule.model in names and rule.matches(question)), None
        )


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    check_keys(table, _RULE_KEYS, where)
    texts = {key: get_text(table, key, where) for key in ("task", "model")}
    for key, text in texts.items():
        if text is None:
            raise ConfigError(f"{where}: {key!r} is missing")
    try:
        return Rule(
            task=str(texts["task"]),
            model=str(texts["model"]),
            keywords=get_texts(table, "keywords", where),
            patterns=get_texts(table, "patterns", where),
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _pool_model(model: str, pool: Pool | None) -> PoolModel:
    for known in () if pool is None else pool.models:
        if known.api_id == model:
            return known
    entry = Catalogue.default().match(model)
    if entry is None:
        raise ConfigError(
            f"the energy of model {model!r} is not known: give a pool with its joules per token"
        )
    return PoolModel(
        name=model,
        api_id=model,
        joules_per_prompt_token=entry.joules_per_prompt_token,
        joules_per_completion_token=entry.joules_per_completion_token,
        low_factor=entry.low_factor,
        high_factor=entry.high_factor,
        basis=entry.basis,
    )


def _candidate(model: PoolModel, prompt_tokens: float, chosen: bool, why: str) -> Candidate:
    tokens = model.assumed_completion_tokens or _ASSUMED_TOKENS
    energy = model.energy(prompt_tokens, tokens)
    return Candidate(
        model=model.api_id,
        probability=math.nan,
        energy_j=EnergyInterval(energy.value_j, energy.low_j, energy.high_j, "assumed"),
        completion_tokens=tokens,
        chosen=chosen,
        reason=why if chosen else "no rule names it for this prompt",
    )
