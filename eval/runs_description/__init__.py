"""What evaluation runs look like, before anything is learned from them."""

from __future__ import annotations

from router.eval.runs_description.describe import describe_runs
from router.eval.runs_description.description import Grading, RunsDescription

__all__ = ["Grading", "RunsDescription", "describe_runs"]
