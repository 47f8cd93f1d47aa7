from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.errors import DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import true_energy
from router.training.targets import build_targets


@pytest.fixture
def matrix(make_matrix) -> AnswerMatrix:
    return make_matrix(12)


def outside(matrix: AnswerMatrix, *answered: float) -> AnswerMatrix:
    """Models outside the pool that answered these shares of the prompts, always right."""
    n = len(matrix)
    quality = np.full((n, len(answered)), np.nan)
    for j, share in enumerate(answered):
        quality[: round(share * n), j] = 1.0
    nothing = np.full(quality.shape, np.nan)
    return replace(
        matrix,
        models=tuple(f"other-{j}" for j in range(len(answered))),
        quality=quality,
        prompt_tokens=nothing,
        completion_tokens=nothing,
        energy_j=nothing,
    )


def test_complete_runs_are_taken_as_they_are(matrix: AnswerMatrix, pool):
    targets = build_targets(matrix, None, pool)
    np.testing.assert_array_equal(targets.quality, matrix.quality)
    np.testing.assert_allclose(np.exp(targets.log_tokens), matrix.completion_tokens)
    assert targets.observed.all()
    assert not targets.assumed_tokens.any()
    assert (targets.n_models, targets.extra) == (3, ())
    tokens = targets.characters * np.exp(targets.log_prompt_ratio)
    np.testing.assert_allclose(tokens, matrix.prompt_tokens[:, 0])


def test_targets_stand_side_by_side(matrix: AnswerMatrix, pool):
    targets = build_targets(matrix, outside(matrix, 1.0), pool)
    stacked = targets.stacked()
    assert stacked.dtype == np.float32
    assert stacked.shape == (12, 3 + 1 + 3 + 1)
    np.testing.assert_allclose(stacked[:, :4], targets.quality)
    np.testing.assert_allclose(stacked[:, 4:7], targets.log_tokens, rtol=1e-6)
    np.testing.assert_allclose(stacked[:, 7], targets.log_prompt_ratio, rtol=1e-6)


def test_gaps_are_filled_and_marked(matrix: AnswerMatrix, pool):
    rng = np.random.default_rng(0)
    gaps = rng.random(matrix.quality.shape) < 0.4
    gaps[0] = False
    quality = np.where(gaps, np.nan, matrix.quality)
    targets = build_targets(replace(matrix, quality=quality), None, pool)
    np.testing.assert_array_equal(targets.observed, ~gaps)
    np.testing.assert_array_equal(targets.quality[~gaps], matrix.quality[~gaps])
    assert np.isfinite(targets.stacked()).all()


def test_a_model_without_any_answer_is_an_error(matrix: AnswerMatrix, pool):
    matrix.quality[:, 1] = np.nan
    with pytest.raises(DataError, match="model 'middle' has no graded answer"):
        build_targets(matrix, None, pool)


def test_unknown_lengths_take_the_median_or_what_the_pool_assumes(
    matrix: AnswerMatrix, pool, make_pool
):
    tokens = matrix.completion_tokens
    tokens[:5, 0] = np.nan
    tokens[:, 2] = np.nan
    targets = build_targets(matrix, None, pool)
    np.testing.assert_allclose(np.exp(targets.log_tokens[:5, 0]), np.median(tokens[5:, 0]))
    np.testing.assert_allclose(np.exp(targets.log_tokens[:, 2]), 300)
    np.testing.assert_array_equal(targets.assumed_tokens, [False, False, True])

    targets = build_targets(matrix, None, make_pool(assumed=1234.0))
    np.testing.assert_allclose(np.exp(targets.log_tokens[:5, 0]), 1234)
    np.testing.assert_allclose(np.exp(targets.log_tokens[5:, 0]), tokens[5:, 0])
    np.testing.assert_allclose(np.exp(targets.log_tokens[:, 2]), 1234)
    np.testing.assert_array_equal(targets.assumed_tokens, [False, False, True])


