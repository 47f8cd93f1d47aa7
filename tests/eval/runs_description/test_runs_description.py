from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from router.errors import DataError
from router.eval.report.runs_section import runs_sections
from router.eval.report.runs_text import render_runs
from router.eval.runs_description import Grading, describe_runs


def titles(description) -> list[str]:
    return [section.title for section in runs_sections(description)]


def test_counts(matrix, pool):
    found = describe_runs(matrix, pool, seeds=[0, 1])
    assert (found.n_prompts, found.n_models, found.n_answers, found.n_complete) == (
        300,
        3,
        870,
        270,
    )
    assert found.ladder.n_prompts == found.headroom.n_prompts == 270
    assert found.findings() == ()
    assert found.notes() == (
        "30 prompts of 300 lack a grade of some model",
        "label noise cannot be estimated: 0 prompts with repeated grades, 20 are needed",
    )
    assert {kind.label for kind in found.by_task} == {"sums", "words"}
    assert found.by_source == ()


def test_json_has_everything_and_no_nan(matrix, pool):
    found = describe_runs(matrix, pool, seeds=[0], grading=Grading(truncated={"small": 2}))
    shown = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert shown["answers"][0]["truncated"] == 2
    assert shown["answers"][1]["truncated"] == 0
    assert shown["ladder"]["rungs"][0]["model"] == "small"
    assert len(shown["headroom"]["bars"]) == 4
    assert shown["headroom"]["oracle_ratio"]["low"] is None  # one seed has no interval


def test_nearly_equal_prompts_that_oppose_each_other(matrix):
    """Pairs that differ in one word, with opposite right answers."""
    sentences = [
        f"The brush {' '.join(f'w{i}x{k}' for k in range(30))} was too" for i in range(150)
    ]
    texts = tuple(f"{s} {size}." for s in sentences for size in ("wide", "narrow"))
    quality = np.tile([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], (150, 1))
    found = describe_runs(replace(matrix, prompts=texts, quality=quality))
    assert found.noise.near.unexplained > 0.9
    assert any("they are other questions" in note for note in found.notes())


def test_without_energy(matrix, pool):
    found = describe_runs(matrix, without_energy="nobody knows it")
    assert (found.ladder, found.headroom, found.pool) == (None, None, ())
    assert "nobody knows it" in render_runs(found)
    assert "Ladder and headroom" in titles(found)
    other = describe_runs(matrix.columns(["small", "middle"]), pool)
    assert other.without_energy == "the runs have no model 'large' of the pool"
    gaps = replace(matrix, quality=np.where(np.arange(300)[:, None] % 3 == range(3), 1.0, np.nan))
    assert describe_runs(gaps, pool).without_energy.startswith("no prompt has a grade of every")


def test_one_complete_prompt_has_a_ladder_and_no_headroom(matrix, pool):
    found = describe_runs(matrix.rows([40]), pool)
    assert found.ladder.n_prompts == 1
    assert found.headroom is None
    assert "at least two are needed" in " ".join(render_runs(found).split())


def test_no_prompts(matrix):
    with pytest.raises(DataError, match="no prompt"):
        describe_runs(matrix.rows(np.zeros(300, bool)))


def test_the_same_again(matrix, pool):
    first, second = (describe_runs(matrix, pool, seeds=[0]).to_dict() for _ in range(2))
    assert first == second
