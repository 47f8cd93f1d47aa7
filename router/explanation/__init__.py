"""Why a prompt goes where it goes, and what would send it elsewhere.

>>> from router import Router
>>> from router.explanation import explain
>>> explanation = explain(Router.load(), "What is 12 + 34?", quality=0.95)
>>> explanation.decision.model in {found.model for found in explanation.bars}
True
"""

from __future__ import annotations

from router.explanation.bars import BarRange, ModelBars
from router.explanation.evidence import Detail, Evidence, ViewEvidence
from router.explanation.explanation import CandidateUtility, Explanation, explain
from router.explanation.nearest import GradedPrompts, NearestPrompt

__all__ = [
    "BarRange",
    "CandidateUtility",
    "Detail",
    "Evidence",
    "Explanation",
    "GradedPrompts",
    "ModelBars",
    "NearestPrompt",
    "ViewEvidence",
    "explain",
]