def test_lengths_of_answers_that_were_never_given_follow_the_prompt(make_matrix, pool):
    matrix = make_matrix(200)
    rng = np.random.default_rng(1)
    never = rng.random(matrix.quality.shape) < 0.5
    quality = np.where(never, np.nan, matrix.quality)
    tokens = np.where(never, np.nan, matrix.completion_tokens)
    tokens[0], quality[0] = [np.nan, 70.0, 80.0], 1.0  # run, but not counted
    spoilt = replace(matrix, quality=quality, completion_tokens=tokens)
    targets = build_targets(spoilt, None, pool)
    never[0] = False
    np.testing.assert_array_equal(targets.ran, ~never)
    assert np.exp(targets.log_tokens[0, 0]) == pytest.approx(np.nanmedian(tokens[:, 0]))
    np.testing.assert_allclose(np.exp(targets.log_tokens[~never][2:]), tokens[~never][2:])
    truth = np.log(matrix.completion_tokens)
    errors = np.abs(targets.log_tokens - truth)[never].mean()
    by_median = np.abs(np.nanmedian(np.log(tokens), axis=0) - truth)[never].mean()
    assert errors < 0.8 * by_median


def test_an_assumed_length_is_assumed_of_every_answer(make_matrix, pool):
    matrix = make_matrix(40)
    matrix.completion_tokens[:, 2] = np.nan
    matrix.completion_tokens[::2, 1] = matrix.quality[::2, 1] = np.nan
    matrix.quality[1::2, 2] = np.nan
    targets = build_targets(matrix, None, pool)
    np.testing.assert_allclose(np.exp(targets.log_tokens[:, 2]), 300)
    np.testing.assert_array_equal(targets.assumed_tokens, [False, False, True])


def test_lengths_are_those_that_true_energy_counts(matrix: AnswerMatrix, pool):
    tokens = matrix.completion_tokens
    tokens[::3, 0] = np.nan
    tokens[:, 2] = np.nan
    matrix.prompt_tokens[:] = np.nan
    targets = build_targets(matrix, None, pool)
    prompt_tokens = targets.characters * np.exp(targets.log_prompt_ratio)
    energy_j = pool.joules(prompt_tokens, np.exp(targets.log_tokens))
    np.testing.assert_allclose(energy_j, true_energy(matrix, pool), rtol=0.02)


def test_answers_of_no_tokens_count_as_one(matrix: AnswerMatrix, pool):
    matrix.completion_tokens[:] = 0
    matrix.prompt_tokens[:] = 0
    targets = build_targets(matrix, None, pool)
    np.testing.assert_array_equal(targets.log_tokens, 0)
    assert np.isfinite(targets.log_prompt_ratio).all()


def test_unknown_prompt_tokens_take_the_usual_ratio(matrix: AnswerMatrix, pool):
    matrix.prompt_tokens[:6] = np.nan
    matrix.prompt_tokens[6:, 1:] = np.nan  # one count is enough
    targets = build_targets(matrix, None, pool)
    usual = np.median(matrix.prompt_tokens[6:, 0] / targets.characters[6:])
    np.testing.assert_allclose(np.exp(targets.log_prompt_ratio[:6]), usual)


def test_a_prompt_without_text(matrix: AnswerMatrix, pool):
    image = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
    empty = replace(matrix, prompts=(image, *matrix.prompts[1:]))
    targets = build_targets(empty, None, pool)
    assert targets.characters[0] == 1
    assert np.isfinite(targets.stacked()).all()


def test_models_outside_the_pool_need_answers_to_half_the_prompts(matrix: AnswerMatrix, pool):
    extra = outside(matrix, 0.25, 1.0, 0.42, 0.5, 0.0)
    targets = build_targets(matrix, extra, pool)
    assert targets.extra == ("other-1", "other-3")
    assert targets.quality.shape == (12, 5)
    assert targets.observed[:, 3].all()
    assert targets.observed[:, 4].sum() == 6
    assert (targets.n_models, targets.log_tokens.shape) == (3, (12, 3))


@pytest.mark.parametrize("answered", [(), (0.1,), (0.0, 0.4)])
def test_there_may_be_none_of_them(matrix: AnswerMatrix, pool, answered: tuple[float, ...]):
    targets = build_targets(matrix, outside(matrix, *answered), pool)
    assert targets.extra == ()
    assert targets.quality.shape == (12, 3)


def test_the_best_covered_of_very_many_are_kept(matrix: AnswerMatrix, pool):
    shares = [0.6] * 50 + [1.0] * 40
    targets = build_targets(matrix, outside(matrix, *shares), pool)
    assert len(targets.extra) == 64
    assert set(targets.extra) >= {f"other-{j}" for j in range(50, 90)}
    assert list(targets.extra) == sorted(targets.extra, key=lambda name: int(name[6:]))
