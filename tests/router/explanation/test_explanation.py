from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from router import Router
from router.errors import ConfigError
from router.explanation import Explanation, GradedPrompts, explain

PROMPT = "What is 12 + 34?"


@pytest.fixture(scope="module")
def found(small_router: Router, encoder: Any) -> Explanation:
    return explain(small_router, PROMPT, quality=0.9, encoder=encoder)


def test_the_decision_is_that_of_route(small_router, promising_router, encoder, prompts):
    cases = zip(
        [prompts[0], prompts[2], prompts[4], prompts[-1]],
        [small_router, promising_router] * 2,
        [
            {"quality": 0.9},
            {"quality": 0.8, "min_probability": 0.7},
            {"quality": 0.9, "allowed": ["api/small", "api/medium"]},
            {"quality": 0.8, "group": "maths", "confidence": 0.8, "uncertified": "estimate"},
        ],
        strict=True,
    )
    for prompt, router, options in cases:
        explained = explain(router, prompt, encoder=encoder, **options)
        assert explained.decision == router.route(prompt, **options)


def test_the_chosen_model_is_worth_most(found):
    worth = {c.candidate.model: c.utility for c in found.candidates}
    assert found.priced
    assert max(worth, key=worth.__getitem__) == found.decision.model
    first, second = found.decision.ranking[:2]
    evidence = found.evidence
    assert (evidence.chosen, evidence.other) == (first, second)
    assert evidence.lead == pytest.approx(worth[first] - worth[second], abs=1e-5)


def test_worth_is_quality_less_the_price_of_energy(found):
    for c in found.candidates:
        cost = found.decision.price * c.candidate.energy_j.value_j
        assert c.utility == pytest.approx(c.quality - cost)


def test_shrunken_expectations_are_worth_less_of_themselves(small_router, encoder):
    explained = explain(small_router, PROMPT, quality=0.75, encoder=encoder)
    assert explained.decision.shrinkage == 0.5
    means = small_router.artifact.dial.means.quality
    for c, mean in zip(explained.candidates, means, strict=True):
        cost = explained.decision.price * c.candidate.energy_j.value_j
        assert c.utility == pytest.approx((c.quality + mean) / 2 - cost)


def test_a_fixed_model_has_no_evidence_for_it(small_router, encoder):
    explained = explain(small_router, PROMPT, quality=0.5, encoder=encoder)
    assert explained.decision.shrinkage == 1.0
    assert explained.evidence.lead == pytest.approx(explained.evidence.start)
    assert [view.contribution for view in explained.evidence.views] == pytest.approx([0] * 8)


def test_where_only_the_reference_keeps_the_bar_nothing_is_priced(small_router, encoder):
    explained = explain(small_router, PROMPT, quality=1.0, encoder=encoder)
    assert not explained.priced
    assert [c.utility for c in explained.candidates] == [None] * 3
    assert explained.decision.model == "api/large"
    qualities = {c.candidate.model: c.quality for c in explained.candidates}
    lead = qualities["api/large"] - qualities[explained.evidence.other]
    assert explained.evidence.lead == pytest.approx(lead, abs=1e-5)


def test_bars_are_those_that_route_takes(found, small_router):
    for bar in (0.005, 0.3, 0.5, 0.505, 0.77, 0.8, 0.805, 0.9, 0.905, 0.98, 0.985, 1.0):
        chosen = small_router.route(PROMPT, quality=bar).model
        owners = [m.model for m in found.bars for r in m.ranges if r.low <= bar <= r.high]
        assert owners == [chosen]


def test_one_model_has_no_runner_up(small_router, encoder):
    explained = explain(small_router, PROMPT, allowed=["api/small"], encoder=encoder)
    assert explained.evidence is None
    assert str(explained.bars[0]) == "0.005 to 1"


def test_as_json(found, small_router, encoder):
    graded = GradedPrompts(
        (PROMPT,), ("a",), ("sums",), ("small",), np.array([[1.0]]), np.array([7])
    )
    explained = explain(small_router, PROMPT, graded=graded, encoder=encoder)
    shown = json.loads(json.dumps(explained.to_dict(), allow_nan=False))
    assert shown["decision"]["model"] == explained.decision.model
    assert shown["nearest"][0]["quality"] == {"api/small": 1.0}
    assert shown["bars"][0]["model"] == "api/small"
    assert found.nearest == ()


def test_the_bundled_router_and_its_guard():
    router = Router.load()
    novel = explain(router, "¿¿¿ " * 50, quality=0.9)
    assert novel.decision.novelty >= novel.novelty_level == router.artifact.guard.level
    assert not novel.priced
    off = explain(router, "¿¿¿ " * 50, quality=0.9, guard=False, uncertified="estimate")
    assert off.novelty_level is None
    assert off.priced


def test_precomputed_embeddings(make_artifact, spec, model):
    from dataclasses import replace

    from router.encoders import PrecomputedEncoder
    from router.features import FeatureExtractor

    given = replace(spec, encoder="precomputed:4")
    extractor = FeatureExtractor(given, PrecomputedEncoder(4))
    router = Router(make_artifact(features=given, fingerprint=extractor.fingerprint(), golden=()))
    vector = np.array([0.1, 0.9, 0.4, 0.2])
    explained = explain(router, PROMPT, quality=0.9, embedding=vector)
    assert explained.decision == router.route(PROMPT, quality=0.9, embedding=vector)
    with pytest.raises(ConfigError, match="embedding"):
        explain(router, PROMPT, quality=0.9)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        (PROMPT, {"quality": 0.0}, "quality is 0"),
        (PROMPT, {"quality": float("nan")}, "quality is nan"),
        (PROMPT, {"allowed": ["nobody"]}, "nobody"),
        (PROMPT, {"n_details": -1}, "n_details is -1"),
        ([], {}, "no messages"),
        (7, {}, "prompt must be"),
    ],
)
def test_wrong_arguments(small_router, encoder, prompt: Any, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        explain(small_router, prompt, encoder=encoder, **options)


def test_the_same_again(found, small_router, encoder):
    assert explain(small_router, PROMPT, quality=0.9, encoder=encoder) == found
