"""The router: from a prompt to the model that it goes to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.artifact import MANIFEST_FILE, Artifact, read_artifact
from router.decision import Candidate, Decision, RoutedModel
from router.dial import Setting, choose, shrink
from router.encoders import Encoder
from router.energy import Basis, EnergyInterval, weakest_basis
from router.errors import ArtifactError, ConfigError, FeatureMismatchError
from router.features import FeatureExtractor
from router.messages import Prompt, prompt_text
from router.model import Scores
from router.policy import best_bargain

__all__ = ["Router"]

_Floats = NDArray[np.float64]

_BUNDLED = Path("models") / "default"
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
    ArtifactError
        If it does not score its golden prompts as it did when it was trained.

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
        self._ids = tuple(model.api_id for model in artifact.pool.models)
        self._energy = _RequestEnergy.build(artifact)
        if self._extractor.fingerprint() != artifact.fingerprint:
            raise FeatureMismatchError(
                "the features computed here differ from those the router was trained with: "
                "train it again with this release, or install the release that trained it"
            )
        scaler = artifact.model.scaler
        here = (len(self._extractor.dense_names), self._extractor.n_columns)
        if here != (scaler.mean.size, scaler.idf.size):
            raise ArtifactError(
                f"the router's arrays are for {scaler.mean.size} and {scaler.idf.size} features, "
                f"its feature settings give {here[0]} and {here[1]}: train it again"
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
    def artifact(self) -> Artifact:
        """The stored router that this one routes with: model, pool, dial and lineage."""
        return self._artifact

    @property
    def models(self) -> tuple[RoutedModel, ...]:
        """The pool, in its order; the reference model is marked."""
        reference = self._artifact.reference
        return tuple(
            RoutedModel(model.api_id, model.name, j == reference)
            for j, model in enumerate(self._artifact.pool.models)
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
            Only models with at least this probability of a good answer on this prompt, in
            [0, 1]; the reference model where there is none.
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

        Examples
        --------
        >>> decision = Router.load().route("What is 12 + 34?", min_probability=0.5)
        >>> decision.probability >= 0.5 or decision.model == decision.reference
        True
        """
        embeddings: list[Any] | None = None if embedding is None else [embedding]
        try:
            return self.route_many(
                [prompt], quality=quality, min_probability=min_probability, embeddings=embeddings
            )[0]
        except ConfigError:
            # a malformed prompt is named as one, not as the first of many
            prompt_text(prompt)
            raise

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
        bar = _number("quality", quality)
        setting = self._artifact.dial.setting_for(bar)
        floor = None if min_probability is None else _number("min_probability", min_probability)
        if floor is not None and not 0.0 <= floor <= 1.0:
            raise ConfigError(f"min_probability is {floor!r}: use a probability in [0, 1]")
        scores = self.score(prompts, embeddings)
        value_j, low_j, high_j = self._energy.joules(scores)
        chosen = self._choose(scores.quality, value_j, setting, floor)
        rows = zip(
            scores.quality.tolist(),
            value_j.tolist(),
            low_j.tolist(),
            high_j.tolist(),
            scores.completion_tokens.tolist(),
            scores.prompt_tokens.tolist(),
            chosen.tolist(),
            strict=True,
        )
        request = _Request(bar, setting, floor)
        return [self._decision(request, *row) for row in rows]

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

        Raises
        ------
        ConfigError
            If a prompt is malformed or `embeddings` does not fit.
        """
        listed = _listed(prompts)
        features = self._extractor.extract(listed, embeddings)
        characters = np.array([max(len(prompt_text(p).text), 1) for p in listed], float)
        return self._artifact.model.score(features, characters)

    def _choose(
        self, quality: _Floats, energy_j: _Floats, setting: Setting | None, floor: float | None
    ) -> NDArray[np.int64]:
        reference = self._artifact.reference
        means = self._artifact.dial.means
        if floor is None:
            if setting is None:
                return np.full(len(quality), reference, np.int64)
            return choose(quality, energy_j, means, setting)
        allowed = quality >= floor
        free = Setting(0.0, 0.0) if setting is None else setting
        bargain, cost_j = shrink(quality, energy_j, means, free)
        strict = best_bargain(np.where(allowed, bargain, -np.inf), cost_j, free.price)
        if setting is None:
            strict = np.where(allowed[:, reference], reference, strict)
        return np.where(allowed.any(axis=1), strict, reference)

    def _decision(
        self,
        request: _Request,
        quality: list[float],
        value_j: list[float],
        low_j: list[float],
        high_j: list[float],
        completion_tokens: list[float],
        prompt_tokens: float,
        chosen: int,
    ) -> Decision:
        candidates = tuple(
            Candidate(
                model=name,
                probability=quality[j],
                energy_j=EnergyInterval(value_j[j], low_j[j], high_j[j], self._energy.basis[j]),
                completion_tokens=completion_tokens[j],
                chosen=j == chosen,
                reason=request.reason(quality, value_j, j, chosen, self._artifact.reference),
            )
            for j, name in enumerate(self._ids)
        )
        best = candidates[chosen]
        return Decision(
            model=best.model,
            probability=best.probability,
            energy_j=best.energy_j,
            quality=request.bar,
            price=None if request.setting is None else request.setting.price,
            shrinkage=None if request.setting is None else request.setting.shrinkage,
            prompt_tokens=prompt_tokens,
            candidates=candidates,
            reason=best.reason,
            reference=self.reference,
            warnings=request.warnings(quality),
        )

    def _check_golden(self) -> None:
        golden = self._artifact.golden
        if not golden:
            return
        prompts = [prompt for prompt, _ in golden]
        zeros = None
        if self._artifact.features.encoder.startswith("precomputed"):
            zeros = np.zeros((len(prompts), self._extractor.n_embedding), np.float32)
        found = self.score(prompts, zeros).quality
        if not np.allclose(found, [scores for _, scores in golden], 0.0, _GOLDEN_TOLERANCE):
            raise ArtifactError(
                "the router does not score its golden prompts as it did when it was trained: "
                "train it again with this release"
            )


@dataclass(frozen=True, slots=True)
class _RequestEnergy:
    """Joules of requests, uncertain in the joules per token and in the answer's length.

    All arrays have shape (n_models,).
    """

    joules_per_prompt_token: _Floats
    joules_per_completion_token: _Floats
    low_factor: _Floats
    high_factor: _Floats
    token_low: _Floats
    token_high: _Floats
    basis: tuple[Basis, ...]

    @classmethod
    def build(cls, artifact: Artifact) -> _RequestEnergy:
        models = artifact.pool.models
        return cls(
            np.array([model.joules_per_prompt_token for model in models]),
            np.array([model.joules_per_completion_token for model in models]),
            np.array([model.low_factor for model in models]),
            np.array([model.high_factor for model in models]),
            np.array(artifact.token_low),
            np.array(artifact.token_high),
            tuple(
                weakest_basis(model.basis, "assumed" if assumed else "estimated")
                for model, assumed in zip(models, artifact.assumed_tokens, strict=True)
            ),
        )

    def joules(self, scores: Scores) -> tuple[_Floats, _Floats, _Floats]:
        """Return best estimate, lower and upper end, each of shape (n, n_models)."""
        prompt_j = scores.prompt_tokens[:, None] * self.joules_per_prompt_token
        answer_j = scores.completion_tokens * self.joules_per_completion_token
        value_j = prompt_j + answer_j
        low_j = (prompt_j + answer_j * self.token_low) * self.low_factor
        high_j = (prompt_j + answer_j * self.token_high) * self.high_factor
        # a quantile may lie on the other side of the expected length
        return value_j, np.minimum(low_j, value_j), np.maximum(high_j, value_j)


@dataclass(frozen=True, slots=True)
class _Request:
    """What the caller asked for: the bar, the setting that it became, the floor."""

    bar: float
    setting: Setting | None
    floor: float | None

    def reason(
        self, quality: list[float], energy_j: list[float], j: int, chosen: int, reference: int
    ) -> str:
        """Say why model j was chosen or not."""
        if j == chosen:
            return self._reason_chosen(quality[j], j == reference)
        if self.floor is not None and quality[j] < self.floor:
            return f"probability below {self.floor:g}"
        if self.setting is None:
            return "does not keep the bar" if chosen == reference else "no higher probability"
        if self.setting.shrinkage >= 1.0:
            return "not the fixed model of this bar"
        gain, cost_j = quality[j] - quality[chosen], energy_j[j] - energy_j[chosen]
        if gain > 0 and cost_j <= 0:
            return f"{gain:+.3f} probability here, but worse on average"
        if gain > 0:
            return f"{gain:+.3f} probability is not worth {_signed(cost_j)} J"
        if cost_j >= 0:
            return "more energy, no better"
        return f"{_signed(cost_j)} J does not make up for {gain:+.3f} probability"

    def _reason_chosen(self, probability: float, is_reference: bool) -> str:
        if self.floor is not None and probability < self.floor:
            return f"reference model: no candidate reaches probability {self.floor:g}"
        if self.setting is not None:
            if self.setting.shrinkage >= 1.0:
                return "fixed model: telling prompts apart saves nothing more at this bar"
            return "best bargain at the bar's energy price"
        if is_reference:
            return "reference model: nothing else keeps the bar"
        return f"highest probability: the reference model's is below {self.floor:g}"

    def warnings(self, quality: list[float]) -> tuple[str, ...]:
        """Return what the caller should know."""
        warnings = []
        if self.setting is None:
            warnings.append(f"only the reference model keeps a bar of {self.bar:g}")
        if self.floor is not None and max(quality) < self.floor:
            warnings.append(f"no candidate reaches a probability of {self.floor:g}")
        return tuple(warnings)


def _signed(joules: float) -> str:
    return f"{joules:+,.0f}" if abs(joules) >= 10 else f"{joules:+.2g}"


def _resolve(path: str | Path | None) -> Path:
    """Return the folder of a router, the bundled one where `path` names none that exists."""
    if path is not None and (Path(path).exists() or Path(path) != _BUNDLED):
        return Path(path)
    package = Path(str(files("router")))
    # inside the package once installed, beside it in a checkout
    for folder in (package / _BUNDLED, package.parent / _BUNDLED):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise ArtifactError(
        "this installation has no bundled router: reinstall wattroute, or train one with "
        "`wattroute train --default-runs --out models/default`"
    )


def _listed(prompts: Iterable[Prompt]) -> list[Prompt]:
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Iterable):
        raise ConfigError(
            f"prompts must be a sequence of prompts, not {type(prompts).__name__}: "
            "put the one prompt in a list"
        )
    return list(prompts)


def _number(name: str, value: float) -> float:
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{name} is {value!r}: use a number") from error
    if not math.isfinite(number):
        raise ConfigError(f"{name} is {value!r}: use a finite number")
    return number
