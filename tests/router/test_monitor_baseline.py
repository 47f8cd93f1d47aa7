from __future__ import annotations

import json

import numpy as np
import pytest

from router.errors import ArtifactError, ConfigError
from router.monitor import Baseline, Baselines
from router.monitor.baseline import LINEAGE_KEY, level_of, novelty_level, stored_baselines
from router.monitor.bets import N_BANDS

MODELS = ("small", "large")


def test_cells_count_what_came_of_each_model_and_band():
    baseline = Baseline.of_answers(
        MODELS,
        ["small", "small", "large", "small"],
        [0.91, 0.93, 0.91, 0.15],
        [1.0, 0.5, 0.0, 0.25],
        bar=0.95,
    )
    assert sorted(baseline.cells) == [("large", 12), ("small", 3), ("small", 12)]
    cell = baseline.cells["small", 12]
    assert (cell.n, cell.probability, cell.quality, cell.levels) == (2, 0.92, 0.75, "50:1 100:1")
    assert baseline.n_answers == 4
    assert [baseline.n_answers_of(name) for name in (*MODELS, "none")] == [3, 1, 0]
    assert baseline.band_shares()[[3, 12]].tolist() == [0.25, 0.75]


def test_expectations_are_corrected_as_far_as_there_is_evidence():
    def of(n: int) -> Baseline:
        return Baseline.of_answers(MODELS, ["small"] * n, [0.9] * n, [0.7] * n)

    offsets = [of(n).expected("small", 0.92) - 0.92 for n in (1, 10, 1_000)]
    np.testing.assert_allclose(offsets, [-0.2 / 11, -0.1, -0.2 * 1000 / 1010])
    assert of(10).expected("small", 0.5) == 0.5  # another band
    assert of(10).expected("large", 0.92) == 0.92
    low = Baseline.of_answers(MODELS, ["small"] * 500, [0.01] * 500, [0.0] * 500)
    assert low.expected("small", 0.0) == 0.0


def test_the_same_answers_in_any_order_are_the_same_baseline():
    rng = np.random.default_rng(1)
    chosen = rng.choice(MODELS, 200)
    probability, quality = rng.random(200), rng.integers(0, 2, 200)
    order = rng.permutation(200)
    first = Baseline.of_answers(MODELS, chosen.tolist(), probability, quality)
    second = Baseline.of_answers(MODELS, chosen[order].tolist(), probability[order], quality[order])
    assert first.digest() == second.digest()
    other = Baseline.of_answers(MODELS, chosen.tolist(), probability, 1 - quality)
    assert other.digest() != first.digest()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chosen": ["small", "medium"]}, "model 'medium' is not one of small, large"),
        ({"chosen": ["small"]}, "must have the same length"),
        ({"probability": [0.5, 1.5]}, "probability must be a list of numbers in"),
        ({"quality": [0.5, float("nan")]}, "quality must be a list of numbers in"),
        ({"quality": [[0.5, 0.5]]}, "quality must be a list"),
        ({"novelty": [1.0, float("inf")]}, "novelty must be a list of finite numbers"),
    ],
)
def test_wrong_answers_are_refused(changed, message):
    given = {"chosen": ["small"] * 2, "probability": [0.5, 0.6], "quality": [0, 1], "novelty": ()}
    given |= changed
    with pytest.raises(ConfigError, match=message):
        Baseline.of_answers(
            MODELS,
            given["chosen"],
            given["probability"],
            given["quality"],
            novelty=given["novelty"],
        )


def test_an_empty_baseline_can_be_used():
    baseline = Baseline.of_answers(MODELS, [], [], [])
    assert baseline.n_answers == 0
    assert baseline.band_shares().tolist() == [1 / N_BANDS] * N_BANDS
    assert baseline.expected("small", 0.3) == 0.3


def test_only_a_thousand_novelties_are_kept_and_they_are_like_all():
    scores = np.random.default_rng(2).gamma(2.0, 1.0, 20_000)
    kept = np.array(Baseline.of_answers(MODELS, [], [], [], novelty=scores).novelty)
    assert len(kept) == 1_000
    assert np.median(kept) == pytest.approx(np.median(scores), rel=0.1)
    assert novelty_level(1.23456) == -1.23
    assert novelty_level(123456.0) == -123000.0
    assert level_of(0.125) in (12.0, 13.0)


def test_baselines_survive_the_lineage_of_an_artifact():
    rng = np.random.default_rng(3)
    scores = rng.random(50)

    def of(bar: float) -> Baseline:
        chosen = rng.choice(MODELS, 300).tolist()
        probability, quality = rng.random(300), rng.random(300).round(2)
        return Baseline.of_answers(MODELS, chosen, probability, quality, novelty=scores, bar=bar)

    found = Baselines((of(0.9), of(1.0)))
    stored = json.loads(json.dumps({LINEAGE_KEY: found.to_dict()}))
    copy = stored_baselines(stored)
    assert [b.digest() for b in copy.bars] == [b.digest() for b in found.bars]
    assert copy.for_bar(0.93).bar == 0.9
    assert copy.for_bar(0.95).bar == 1.0  # as near: the higher one
    assert copy.for_bar(0.1).bar == 0.9
    with pytest.raises(ConfigError, match="no baseline"):
        Baselines(()).for_bar(0.9)
    for bar in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(ConfigError, match="use a share of the reference"):
            found.for_bar(bar)


def test_an_artifact_without_baselines_says_what_to_do():
    with pytest.raises(ArtifactError, match="train it again with this release, or give graded"):
        stored_baselines({"seed": 0})


@pytest.mark.parametrize(
    "damage",
    [
        5,
        {"models": ["small"]},
        {"models": ["small"], "novelty": "x", "bars": []},
        {"models": ["small"], "novelty": "", "bars": [{"bar": 1, "variance": 0.2, "cells": []}]},
        {
            "models": ["small"],
            "novelty": "",
            "bars": [{"bar": 1, "variance": 0.2, "cells": {"other": {"3": "0.1 0.2 0:1"}}}],
        },
        {
            "models": ["small"],
            "novelty": "",
            "bars": [{"bar": 1, "variance": 0.2, "cells": {"small": {"99": "0.1 0.2 0:1"}}}],
        },
        {
            "models": ["small"],
            "novelty": "",
            "bars": [{"bar": 1, "variance": 0.2, "cells": {"small": {"3": "0.1"}}}],
        },
    ],
)
def test_damaged_baselines_are_refused(damage):
    with pytest.raises(ArtifactError, match="damaged"):
        stored_baselines({LINEAGE_KEY: damage})
