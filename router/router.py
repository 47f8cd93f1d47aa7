"""The router: from a prompt to the model that it goes to."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.artifact import Artifact, read_artifact
from router.decision import Candidate, Decision, RoutedModel
from router.encoders import Encoder
from router.energy import EnergyInterval, weakest_basis
from router.errors import ArtifactError, ConfigError, FeatureMismatchError
from router.features import FeatureExtractor
from router.messages import Prompt, prompt_text
from router.model import Scores
from router.policy import best_bargain

__all__ = ["Router"]

_Floats = NDArray[np.float64]

_BUNDLED = "default"
_GOLDEN_TOLERANCE = 1e-3


class Router:
    """Sends each prompt to the least-energy model that keeps the quality bar.

    Parameters
    ----------
    artifact : Artifact
        A trained router.
    encoder : Encoder, optional
        Takes the place of the encoder that the artifact names; its fingerprint must match.

    Raises
    ------
    FeatureMismatchError
        If the features computed here are not those of training.

    Examples
    --------
    >>> router = Router.load()
    >>> decision = router.route("What is 12 + 34?", quality=0.95)
    >>> decision.model in {model.id for model in router.models}
    True
    """

    def __init__(self, artifact: Artifact, *, encoder: Encoder | None = None) -> None:
        self._artifact = artifact
        self._extractor = FeatureExtractor(artifact.features, encoder)
        self._pool = artifact.pool
        self._ids = tuple(model.api_id for model in artifact.pool.models)
        if self._extractor.fingerprint() != artifact.fingerprint:
            raise FeatureMismatchError(
                "the features computed here differ from those the router was trained with: "
                "train it again with this release, or install the release that trained it"
            )
        self._check_golden()

    @classmethod
    def load(cls, path: str | Path | None = None, *, encoder: Encoder | None = None) -> Router:
        """Load a stored router.

        Parameters
        ----------
        path : str or Path, optional
            Its folder; the bundled default router where absent. ``models/default`` means the
            bundled one wherever no such folder exists.
        encoder : Encoder, optional
            Takes the place of the encoder that the router names.

        Returns
        -------
        Router
            Ready to route.

        Raises
        ------
        ArtifactError
            If it is missing, damaged or of another format.
        FeatureMismatchError
            If the features computed here are not those of training.
        """
        return cls(read_artifact(_resolve(path)), encoder=encoder)

    @property
    def models(self) -> tuple[RoutedModel, ...]:
        """The pool, in its order; the reference model is marked."""
        reference = self._artifact.reference
        return tuple(
            RoutedModel(model.api_id, model.name, j == reference)
            for j, model in enumerate(self._pool.models)
        )

    @property
    def reference(self) -> str:
        """Id of the reference model."""
        return self._ids[self._artifact.reference]

    def route(
        self,
        prompt: Prompt,
        *,
        quality: float = 0.98,
        min_probability: float | None = None,
        embedding: ArrayLike | None = None,
    ) -> Decision:
        """Choose the model for one prompt.

        Parameters
        ----------
        prompt : str or sequence of mapping
            Text, or chat messages in OpenAI's shape.
        quality : float
            Share of the reference model's mean quality that traffic like this keeps, in
            (0, 1].
        min_probability : float, optional
            Only models with at least this probability of a good answer, in [0, 1]; the
            reference model where there is none.
        embedding : array-like of shape (n_embedding,), optional
            The prompt's embedding, for routers trained on precomputed ones.

        Returns
        -------
        Decision
            The chosen model, every candidate and why.

        Raises
        ------
        ConfigError
            If an argument is out of range or the prompt is malformed.
        """
        rows = None if embedding is None else np.asarray(embedding, np.float32)[None]
        return self.route_many(
            [prompt], quality=quality, min_probability=min_probability, embeddings=rows
        )[0]

    def route_many(
        self,
        prompts: Sequence[Prompt],
        *,
        quality: float = 0.98,
        min_probability: float | None = None,
        embeddings: ArrayLike | None = None,
    ) -> list[Decision]:
        """Choose the models for many prompts; each as :meth:`route` would.

        Parameters
        ----------
        prompts : sequence of Prompt
            The prompts.
        quality, min_probability
            As in :meth:`route`.
        embeddings : array-like of shape (n_prompts, n_embedding), optional
            Embeddings of the prompts.

        Returns
        -------
        list of Decision
            One a prompt.

        Raises
        ------
        ConfigError
            If an argument is out of range or a prompt is malformed.
        """
        price = self._artifact.prices.price_for(_number("quality", quality))
        floor = None if min_probability is None else _number("min_probability", min_probability)
        if floor is not None and not 0.0 <= floor <= 1.0:
            raise ConfigError(f"min_probability is {floor!r}: use a probability in [0, 1]")
        if not len(prompts):
            return []
        scores = self.score(prompts, embeddings)
        energy_j = self._pool.joules(scores.prompt_tokens, scores.completion_tokens)
        chosen = self._choose(scores.quality, energy_j, price, floor)
        return [
            self._decision(scores, energy_j, i, int(chosen[i]), quality, price, floor)
            for i in range(len(prompts))
        ]

    def score(self, prompts: Sequence[Prompt], embeddings: ArrayLike | None = None) -> Scores:
        """Return expected qualities and token counts, without a decision.

        Parameters
        ----------
        prompts : sequence of Prompt
            The n prompts.
        embeddings : array-like of shape (n, n_embedding), optional
            Embeddings of the prompts.

        Returns
        -------
        Scores
            One row a prompt, one column a model of the pool.
        """
        features = self._extractor.extract(prompts, embeddings)
        characters = np.array([max(len(prompt_text(p).text), 1) for p in prompts], float)
        return self._artifact.model.score(features, characters)

    def _choose(
        self, quality: _Floats, energy_j: _Floats, price: float | None, floor: float | None
    ) -> NDArray[np.int64]:
        reference = self._artifact.reference
        if price is None:
            chosen = np.full(len(quality), reference, np.int64)
        else:
            chosen = best_bargain(quality, energy_j, price)
        if floor is not None:
            allowed = quality >= floor
            bargain = np.where(allowed, quality, -np.inf)
            strict = best_bargain(bargain, energy_j, price or 0.0)
            chosen = np.where(allowed.any(axis=1), strict, reference)
        return chosen

    def _decision(
        self,
        scores: Scores,
        energy_j: _Floats,
        i: int,
        chosen: int,
        bar: float,
        price: float | None,
        floor: float | None,
    ) -> Decision:
        quality = scores.quality[i]
        intervals = [self._interval(scores, i, j) for j in range(len(self._ids))]
        candidates = tuple(
            Candidate(
                model=name,
                probability=float(quality[j]),
                energy_j=intervals[j],
                completion_tokens=float(scores.completion_tokens[i, j]),
                chosen=j == chosen,
                reason=_reason(quality, energy_j[i], j, chosen, price, floor),
            )
            for j, name in enumerate(self._ids)
        )
        return Decision(
            model=self._ids[chosen],
            probability=float(quality[chosen]),
            energy_j=intervals[chosen],
            quality=float(bar),
            price=price,
            prompt_tokens=float(scores.prompt_tokens[i]),
            candidates=candidates,
            reason=candidates[chosen].reason,
            reference=self.reference,
            warnings=_warnings(bar, price, floor, quality),
        )

    def _interval(self, scores: Scores, i: int, j: int) -> EnergyInterval:
        """Energy with the uncertainty of the joules per token and of the answer's length."""
        artifact = self._artifact
        model = self._pool.models[j]
        prompt, completion = float(scores.prompt_tokens[i]), float(scores.completion_tokens[i, j])
        at = model.energy(prompt, completion)
        low = model.energy(prompt, completion * artifact.token_low[j])
        high = model.energy(prompt, completion * artifact.token_high[j])
        length = "assumed" if artifact.assumed_tokens[j] else "estimated"
        basis = weakest_basis(at.basis, length)
        return EnergyInterval(at.value_j, low.low_j, high.high_j, basis)

    def _check_golden(self) -> None:
        golden = self._artifact.golden
        if not golden:
            return
        expected = np.array([scores for _, scores in golden])
        prompts = [prompt for prompt, _ in golden]
        zeros = None
        if self._artifact.features.encoder.startswith("precomputed"):
            zeros = np.zeros((len(prompts), self._extractor.n_embedding), np.float32)
        found = self.score(prompts, zeros).quality
        if expected.shape != found.shape or np.abs(expected - found).max() > _GOLDEN_TOLERANCE:
            raise ArtifactError(
                "the router does not score its golden prompts as it did when it was trained: "
                "train it again with this release"
            )


