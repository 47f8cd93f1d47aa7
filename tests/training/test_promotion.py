from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.pool import Pool
from router.training.promotion import (
    PromotionRule,
    compare_routers,
    joint_pool,
    seen_prompts,
)
from router.training.train import prompt_hashes

RULE = PromotionRule(quality=0.98, margin=0.02)


@dataclass
class Decided:
    """A router that sends each prompt to the model that a test says."""

    pool: Pool
    choose: Callable[[int], str]
    reference: int = 2
    lineage: dict[str, Any] = field(default_factory=dict)
    asked: list[float] = field(default_factory=list)
    tokens: float = 100.0

    @property
    def artifact(self) -> Any:
        return SimpleNamespace(
            pool=self.pool,
            reference=self.reference,
            lineage=self.lineage,
            features=SimpleNamespace(encoder="static"),
        )

    def route_many(self, prompts: Sequence[Any], *, quality: float, embeddings: Any) -> list[Any]:
        assert embeddings is None
        self.asked.append(quality)
        return [SimpleNamespace(model=f"{self.choose(i)}-api") for i in range(len(prompts))]

    def score(self, prompts: Sequence[Any], embeddings: Any) -> Any:
        shape = len(prompts), len(self.pool.models)
        return SimpleNamespace(completion_tokens=np.full(shape, self.tokens))


def always(pool: Pool, name: str, **changes: Any) -> Any:
    return Decided(pool, lambda i: name, **changes)


@pytest.fixture(scope="module")
def matrix(make_matrix: Callable[..., AnswerMatrix]) -> AnswerMatrix:
    """300 prompts: the large model is always right, the middle one on all but every tenth."""
    found = make_matrix(300, seed=11)
    quality = np.ones((300, 3))
    quality[::10, 1] = 0.0
    quality[::2, 0] = 0.0
    return replace(found, quality=quality)


@pytest.fixture(scope="module")
def clever(pool: Pool) -> Any:
    """Takes the middle model exactly where it is right."""
    return Decided(pool, lambda i: "large" if i % 10 == 0 else "middle")


def test_without_a_champion_the_reference_model_stands_in(matrix, pool, clever):
    found = compare_routers(clever, None, matrix, RULE)
    assert found.better
    assert not found.has_champion
    assert (found.reference, found.n_prompts) == ("large", 300)
    assert (found.champion_quality, found.champion_energy) == (1.0, 1.0)
    assert found.challenger_quality == 1.0
    assert 0.1 < found.challenger_energy < 0.5
    assert clever.asked == [0.98]
    assert "against large, less" in found.reasons()[1]


def test_less_energy_at_the_same_quality_is_better(matrix, pool, clever):
    champion = Decided(pool, lambda i: "large" if i % 5 == 0 else "middle")
    found = compare_routers(clever, champion, matrix, RULE)
    assert found.better
    assert found.energy_test.mean > 0
    assert "keeps 0.960 (bar 0.98, margin 0.02)" in found.reasons()[0]
    back = compare_routers(champion, clever, matrix, RULE)
    assert not back.better
    assert (back.keeps_quality, back.saves_energy) == (True, False)
    assert "not shown to be less: p = 1.0000" in back.reasons()[1]


def test_cheap_and_bad_is_not_better(matrix, pool, clever):
    found = compare_routers(always(pool, "small"), clever, matrix, RULE)
    assert not found.better
    assert (found.keeps_quality, found.saves_energy) == (False, True)
    assert found.challenger_quality == pytest.approx(0.5)
    assert "is not shown to keep" in found.reasons()[0]


def test_a_router_is_not_better_than_itself(matrix, clever):
    found = compare_routers(clever, clever, matrix, RULE)
    assert not found.better
    assert found.energy_test.p_value == 1.0


def test_just_below_the_bar_is_not_shown_to_keep_it(matrix, pool):
    """3 % below with a margin of 2 %; with a wide margin it is good enough."""
    wrong = set(range(0, 300, 10)[:9])
    nearly = Decided(pool, lambda i: "middle" if i in wrong or i % 10 else "large")
    strict = compare_routers(nearly, None, matrix, PromotionRule(1.0, 0.02))
    assert strict.challenger_quality == pytest.approx(0.97)
    assert not strict.better
    assert compare_routers(nearly, None, matrix, PromotionRule(1.0, 0.08)).better


@pytest.mark.parametrize("right", [1.0, 0.7])
def test_few_prompts_promote_a_router_below_the_bar_no_more_often_than_the_level(
    make_matrix, pool, right: float
):
    """A router that keeps exactly the bar less the margin, by truth, on 30 prompts at a time."""
    rng = np.random.default_rng(3)
    few = make_matrix(30, seed=12)
    challenger = always(pool, "middle")
    shown = 0
    for _ in range(200):
        quality = np.zeros((30, 3))
        quality[:, 2] = rng.random(30) < right
        quality[:, 1] = quality[:, 2] * (rng.random(30) < RULE.quality - RULE.margin)
        found = compare_routers(challenger, None, replace(few, quality=quality), RULE)
        shown += found.keeps_quality
    # 0.05 and three standard errors of the simulation
    assert shown / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_prompts_without_a_loss_are_no_proof_while_they_are_few(matrix, clever):
    few = compare_routers(clever, None, matrix.rows(np.arange(40)), RULE)
    assert (few.challenger_quality, few.keeps_quality) == (1.0, False)
    assert few.quality_test.p_value == pytest.approx(0.96**40 + 0.001)
    assert few.quality_test.n_needed == 74
    assert "about 74 prompts would show" in few.reasons()[0]
    enough = compare_routers(clever, None, matrix.rows(np.arange(74)), RULE)
    assert enough.keeps_quality


