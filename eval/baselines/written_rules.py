"""Rules that somebody wrote, as a baseline for the router that could replace them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.errors import ConfigError
from router.eval.protocol import BenchmarkSplit, Outcome
from router.pool import Pool
from router.rules import TaskRules

__all__ = ["WrittenRules"]


@dataclass(frozen=True, slots=True)
class WrittenRules:
    """The choices of a `router.rules.TaskRules`, and the reference model for bars beyond them.

    Attributes
    ----------
    rules : router.rules.TaskRules
        The rules.
    pool : Pool
        The candidates; the rules name them by ``api_id``.
    true_tasks : bool
        Whether the rules are told the true task of each prompt, where they have a rule of that
        name, and need not tell it by words.
    name : str
        Name in reports.

    Raises
    ------
    ConfigError
        If the rules name a model that is not in the pool.
    """

    rules: TaskRules
    pool: Pool
    true_tasks: bool = False
    name: str = "written rules"

    def __post_init__(self) -> None:
        column = self._columns()
        if foreign := [model.id for model in self.rules.models if model.id not in column]:
            raise ConfigError(
                f"the rules name {', '.join(foreign)}, which pool {self.pool.name!r} lacks: "
                f"it has {', '.join(column)}"
            )

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Let the rules choose; nothing is learned."""
        column = self._columns()
        known = {rule.task for rule in self.rules.rules}
        tasks = [task if self.true_tasks and task in known else None for task in split.test_tasks]
        decisions = self.rules.route_many(split.test_prompts, tasks=tasks)
        chosen = np.array([column[decision.model] for decision in decisions], np.intp)
        return Outcome(choices=np.stack([chosen, np.full_like(chosen, split.reference)]))

    def _columns(self) -> dict[str, int]:
        """Return the column of each model of the pool by its id in the API."""
        return {model.api_id: j for j, model in enumerate(self.pool.models)}
