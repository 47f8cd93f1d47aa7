"""What came of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.eval.collect.estimate import CollectionEstimate
from router.eval.collect.session import Saved
from router.eval.grading.agreement import Agreement

__all__ = ["CollectResult"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CollectResult:
    """What was done, and what is missing.

    Attributes
    ----------
    out : Path
        The file of runs; the folder where only an estimate was made.
    n_prompts : int
        Prompts of the collection.
    n_runs : mapping of str to int
        By model, graded answers in the file.
    n_asked, n_answered : int
        Requests sent and answers stored by this command.
    energy_j : float
        Joules of all answers of the folder, measured or from their tokens.
    missing : mapping of str to int
        By model, prompts without an answer.
    dropped : mapping of str to str
        Models that were left out, with the reason.
    stopped : str, optional
        Why asking stopped early.
    n_truncated : mapping of str to int
        By model, answers that were cut off and are not in the runs.
    n_graded : int
        Grades that were made now.
    ungraded : tuple of str
        Other answers without a grade, with the reason.
    agreement : Agreement, optional
        Of the grades with the gold grader's.
    saved : tuple of Saved
        What leaving questions out saved.
    estimate : CollectionEstimate, optional
        Where only that was wanted.
    """

    out: Path
    n_prompts: int = 0
    n_runs: Mapping[str, int] = field(default_factory=dict)
    n_asked: int = 0
    n_answered: int = 0
    energy_j: float = 0.0
    missing: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    stopped: str | None = None
    n_truncated: Mapping[str, int] = field(default_factory=dict)
    n_graded: int = 0
    ungraded: tuple[str, ...] = ()
    agreement: Agreement | None = None
    saved: tuple[Saved, ...] = ()
    estimate: CollectionEstimate | None = None

    @classmethod
    def of_estimate(cls, out: Path, estimate: CollectionEstimate) -> CollectResult:
        """Return the result of an estimate."""
        return cls(out, estimate=estimate)

    @property
    def complete(self) -> bool:
        """Whether every prompt has its answers and every whole answer its grade."""
        return not (self.missing or self.ungraded)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        if self.estimate is not None:
            return {"out": str(self.out), "estimate": self.estimate.to_dict()}
        return {
            "runs": str(self.out),
            "complete": self.complete,
            "n_prompts": self.n_prompts,
            "n_runs": dict(self.n_runs),
            "n_asked": self.n_asked,
            "n_answered": self.n_answered,
            "energy_j": round(self.energy_j, 3),
            "missing": dict(self.missing),
            "dropped": dict(self.dropped),
            "stopped": self.stopped,
            "n_truncated": dict(self.n_truncated),
            "n_graded": self.n_graded,
            "ungraded": list(self.ungraded),
            "agreement": None if self.agreement is None else self.agreement.to_dict(),
            "saved": [saved.to_dict() for saved in self.saved],
        }

    def __str__(self) -> str:
        if self.estimate is not None:
            return f"{self.estimate.n_requests:,} requests are left to ask"
        runs = ", ".join(f"{model} {n:,}" for model, n in self.n_runs.items())
        lines = [f"{self.out}: {sum(self.n_runs.values()):,} runs ({runs})"]
        lines.append(
            f"{self.n_asked:,} requests, {self.n_answered:,} answers, {self.n_graded:,} grades "
            f"now; {self.energy_j:,.0f} J in all"
        )
        if self.n_truncated:
            cut = ", ".join(f"{model} {n:,}" for model, n in self.n_truncated.items())
            lines.append(f"Cut off by max_tokens and left out of the runs: {cut}")
        if self.ungraded:
            lines.append(f"Without a grade: {len(self.ungraded):,}; the first:")
            lines.extend(f"  {reason}" for reason in self.ungraded[:_SHOWN])
        lines.extend(_saved_text(saved) for saved in self.saved if saved.n_skipped)
        if self.agreement is not None:
            lines.append(f"The grader {self.agreement}")
        for model, reason in self.dropped.items():
            lines.append(f"{model} was left out: {reason}")
        if self.stopped is not None:
            lines.append(f"Stopped: {self.stopped}")
        if self.missing:
            left = ", ".join(f"{model} {n:,}" for model, n in self.missing.items())
            lines.append(f"Not answered yet: {left}. The same command goes on from here")
        return "\n".join(lines)


def _saved_text(saved: Saved) -> str:
    n = saved.n_skipped + saved.n_asked
    text = f"{saved.model}: {saved.n_skipped:,} of {n:,} requests saved"
    if saved.energy_j is not None:
        text += f", about {saved.energy_j:,.0f} J"
    if saved.audit is not None:
        text += (
            f"; outcomes told wrongly {saved.audit.n_wrong} times in {saved.audit.n} of the fair "
            f"sample, at most {saved.audit.upper:.1%}"
        )
    return text
