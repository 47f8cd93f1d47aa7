from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from router.errors import ConfigError
from router.eval.collect.adaptive import (
    AdaptiveSettings,
    _upper_bound,
    in_sample,
    learn_rule,
)
from router.eval.suites import SuitePrompt

SETTINGS = AdaptiveSettings()
SMALL, LARGE = "small", "large"


def pool(n: int, seed: int, tell: float) -> tuple[list[SuitePrompt], dict[tuple[str, str], float]]:
    """Prompts of three kinds; a share `tell` of the large model's outcomes follows the kind."""
    rng = np.random.default_rng(seed)
    prompts, qualities = [], {}
    for i in range(n):
        task = ("easy", "middling", "hopeless")[i % 3]
        prompt = SuitePrompt(f"Question {i}?", f"p{i}", task=task)
        plain = {"easy": 1.0, "hopeless": 0.0, "middling": float(rng.random() < 0.5)}[task]
        large = plain if rng.random() < tell else float(rng.random() < 0.5)
        prompts.append(prompt)
        qualities[SMALL, prompt.key] = float(rng.random() < {"easy": 0.9}.get(task, 0.1))
        qualities[LARGE, prompt.key] = large
    return prompts, qualities


@pytest.mark.parametrize(("n_wrong", "n"), [(0, 1), (0, 30), (3, 50), (20, 200), (49, 50)])
def test_the_bound_is_clopper_and_pearsons(n_wrong: int, n: int):
    expected = beta.ppf(0.95, n_wrong + 1, n - n_wrong)
    assert _upper_bound(n_wrong, n, 0.95) == pytest.approx(expected, abs=1e-9)


def test_nothing_seen_is_nothing_known():
    assert _upper_bound(0, 0, 0.9) == 1.0
    assert _upper_bound(5, 5, 0.9) == 1.0


def test_plain_outcomes_are_told_and_others_are_not():
    prompts, qualities = pool(300, 0, tell=1.0)
    fair = {p.key for p in prompts}
    rule = learn_rule(LARGE, [SMALL], prompts, qualities, fair, SETTINGS)
    assert rule is not None
    assert rule.audit.upper <= SETTINGS.error_budget
    told = {
        task: [rule.sure(rule.probability(p, qualities)) for p in prompts if p.task == task]
        for task in ("easy", "middling", "hopeless")
    }
    assert np.mean(told["easy"]) > 0.9
    assert np.mean(told["hopeless"]) > 0.9
    assert np.mean(told["middling"]) < 0.2


def test_outcomes_by_chance_give_no_rule():
    for seed in range(5):
        prompts, qualities = pool(200, seed, tell=0.0)
        fair = {p.key for p in prompts}
        assert learn_rule(LARGE, [SMALL], prompts, qualities, fair, SETTINGS) is None


def test_few_answers_give_no_rule():
    prompts, qualities = pool(20, 0, tell=1.0)
    fair = {p.key for p in prompts}
    assert learn_rule(LARGE, [SMALL], prompts, qualities, fair, SETTINGS) is None


def test_only_the_fair_sample_is_counted():
    prompts, qualities = pool(300, 0, tell=1.0)
    rule = learn_rule(LARGE, [SMALL], prompts, qualities, {p.key for p in prompts[:5]}, SETTINGS)
    assert rule is None, "five prompts cannot bound an error"


def test_the_audit_share_is_a_share_by_chance_and_stays():
    prompts = [SuitePrompt(f"Question {i}?", f"p{i}") for i in range(4000)]
    first = [in_sample(p, 0.1, 0) for p in prompts]
    assert first == [in_sample(p, 0.1, 0) for p in prompts]
    assert np.mean(first) == pytest.approx(0.1, abs=0.02)
    assert np.mean([in_sample(p, 0.1, 1) for p in prompts if in_sample(p, 0.1, 0)]) < 0.25


@pytest.mark.slow
def test_the_error_budget_is_kept_as_often_as_stated():
    """Rules from 150 prompts, measured on 600 others; most pools are hard to tell."""
    n_rules = n_broken = 0
    for seed in range(120):
        prompts, qualities = pool(750, seed, tell=(0.82, 0.88, 0.95)[seed % 3])
        seen, rest = prompts[:150], prompts[150:]
        fair = {p.key for p in seen}
        known = {pair: quality for pair, quality in qualities.items() if pair[1] in fair}
        rule = learn_rule(LARGE, [SMALL], seen, known, fair, SETTINGS)
        if rule is None:
            continue
        wrong = []
        for prompt in rest:
            seen_small = {(SMALL, prompt.key): qualities[SMALL, prompt.key]}
            told = rule.probability(prompt, seen_small)
            if rule.sure(told):
                wrong.append((told >= 0.5) != (qualities[LARGE, prompt.key] >= 0.5))
        n_rules += 1
        n_broken += bool(wrong) and np.mean(wrong) > SETTINGS.error_budget
    assert n_rules >= 25
    assert n_broken / n_rules <= 1.0 - SETTINGS.confidence + 0.05


@pytest.mark.parametrize(
    "change",
    [{"error_budget": 0.0}, {"error_budget": 0.5}, {"audit": 0.0}, {"audit": 1.5}, {"first": 3},
     {"batch": 0}, {"confidence": 0.2}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(change: dict[str, float]):
    with pytest.raises(ConfigError):
        AdaptiveSettings(**change)  # type: ignore[arg-type]