def test_a_text_counts_once_and_its_hash_rounds_fractional_grades(matrix, pool, clever):
    rows = np.repeat(np.arange(150), 2)
    twice = replace(matrix.rows(rows), prompt_ids=matrix.prompt_ids)
    once = compare_routers(clever, None, matrix.rows(np.arange(150)), RULE).quality_test
    found = compare_routers(clever, None, twice, RULE).quality_test
    assert (found.n, found.n_groups) == (300, once.n_groups)
    assert found.p_value == once.p_value
    graded = replace(matrix, quality=np.where(matrix.quality == 1.0, 0.6, 0.2))
    found = compare_routers(always(pool, "middle"), None, graded, RULE).quality_test
    # equal grades stay equal; a tenth of the prompts differs by 0.4
    assert found.gained == 0
    assert 3 <= found.lost <= 22
    assert 140 <= found.lost + found.both <= 220


def test_a_champion_that_misses_the_bar_is_named(matrix, pool, clever):
    found = compare_routers(clever, always(pool, "small"), matrix, RULE)
    assert not found.better
    assert any("champion itself misses the bar" in note for note in found.notes)


def test_both_are_judged_by_the_same_joules(matrix, pool, clever):
    other = replace(
        pool,
        models=(*pool.models[:2], replace(pool.models[2], joules_per_completion_token=50.0)),
    )
    champion = Decided(other, clever.choose)
    found = compare_routers(clever, champion, matrix, RULE)
    assert found.challenger_energy == found.champion_energy
    assert any("joules per token of large differ" in note for note in found.notes)


def test_lengths_that_the_runs_lack_are_expected_alike_of_both(matrix, pool):
    """The champion expects other lengths, and has a model that the challenger lacks."""
    tiny = replace(pool.models[0], name="tiny", api_id="tiny-api")
    wide = replace(pool, models=(*pool.models, tiny))
    cells = {
        name: np.column_stack([getattr(matrix, name), getattr(matrix, name)[:, 0]])
        for name in ("quality", "prompt_tokens", "energy_j")
    }
    silent = replace(
        matrix, models=wide.names, completion_tokens=np.full((300, 4), np.nan), **cells
    )
    challenger = always(pool, "middle", tokens=10.0)
    champion = always(wide, "middle", tokens=500.0)
    found = compare_routers(challenger, champion, silent, RULE)
    assert found.challenger_energy == found.champion_energy
    prompt_j = matrix.prompt_tokens[:, :1] * [0.05, 0.5]
    middle, large = np.add(prompt_j, [5.0, 50.0]).mean(axis=0)
    assert found.challenger_energy == pytest.approx(middle / large)
    found = compare_routers(challenger, always(wide, "tiny", tokens=500.0), silent, RULE)
    small = (matrix.prompt_tokens[:, 0] * 0.01 + 50.0).mean()
    assert found.champion_energy == pytest.approx(small / large)


def test_the_models_of_both_count(matrix, pool):
    extra = replace(pool.models[0], name="tiny", api_id="tiny-api")
    wide = replace(pool, models=(*pool.models, extra))
    found, notes = joint_pool(always(pool, "small"), always(wide, "tiny"))
    assert (found.names, notes) == (("small", "middle", "large", "tiny"), ())
    found, _ = joint_pool(always(wide, "tiny"), None)
    assert found == wide


def test_seen_prompts_are_those_of_training_and_calibration(matrix, pool):
    hashes = prompt_hashes(matrix.prompts).tolist()
    lineage = {"prompt_hashes": hashes[:3], "calibration_hashes": hashes[7:9]}
    seen = seen_prompts(always(pool, "small", lineage=lineage), matrix)
    assert set(np.flatnonzero(seen)) >= {0, 1, 2, 7, 8}
    assert seen_prompts(always(pool, "small"), matrix) is None


def test_too_little_to_compare_on_is_refused(matrix, pool, clever):
    with pytest.raises(DataError, match="29 new prompts: at least 30"):
        compare_routers(clever, None, matrix.rows(np.arange(29)), RULE)
    hopeless = replace(matrix, quality=np.zeros((300, 3)))
    with pytest.raises(DataError, match="large was right on none"):
        compare_routers(clever, None, hopeless, RULE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quality": 0.0}, "quality"),
        ({"quality": 1.2}, "quality"),
        ({"quality": float("nan")}, "quality"),
        ({"margin": -0.1}, "margin"),
        ({"margin": 0.98}, "margin"),
        ({"level": 0.001}, "level"),
        ({"level": 0.9}, "level"),
    ],
)
def test_a_rule_out_of_range_is_refused(changes: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=f"^{said} is"):
        PromotionRule(**changes)


def test_everything_is_json(matrix, clever):
    found = json.loads(json.dumps(compare_routers(clever, None, matrix, RULE).to_dict()))
    assert found["better"] is True
    assert len(found["reasons"]) == 2
    assert found["quality_test"]["n"] == 300
    assert (found["quality_test"]["gained"], found["quality_test"]["lost"]) == (0, 0)