def _resolve(path: str | Path | None) -> Path:
    """Return the folder of a router, the bundled one where `path` names none that exists."""
    if path is not None and (Path(path).exists() or Path(path) != Path("models") / _BUNDLED):
        return Path(path)
    return Path(str(files("router.models") / _BUNDLED))


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {value!r}: use a number") from error
    if not np.isfinite(number):
        raise ConfigError(f"{name} is {value!r}: use a finite number")
    return number


def _reason(
    quality: _Floats,
    energy_j: _Floats,
    j: int,
    chosen: int,
    price: float | None,
    floor: float | None,
) -> str:
    """Say why model j was chosen or not."""
    none_reaches = floor is not None and bool((quality < floor).all())
    if j == chosen:
        if none_reaches:
            return f"reference model: no candidate reaches probability {floor:g}"
        if price is None and floor is None:
            return "reference model: nothing else keeps the bar"
        return "best bargain at the bar's energy price"
    if floor is not None and quality[j] < floor and not none_reaches:
        return f"probability below {floor:g}"
    gain, cost = quality[j] - quality[chosen], energy_j[j] - energy_j[chosen]
    if cost >= 0 and gain <= 0:
        return "more energy, no better"
    if gain > 0:
        return f"{gain:+.3f} probability is not worth {cost:+,.0f} J"
    return f"{cost:+,.0f} J does not make up for {gain:+.3f} probability"


def _warnings(
    bar: float, price: float | None, floor: float | None, quality: _Floats
) -> tuple[str, ...]:
    warnings = []
    if price is None:
        warnings.append(f"only the reference model keeps a bar of {bar:g}")
    if floor is not None and (quality < floor).all():
        warnings.append(f"no candidate reaches a probability of {floor:g}")
    return tuple(warnings)
