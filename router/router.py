"""The router: from a prompt to the model that it goes to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.artifact import MANIFEST_FILE, Artifact, read_artifact
from router.asked import Asked, Asks
from router.clusters import AUTO, PromptClusters
from router.decision import Candidate, Decision, RoutedModel
from router.encoders import Encoder
from router.energy import EnergyInterval
from router.errors import ArtifactError, ConfigError, FeatureMismatchError
from router.features import FeatureExtractor, Features, prompt_texts
from router.messages import Prompt, prompt_text
from router.model import Scores
from router.novelty import NoveltyGuard
from router.promises import Promise, Promises
from router.registry import fetch_router, is_router_uri
from router.request import Request, checked_number
from router.request_energy import RequestEnergy

__all__ = ["Router", "router_folder"]

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
    uncertified : {"reference", "estimate"}, optional
        What serves a quality bar that is not certified: the reference model, or the setting that
        kept the bar out of fold, without a promise. Where absent, the reference model; but the
        estimate for a router that was never calibrated and so certifies nothing.

    Raises
    ------
    ConfigError
        If `uncertified` is neither of the two.
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

    def __init__(
        self,
        artifact: Artifact,
        *,
        encoder: Encoder | None = None,
        uncertified: str | None = None,
    ) -> None:
        self._artifact = artifact
        self._extractor = FeatureExtractor(artifact.features, encoder)
        self._ids = tuple(model.api_id for model in artifact.pool.models)
        self._energy = RequestEnergy.build(artifact)
        self._promises = Promises(artifact.calibration, artifact.dial, uncertified)
        self._asks = Asks(artifact, self._promises)
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
    def load(
        cls,
        path: str | Path | None = None,
        *,
        encoder: Encoder | None = None,
        uncertified: str | None = None,
    ) -> Router:
        """Load a stored router.

        Parameters
        ----------
        path : str or Path, optional
            Its folder; the bundled default router where absent. ``models/default`` means the
            bundled one wherever no such folder exists. A URI such as
            ``models:/wattroute@champion`` or ``runs:/RUN_ID`` is looked up in the MLflow store
            that ``MLFLOW_TRACKING_URI`` names (extra ``train``).
        encoder : Encoder, optional
            Takes the place of the encoder that the router names.
        uncertified : {"reference", "estimate"}, optional
            What serves a quality bar that is not certified, as for :class:`Router`.

        Returns
        -------
        Router
            Ready to route.

        Raises
        ------
        ConfigError
            If `uncertified` is neither of the two, or a URI means nothing.
        ArtifactError
            If it is missing, damaged or of another format.
        FeatureMismatchError
            If the features computed here are not those of training.
        MissingExtraError
            If a URI is given and MLflow is not installed.
        """
        return cls(read_artifact(router_folder(path)), encoder=encoder, uncertified=uncertified)

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
        confidence: float = 0.9,
        min_probability: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        allowed: Collection[str] | None = None,
        guard: bool = True,
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
        confidence : float
            Chance with which that is to be promised, in (0, 1). `Decision.certificate` says
            whether calibration prompts support the promise; what serves where they do not is for
            `uncertified` to say.
        min_probability : float, optional
            Only models with at least this probability of a good answer on this prompt, in
            [0, 1]; the reference model where there is none. The bar is then kept by estimate, and
            `Decision.floor_certificate` says whether the chosen model's answers are certified to
            be that often good.
        group : str, optional
            Kind of the prompt, a task label of the calibration prompts: the bar is then promised
            for prompts of this kind by themselves. ``auto`` finds the kind where kinds were
            discovered for want of labels.
        uncertified : {"reference", "estimate"}, optional
            What serves a bar that is not certified; as the router was told where absent.
        allowed : collection of str, optional
            Ids of the models that may be chosen, such as those that can read the request's
            images and have not just failed; all where absent. Where the reference model is not
            among them, the one with the best mean quality on the training prompts stands in
            for it.
        guard : bool
            Whether a prompt unlike those of training, for which the router's expectations are
            guesses, goes to a model that was fixed beforehand: the one of least energy that is
            trusted to keep the bar on kinds of tasks not seen, often the reference model.
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
                [prompt],
                quality=quality,
                confidence=confidence,
                min_probability=min_probability,
                group=group,
                uncertified=uncertified,
                allowed=allowed,
                guard=guard,
                embeddings=embeddings,
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
        confidence: float = 0.9,
        min_probability: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        allowed: Collection[str] | None = None,
        guard: bool = True,
        embeddings: ArrayLike | None = None,
    ) -> list[Decision]:
        """Choose the models for many prompts; each as :meth:`route` would.

        Parameters
        ----------
        prompts : sequence of Prompt
            The prompts.
        quality, confidence, min_probability, group, uncertified, allowed, guard
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
        ask = partial(
            self._asks.asked,
            checked_number("quality", quality),
            checked_number("confidence", confidence),
            uncertified=uncertified,
            floor=None
            if min_probability is None
            else checked_number("min_probability", min_probability),
            allowed=allowed,
            watched=guard,
        )
        watch = self._artifact.guard if guard else None
        if group is not None and not isinstance(group, str):
            raise ConfigError(f"group is {group!r}: use the name of a kind of prompts")
        asked = ask(None if group == AUTO else group)
        features, characters = self._features(prompts, embeddings)
        if group != AUTO:
            return self._decide(asked, features, characters, watch)
        names = self._clusters().names(features, self._artifact.model.scaler)
        return [
            self._decide(ask(name), row, characters[i : i + 1], watch)[0]
            for i, (name, row) in enumerate(zip(names, _rows(features), strict=True))
        ]

    def _decide(
        self,
        asked: Asked,
        features: Features,
        characters: _Floats,
        guard: NoveltyGuard | None,
    ) -> list[Decision]:
        """Return the decisions for prompts of one kind."""
        scores = self._artifact.model.score(features, characters)
        value_j, low_j, high_j = self._energy.joules(scores)
        n = len(features)
        novelty: Sequence[float | None] = [None] * n
        asks = [asked.known] * n
        if guard is not None:
            found: list[float] = guard.novelty(features).tolist()
            asks = [asked.novel if score >= guard.level else asked.known for score in found]
            novelty = found
        if n == 1:
            ranking = asks[0][0].rank(scores.quality, value_j, scores.probability)
        else:
            ranking = np.empty((n, sum(asked.known[0].allowed)), np.int64)
            for ask in (asked.known, asked.novel):
                rows = np.flatnonzero([one is ask for one in asks])
                ranking[rows] = ask[0].rank(
                    scores.quality[rows], value_j[rows], scores.probability[rows]
                )
        columns = zip(
            asks,
            novelty,
            scores.quality.tolist(),
            scores.probability.tolist(),
            value_j.tolist(),
            low_j.tolist(),
            high_j.tolist(),
            scores.completion_tokens.tolist(),
            scores.prompt_tokens.tolist(),
            ranking.tolist(),
            strict=True,
        )
        return [self._decision(*row) for row in columns]

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
        return self._artifact.model.score(*self._features(prompts, embeddings))

    def _features(
        self, prompts: Sequence[Prompt], embeddings: ArrayLike | None
    ) -> tuple[Features, _Floats]:
        """Return the features and the characters of prompts."""
        texts = prompt_texts(_listed(prompts))
        features = self._extractor.extract(texts, embeddings)
        return features, np.array([max(len(text.text), 1) for text in texts], float)

    def _clusters(self) -> PromptClusters:
        """Return the kinds of prompts that calibration discovered."""
        calibration = self._artifact.calibration
        if calibration is None or calibration.clusters is None:
            labels = [] if calibration is None else [g.name for g in calibration.groups[1:]]
            raise ConfigError(
                f"group is {AUTO!r}, but this router has no discovered kinds of prompts: "
                + (f"name one of {', '.join(labels)}" if labels else "leave it out")
            )
        return calibration.clusters

    def _decision(
        self,
        asked: tuple[Request, Promise],
        novelty: float | None,
        quality: list[float],
        probability: list[float],
        value_j: list[float],
        low_j: list[float],
        high_j: list[float],
        completion_tokens: list[float],
        prompt_tokens: float,
        ranking: list[int],
    ) -> Decision:
        request, promise = asked
        chosen = ranking[0]
        candidates = tuple(
            Candidate(
                model=name,
                probability=probability[j],
                energy_j=EnergyInterval(value_j[j], low_j[j], high_j[j], self._energy.basis[j]),
                completion_tokens=completion_tokens[j],
                chosen=j == chosen,
                reason=request.reason(quality, value_j, probability, j, chosen),
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
            ranking=tuple(self._ids[j] for j in ranking),
            reason=best.reason,
            reference=self.reference,
            warnings=request.warnings(probability),
            certificate=promise.certificate,
            floor_certificate=None
            if request.floor is None
            else self._promises.floor_certificate(
                promise,
                request.floor,
                promise.certificate.confidence,
                chosen,
                reached=best.probability >= request.floor,
            ),
            novelty=novelty,
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


def router_folder(path: str | Path | None = None) -> Path:
    """Return the folder that :meth:`Router.load` reads.

    Parameters
    ----------
    path : str or Path, optional
        Folder of a router; the bundled one where absent, or where it is ``models/default`` and
        no such folder exists. The files of a URI in an MLflow store are fetched first.

    Raises
    ------
    ArtifactError
        If this installation has no bundled router, or a URI leads to something else than one.
    ConfigError
        If a URI means nothing.
    MissingExtraError
        If a URI is given and MLflow is not installed.
    """
    if is_router_uri(path):
        return fetch_router(str(path))
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


def _rows(features: Features) -> Iterator[Features]:
    """Yield the features of each prompt by itself."""
    for i, (start, stop) in enumerate(pairwise(features.indptr.tolist())):
        yield replace(
            features,
            dense=features.dense[i : i + 1],
            profile=features.profile[i : i + 1],
            indptr=features.indptr[i : i + 2] - start,
            indices=features.indices[start:stop],
            values=features.values[start:stop],
        )
