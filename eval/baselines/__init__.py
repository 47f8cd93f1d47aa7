"""What a router has to beat."""

from __future__ import annotations

from router.eval.baselines.factors import MatrixFactors
from router.eval.baselines.fixed import Cheapest, Oracle, RandomShares, Reference, ZeroRouter
from router.eval.baselines.logistic import Logistic
from router.eval.baselines.mlp import SmallMLP
from router.eval.baselines.neighbours import Clusters, NearestNeighbours
from router.eval.baselines.tasks import TaskMeans, TaskRules
from router.eval.protocol import Method

__all__ = [
    "Cheapest",
    "Clusters",
    "Logistic",
    "MatrixFactors",
    "NearestNeighbours",
    "Oracle",
    "RandomShares",
    "Reference",
    "SmallMLP",
    "TaskMeans",
    "TaskRules",
    "ZeroRouter",
    "default_baselines",
]


def default_baselines() -> tuple[Method, ...]:
    """Return the protocol's baselines, but those that need the router's choices or the truth.

    Returns
    -------
    tuple of Method
        From fixed models to learned ones.
    """
    return (
        Cheapest(),
        Reference(),
        ZeroRouter(),
        TaskRules(),
        TaskMeans(),
        NearestNeighbours(),
        Clusters(),
        MatrixFactors(),
        Logistic(),
        SmallMLP(),
    )
