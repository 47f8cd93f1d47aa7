from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router import Router
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.splits import PoolPrompts
from router.eval.unseen_tasks import UnseenTasks
from router.features import FeatureExtractor
from router.training import fitting, unseen_tasks
from router.training.novelty import fit_guard
from router.training.train import assemble
from router.training.unseen_tasks import leading_parts, run_unseen_tasks


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        yield


@pytest.fixture(scope="module")
def matrix(make_matrix: Callable[..., AnswerMatrix]) -> AnswerMatrix:
    return make_matrix(180)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def found(matrix: AnswerMatrix, pool: Any, lines: list[str]) -> UnseenTasks:
    return run_unseen_tasks(
        matrix, pool, str, bars=(0.9, 0.98), only=("puzzles", "sums"), n_jobs=1,
        progress=lines.append,
    )  # fmt: skip


def test_kinds_that_were_not_seen_are_noticed_and_keep_the_bars(found: UnseenTasks):
    assert [family.family for family in found.families] == ["puzzles", "sums"]
    for family in found.families:
        assert family.auroc.mean > 0.95
        assert family.novel > 0.9
        assert family.false_alarms < 0.2
        assert family.reference in ("middle", "large")
        assert [outcome.bar for outcome in family.bars] == [0.9, 0.98]
        for outcome in (*family.bars, *family.known):
            assert outcome.quality.low <= outcome.quality.mean <= outcome.quality.high
            assert outcome.energy.low <= outcome.energy.mean <= outcome.energy.high


def test_the_family_is_in_none_of_the_other_parts(found: UnseenTasks, matrix: AnswerMatrix):
    tasks = np.array(matrix.tasks)
    for family in found.families:
        assert family.n_prompts == (tasks == family.family).sum()
        assert family.n_train + family.n_known == (tasks != family.family).sum()
        assert family.n_train == pytest.approx(0.7 * (family.n_train + family.n_known), abs=1)


def test_progress_names_each_family(found: UnseenTasks, lines: list[str]):
    assert "without puzzles" in lines
    assert any(line.startswith("  AUROC 1.0") or "AUROC 0.9" in line for line in lines)


def test_what_is_measured_is_what_the_router_serves(problem: Any, fitted: Any):
    matrix, pool = problem.matrix, problem.pool
    guard = fit_guard(problem.features, matrix.groups, matrix.quality, fitted.reference)
    extractor = FeatureExtractor(problem_spec(problem))
    router = Router(assemble(fitted, problem.targets, pool, extractor, {}, guard=guard))
    texts = (*matrix.prompts[:40], *(f"Sing of {i} and {text}" for i, text in enumerate("abcdef")))
    rows = np.arange(46) % 40
    asked = replace(matrix.rows(rows), prompts=texts, prompt_ids=tuple(map(str, range(46))))
    prompts = PoolPrompts(asked, None, problem.energy_j[rows], extractor.extract(texts))
    novelty = guard.novelty(prompts.features)
    assert (novelty >= guard.level).any()
    rng = np.random.default_rng(0)
    measured = unseen_tasks._outcomes(fitted, guard, prompts, novelty, pool, (0.9, 0.95), rng)
    column = {model.api_id: j for j, model in enumerate(pool.models)}
    for outcome in measured:
        for careful, shown in ((True, outcome.energy.mean), (False, outcome.unguarded_energy)):
            decisions = router.route_many(
                texts, quality=outcome.bar, guard=careful, uncertified="estimate"
            )
            chosen = [column[decision.model] for decision in decisions]
            spent_j = prompts.energy_j[np.arange(46), chosen].mean()
            base_j = prompts.energy_j[:, fitted.reference].mean()
            assert shown == pytest.approx(spent_j / base_j)


def problem_spec(problem: Any) -> Any:
    from router.features import FeatureSpec

    return FeatureSpec(n_buckets=problem.features.n_columns // 2)


def test_a_text_that_is_in_two_families_is_known(matrix: AnswerMatrix, pool: Any):
    groups = matrix.groups.copy()
    tasks = np.array(matrix.tasks)
    inside, outside = np.flatnonzero(tasks == "sums"), np.flatnonzero(tasks != "sums")
    groups[inside] = groups[outside[0]]
    with pytest.raises(DataError, match="every prompt of family 'sums' is also in another one"):
        run_unseen_tasks(replace(matrix, groups=groups), pool, str, only=("sums",), n_jobs=1)


@pytest.mark.parametrize(
    ("family_of", "message"),
    [
        (lambda task: "all", "1 families of tasks, 0 of them"),
        (lambda task: "", "0 families of tasks"),
        (lambda task: task if task == "sums" else "", "1 families of tasks"),
    ],
)
def test_too_few_families(
    matrix: AnswerMatrix, pool: Any, family_of: Callable[[str], str], message: str
):
    with pytest.raises(DataError, match=message):
        run_unseen_tasks(matrix, pool, family_of)


def test_arguments_that_cannot_be(matrix: AnswerMatrix, pool: Any):
    with pytest.raises(ConfigError, match=r"bars is \[0.0\]"):
        run_unseen_tasks(matrix, pool, str, bars=(0.0,))
    with pytest.raises(ConfigError, match=r"bars is \[\]"):
        run_unseen_tasks(matrix, pool, str, bars=())
    with pytest.raises(
        ConfigError, match="no family 'sum' that is large enough: use puzzles, sums"
    ):
        run_unseen_tasks(matrix, pool, str, only=("sum",))


@pytest.mark.parametrize(
    ("n_parts", "task", "family"),
    [
        (1, "mmlu-redux.anatomy", "mmlu-redux"),
        (3, "rg.hard.algebra.simple_equations", "rg.hard.algebra"),
        (1, "easy/ab", "easy"),
        (2, "easy/ab", "easy/ab"),
        (9, "a.b", "a.b"),
        (1, "", ""),
    ],
)
def test_leading_parts(n_parts: int, task: str, family: str):
    assert leading_parts(n_parts)(task) == family
