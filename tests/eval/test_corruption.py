import numpy as np
import pytest

from router.errors import ConfigError
from router.eval.corruption import Corruption
from router.eval.protocol import true_energy


@pytest.fixture
def matrix(make_matrix):
    rng = np.random.default_rng(0)
    return make_matrix(
        rng.integers(0, 2, (400, 3)),
        completion_tokens=rng.integers(50, 150, (400, 3)),
        tasks=["sums"] * 300 + ["words"] * 99 + [""],
    )


def test_flips_hit_the_share_that_was_asked_for(matrix):
    flipped = Corruption.parse("flip:0.3").spoil(matrix, np.random.default_rng(1))
    changed = flipped.quality != matrix.quality
    assert changed.mean() == pytest.approx(0.3, abs=0.04)
    assert set(np.unique(flipped.quality)) == {0, 1}
    again = Corruption.parse("flip:0.3").spoil(matrix, np.random.default_rng(1))
    assert np.array_equal(again.quality, flipped.quality)


def test_missing_answers_miss_everything_and_leave_no_prompt_and_no_model_empty(matrix):
    holes = Corruption.parse("missing").spoil(matrix, np.random.default_rng(1))
    gone = np.isnan(holes.quality)
    # one answer of three is kept for sure, each other one with a chance of a half
    assert gone.mean() == pytest.approx(1 / 3, abs=0.04)
    for cells in (holes.prompt_tokens, holes.completion_tokens):
        assert np.array_equal(np.isnan(cells), gone)
    assert not gone.all(axis=1).any()
    nearly = Corruption("missing", 0.999).spoil(matrix.rows([0]), np.random.default_rng(1))
    assert not np.isnan(nearly.quality).all()


@pytest.mark.parametrize(
    ("kind", "model", "grade"),
    [("perfect", "large", 1.0), ("failing", "small", 0.0), ("constant", "small", 0.5)],
)
def test_one_model_changes(matrix, pool, kind, model, grade):
    changed, same_pool = Corruption.parse(kind).change(matrix, pool)
    j = matrix.models.index(model)
    assert (changed.quality[:, j] == grade).all()
    others = [i for i in range(3) if i != j]
    assert np.array_equal(changed.quality[:, others], matrix.quality[:, others])
    assert same_pool is pool


def test_what_was_never_graded_stays_so(matrix, pool):
    matrix.quality[5, 2] = np.nan
    changed, _ = Corruption("perfect").change(matrix, pool)
    assert np.isnan(changed.quality[5, 2])


def test_twins_are_equal_in_all_but_name(matrix, pool):
    changed, twins = Corruption("twins").change(matrix, pool)
    assert changed.models == matrix.models
    assert twins.names == pool.names
    assert np.array_equal(changed.quality[:, 1], changed.quality[:, 2])
    energy_j = true_energy(changed, twins)
    assert np.array_equal(energy_j[:, 1], energy_j[:, 2])
    assert np.array_equal(energy_j[:, :2], true_energy(matrix, pool)[:, :2])


def test_a_task_is_left_with_one_prompt(matrix, pool):
    changed, _ = Corruption("lone-task").change(matrix, pool)
    assert changed.tasks.count("sums") == 1
    assert len(changed) == 101
    assert changed.prompt_ids[0] == "p0"


def test_kinds_that_do_not_apply_change_nothing(matrix, pool):
    rng = np.random.default_rng(0)
    assert Corruption("perfect").spoil(matrix, rng) is matrix
    assert Corruption("flip", 0.2).change(matrix, pool) == (matrix, pool)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flipp:0.2", "did you mean 'flip'"),
        ("noise", "use one of flip"),
        ("flip:1", "not in"),
        ("flip:-0.1", "not in"),
        ("flip:nan", "not in"),
        ("flip:lots", "not a number"),
        ("perfect:0.5", "takes no share"),
    ],
)
def test_bad_texts_are_explained(text, message):
    with pytest.raises(ConfigError, match=message):
        Corruption.parse(text)


def test_names_say_the_share():
    assert str(Corruption.parse(" missing ")) == "missing:0.5"
    assert str(Corruption("twins")) == "twins"


def test_no_tasks(make_matrix, pool):
    with pytest.raises(ConfigError, match="no tasks"):
        Corruption("lone-task").change(make_matrix([[1, 0, 1]] * 3), pool)
