from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.artifact import Artifact
from router.explanation.evidence import Evidence, find_evidence
from router.explanation.parts import parts_of
from router.features import FeatureExtractor
from router.model import QualityLink, RouterModel, Scores
from router.textstats import STATISTIC_NAMES


def lead(scores: Scores) -> np.ndarray:
    return scores.quality[:, 0] - scores.quality[:, 1] - 1e-4 * scores.completion_tokens[:, 0]


def evidence(
    artifact: Artifact, extractor: FeatureExtractor, prompt: Any, found: Any = lead
) -> Evidence:
    features = extractor.extract([prompt])
    return find_evidence(artifact, extractor, prompt, features, found, "a", "b", 5)


def linear(model: RouterModel, **parts: Any) -> RouterModel:
    """Return the model with one linear link from two latents, far from its clips."""
    link = QualityLink(slice(0, 2), np.array([[0.1, 0, 0], [0, 0.1, 0]]), np.full(3, 0.5), False, 1)
    return replace(model, links=(link,), **parts)


def test_parts_add_up_to_the_latents(artifact, extractor, prompts):
    for prompt in prompts:
        features = extractor.extract([prompt])
        parts = parts_of(artifact, extractor, prompt, features)
        total = artifact.model.intercept + sum(part.here for part in parts.values())
        np.testing.assert_allclose(total, artifact.model.latent(features)[0], atol=1e-4)


def test_the_start_and_the_views_add_up_to_the_lead(artifact, extractor, prompts):
    for prompt in prompts:
        found = evidence(artifact, extractor, prompt)
        total = found.start + sum(view.contribution for view in found.views)
        assert total == pytest.approx(found.lead, abs=2e-3)
        sizes = [abs(view.contribution) for view in found.views]
        assert sizes == sorted(sizes, reverse=True)


def test_the_lead_is_that_of_the_scores(artifact, extractor):
    prompt = "What is 12 + 34?"
    scores = artifact.model.score(extractor.extract([prompt]), np.array([float(len(prompt))]))
    assert evidence(artifact, extractor, prompt).lead == pytest.approx(lead(scores)[0], abs=1e-5)


def test_a_linear_lead_is_split_exactly(artifact, extractor, model):
    """Then a view's share is what its part of the latents is worth, whatever the way."""
    plain = replace(artifact, model=linear(model))
    prompt = "Write a Python function that sorts words."
    found = evidence(plain, extractor, prompt, lambda s: s.quality[:, 0] - s.quality[:, 1])
    parts = parts_of(plain, extractor, prompt, extractor.extract([prompt]))
    weights = np.array([0.1, -0.1])
    for view in found.views:
        part = parts[view.view]
        expected = (part.here - part.start)[:2] @ weights
        assert view.contribution == pytest.approx(expected, abs=1e-4)


def test_a_word_is_named(artifact, extractor, model):
    """Only the column of one word has a weight."""
    (column,) = extractor.spec.ngrams().row("banana")[0][:1].tolist()
    ngrams = np.zeros_like(model.ngram_weights)
    ngrams[column, 0] = 1.0
    zeros = np.zeros_like(model.dense_weights)
    bare = linear(
        model,
        dense_weights=zeros,
        ngram_weights=ngrams,
        neighbours=None,
        cluster_centres=model.cluster_centres[:0],
        cluster_values=model.cluster_values[:0],
        trees=None,
    )
    plain = replace(artifact, model=bare)
    prompt = "Peel one banana please"
    features = extractor.extract([prompt])
    value = bare.scaler.ngram_values(features)[features.indices == column].item()
    found = evidence(plain, extractor, prompt, lambda s: s.quality[:, 0] - s.quality[:, 1])
    words = {view.view: view for view in found.views}["words and word pairs"]
    assert [detail.name for detail in words.details] == ["banana"]
    assert words.details[0].contribution == pytest.approx(0.1 * value, abs=1e-4)
    assert words.contribution == pytest.approx(0.1 * value, abs=1e-4)
    assert found.views[0].view == "words and word pairs"
    assert {view.view for view in found.views}.isdisjoint(
        {"similar training prompts", "cluster of prompts"}
    )


def test_statistics_are_named_and_add_up(artifact, extractor):
    found = find_evidence(
        artifact,
        extractor,
        "Why?",
        extractor.extract(["Why?"]),
        lead,
        "a",
        "b",
        len(STATISTIC_NAMES),
    )
    statistics = {view.view: view for view in found.views}["text statistics"]
    assert {detail.name for detail in statistics.details} <= set(STATISTIC_NAMES)
    total = sum(detail.contribution for detail in statistics.details)
    assert total == pytest.approx(statistics.contribution, abs=1e-6)


def test_an_average_training_prompt_has_no_dense_evidence(artifact, extractor, model):
    """Where every prompt that is remembered is this one, only its n-grams set it apart."""
    prompt = "What is 12 + 34?"
    features = extractor.extract([prompt])
    scaled = model.scaler.scaled(features)
    neighbours = model.neighbours
    assert neighbours is not None
    bank = replace(neighbours, bank=np.repeat(scaled, len(neighbours.bank), axis=0))
    found = evidence(replace(artifact, model=replace(model, neighbours=bank)), extractor, prompt)
    shares = {view.view: view.contribution for view in found.views}
    for view in ("embedding", "text statistics", "embedding and statistics jointly"):
        assert shares[view] == pytest.approx(0, abs=1e-5)
    assert abs(shares["words and word pairs"]) > 1e-4


def test_without_a_bank_the_clusters_stand_in_and_without_them_the_centre(
    artifact, extractor, model
):
    for parts in (
        {"neighbours": None},
        {
            "neighbours": None,
            "cluster_centres": model.cluster_centres[:0],
            "cluster_values": model.cluster_values[:0],
        },
    ):
        found = evidence(replace(artifact, model=replace(model, **parts)), extractor, "Why?")
        total = found.start + sum(view.contribution for view in found.views)
        assert total == pytest.approx(found.lead, abs=2e-3)
