from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from router.training.certify.paired import METHODS, better_method, gather, rounded


def test_rounding_keeps_means_and_ties() -> None:
    rng = np.random.default_rng(0)
    grades = rng.choice([0.0, 0.01, 0.25, 0.6, 1.0], (3, 20_000))
    grades[2] = grades[0]
    found = rounded(grades, rng.random(20_000))
    np.testing.assert_allclose(found.mean(axis=1), grades.mean(axis=1), atol=0.012)
    np.testing.assert_array_equal(found[0], found[2])
    assert not found[grades == 0.0].any()
    assert found[grades == 1.0].all()


def test_counts_of_the_exact_test() -> None:
    routed = np.array([[1.0, 0.0, 1.0, 0.0, 1.0]])
    reference = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    evidence = gather("exact", routed, reference, np.full(5, 0.5))
    assert (evidence.gained, evidence.lost, evidence.both) == ((1,), (1,), (2,))


@pytest.mark.parametrize("method", list(METHODS))
def test_a_setting_like_the_reference_keeps_and_a_bad_one_does_not(method: str) -> None:
    reference = (np.arange(2000) % 5 > 0).astype(float)
    bad = np.where(np.arange(2000) % 2 > 0, reference, 0.0)
    evidence = gather(method, np.stack([reference, bad]), reference, np.full(2000, 0.5))
    assert evidence.n_settings == 2
    assert evidence.rejects(0, 0.9, 0.1)
    assert not evidence.rejects(1, 0.9, 0.1)


def test_the_exact_test_needs_the_fewest_prompts() -> None:
    rng = np.random.default_rng(1)
    certified = dict.fromkeys(METHODS, 0)
    for _ in range(100):
        reference = (rng.random(500) < 0.8).astype(float)
        routed = np.where(rng.random(500) < 0.05, 1 - reference, reference)[None]
        for method in METHODS:
            evidence = gather(method, routed, reference, rng.random(500))
            certified[method] += evidence.rejects(0, 0.93, 0.1)
    assert certified["exact"] > certified["betting"] + 10
    assert certified["betting"] >= certified["hoeffding-bentkus"]


@pytest.mark.parametrize("method", list(METHODS))
def test_fractions_that_just_break_the_bar_are_hardly_ever_certified(method: str) -> None:
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(300):
        reference = rng.choice([0.0, 0.3, 0.7, 1.0], 250, p=[0.1, 0.1, 0.2, 0.6])
        loses = rng.random(250) < 0.1
        evidence = gather(method, np.where(loses, 0.0, reference)[None], reference, rng.random(250))
        wrong += evidence.rejects(0, 0.9001, 0.1)
    assert wrong / 300 <= 0.1 + 3 * sqrt(0.1 * 0.9 / 300)


def test_right_and_wrong_answers_go_to_the_exact_test() -> None:
    rng = np.random.default_rng(3)
    reference = (rng.random(300) < 0.7).astype(float)
    routed = np.where(rng.random((4, 300)) < 0.1, 1 - reference, reference)
    assert better_method(routed, reference) == "exact"


def test_grades_that_hardly_differ_go_to_betting() -> None:
    rng = np.random.default_rng(4)
    reference = rng.uniform(0.4, 0.9, 300)
    routed = reference + rng.choice([-0.02, 0.0, 0.01], (4, 300))
    assert better_method(routed, reference) == "betting"
