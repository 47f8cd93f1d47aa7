"""The explanation of a decision, put together from its parts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.decision import Candidate, Decision
from router.dial import PoolMeans, Setting, shrink
from router.encoders import Encoder
from router.errors import ConfigError
from router.explanation.bars import BAR_STEP, ModelBars, scan_bars
from router.explanation.evidence import Evidence, find_evidence
from router.explanation.nearest import (
    GradedPrompts,
    NearestPrompt,
    nearest_prompts,
    nearest_remembered,
)
from router.features import FeatureExtractor
from router.messages import Prompt, prompt_text
from router.model import Scores
from router.request_energy import RequestEnergy
from router.router import Router

__all__ = ["CandidateUtility", "Explanation", "explain"]

_Floats = NDArray[np.float64]

_QUALITY_ALONE = Setting(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CandidateUtility:
    """What one model is worth for the prompt.

    Attributes
    ----------
    candidate : Candidate
        What is expected of it.
    quality : float
        Expected quality, which choices are made on.
    utility : float or None
        Expected quality, shrunken as the setting says, less the price of its energy; of the models
        that may be chosen and that no other beats on average the one with the greatest is. None
        where no energy price decides.
    """

    candidate: Candidate
    quality: float
    utility: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a prompt goes where it goes, and what would send it elsewhere.

    Attributes
    ----------
    decision : Decision
        The decision itself, with certificate and novelty.
    candidates : tuple of CandidateUtility
        Every model of the pool, in its order.
    priced : bool
        Whether the best bargain at an energy price decided. Where it did not, a fixed model
        serves, and the evidence shows only what the features say of expected quality.
    evidence : Evidence or None
        Where the lead of the chosen model over the runner-up comes from; None where only one
        model may be chosen.
    bars : tuple of ModelBars
        At which quality bars each model would be chosen, all else being equal.
    bar_step : float
        Distance of the bars that were tried.
    novelty_level : float or None
        Novelty from which a prompt counts as unlike those of training; None without a guard.
    nearest : tuple of NearestPrompt
        Graded prompts nearest to the prompt, the nearest first; empty where none were given and
        the router remembers none.
    """

    decision: Decision
    candidates: tuple[CandidateUtility, ...]
    priced: bool
    evidence: Evidence | None
    bars: tuple[ModelBars, ...]
    bar_step: float
    novelty_level: float | None
    nearest: tuple[NearestPrompt, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON types, under the names of its attributes.

        Returns
        -------
        dict
            The decision as :meth:`Decision.to_dict` has it.
        """
        found = asdict(self)
        found["decision"] = self.decision.to_dict()
        return found


def explain(
    router: Router,
    prompt: Prompt,
    *,
    quality: float = 0.98,
    confidence: float = 0.9,
    min_probability: float | None = None,
    group: str | None = None,
    uncertified: str | None = None,
    allowed: Collection[str] | None = None,
    guard: bool = True,
    embedding: ArrayLike | None = None,
    graded: GradedPrompts | None = None,
    n_nearest: int = 5,
    n_details: int = 5,
    encoder: Encoder | None = None,
) -> Explanation:
    """Explain where a prompt goes.

    Parameters
    ----------
    router : Router
        Any router.
    prompt : str or sequence of mapping
        Text, or chat messages in OpenAI's shape.
    quality, confidence, min_probability, group, uncertified, allowed, guard, embedding
        As in :meth:`Router.route`.
    graded : GradedPrompts, optional
        Graded prompts, best those of training, among which to look for the nearest ones. Without
        them they are looked for among those whose hashes and grades the router remembers.
    n_nearest : int
        How many of them to show.
    n_details : int
        Words and statistics to name.
    encoder : Encoder, optional
        The encoder that `router` was given, if it was given one.

    Returns
    -------
    Explanation
        The decision is the one that :meth:`Router.route` takes.

    Raises
    ------
    ConfigError
        If an argument is out of range or the prompt is malformed.
    DataError
        If `graded` has no model of the pool.

    Examples
    --------
    >>> explanation = explain(Router.load(), "What is 12 + 34?", quality=0.9)
    >>> explanation.decision == Router.load().route("What is 12 + 34?", quality=0.9)
    True
    """
    if n_details < 0:
        raise ConfigError(f"n_details is {n_details}: use 0 or more")
    choose = partial(
        router.route,
        prompt,
        confidence=confidence,
        min_probability=min_probability,
        group=group,
        uncertified=uncertified,
        allowed=allowed,
        guard=guard,
        embedding=embedding,
    )
    decision = choose(quality=quality)
    artifact = router.artifact
    extractor = FeatureExtractor(artifact.features, encoder)
    embeddings: list[Any] | None = None if embedding is None else [embedding]
    features = extractor.extract([prompt], embeddings)
    characters = np.array([max(len(prompt_text(prompt).text), 1)], np.float64)
    scores = artifact.model.score(features, characters)
    setting = None
    if decision.price is not None and decision.shrinkage is not None:
        setting = Setting(decision.price, decision.shrinkage)
    utility = partial(
        _utility,
        energy=RequestEnergy.build(artifact),
        means=PoolMeans(artifact.dial.means.quality, artifact.dial.means.energy_j),
        setting=setting or _QUALITY_ALONE,
    )
    ids = [candidate.model for candidate in decision.candidates]
    worth = utility(scores)[0].tolist()
    evidence = None
    if len(decision.ranking) > 1:
        first, second = (ids.index(model) for model in decision.ranking[:2])
        evidence = find_evidence(
            artifact,
            extractor,
            prompt,
            features,
            lambda found: _difference(utility(found), first, second),
            ids[first],
            ids[second],
            n_details,
        )
    if graded is None:
        nearest = nearest_remembered(artifact, features, n_nearest)
    else:
        nearest = nearest_prompts(artifact, features, graded, extractor, n_nearest)
    return Explanation(
        decision=decision,
        candidates=tuple(
            CandidateUtility(candidate, expected, None if setting is None else value)
            for candidate, expected, value in zip(
                decision.candidates, scores.quality[0].tolist(), worth, strict=True
            )
        ),
        priced=setting is not None,
        evidence=evidence,
        bars=scan_bars(lambda bar: choose(quality=bar).model, ids),
        bar_step=BAR_STEP,
        novelty_level=None if artifact.guard is None or not guard else artifact.guard.level,
        nearest=nearest,
    )


def _utility(
    scores: Scores, *, energy: RequestEnergy, means: PoolMeans, setting: Setting
) -> _Floats:
    """Return what each model is worth, of shape (n, n_models)."""
    value_j, _, _ = energy.joules(scores)
    shrunken, cost_j = shrink(scores.quality, value_j, means, setting)
    return np.asarray(shrunken - setting.price * cost_j)


def _difference(utility: _Floats, first: int, second: int) -> _Floats:
    return np.asarray(utility[:, first] - utility[:, second])
