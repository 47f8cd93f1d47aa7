import copy

import pytest

from router.errors import DataError
from router.training.schema import COLUMNS, Problem, RunsError, check_columns


def test_required_columns() -> None:
    assert [c.name for c in COLUMNS.values() if c.required] == ["prompt", "model", "quality"]


def test_all_known_columns_are_fine() -> None:
    assert check_columns(list(COLUMNS), "a.csv") == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("qualty", "did you mean 'quality'?"),
        ("Quality ", "did you mean 'quality'?"),
        ("completion_token", "did you mean 'completion_tokens'?"),
        ("energy", "did you mean 'energy_j'?"),
        ("zzz", "remove it; known columns are prompt, model"),
        ("", "index=False"),
    ],
)
def test_unknown_column_says_what_to_do(name: str, advice: str) -> None:
    names = (
        ["prompt", "model", name]
        if name in ("qualty", "Quality ")
        else ["prompt", "model", "quality", name]
    )
    unknown = check_columns(names, "a.csv")[0]
    assert (unknown.kind, unknown.row, unknown.field) == ("unknown column", None, name)
    assert advice in unknown.reason


def test_advice_never_names_a_column_that_is_there() -> None:
    problems = check_columns(["prompt", "model", "quality", "qualit"], "a.csv")
    assert len(problems) == 1
    assert "did you mean 'quality'" not in problems[0].reason


def test_missing_and_repeated_columns() -> None:
    problems = check_columns(["prompt", "model", "model"], "a.csv")
    assert [(p.kind, p.field) for p in problems] == [
        ("repeated column", "model"),
        ("missing column", "quality"),
    ]


def test_other_separator_is_named() -> None:
    problems = check_columns(["prompt;model;quality"], "a.csv")
    assert "separated by commas" in problems[0].reason
    assert len(problems) == 4


def _problems(n: int) -> list[Problem]:
    return [Problem("negative", f"-{i} is negative", "a.csv", i, "energy_j") for i in range(1, n)]


def test_error_carries_the_first_and_holds_all() -> None:
    error = RunsError(_problems(31))
    assert isinstance(error, DataError)
    assert isinstance(error, ValueError)
    assert (error.file, error.row, error.field) == ("a.csv", 1, "energy_j")
    assert len(error.problems) == 30
    text = str(error)
    assert text.startswith("a.csv, row 1, field 'energy_j': -1 is negative\n30 problems in 1 file:")
    assert "30 x energy_j: negative" in text
    assert "a.csv, row 10, field 'energy_j'" in text
    assert "row 11" not in text
    assert "Correct 30 rows" in text
    assert "--on-bad skip" in text


def test_error_about_a_file_does_not_offer_to_skip() -> None:
    error = RunsError([*_problems(3), Problem("broken file", "is broken", "b.csv")])
    assert "skip" not in str(error)


def test_error_survives_copying_between_processes() -> None:
    error = RunsError(_problems(3))
    again = copy.copy(error)  # by the same protocol
    assert str(again) == str(error)
    assert again.problems == error.problems
    assert again.row == 1


def test_problem_as_text() -> None:
    assert str(Problem("k", "is bad", "a.csv", 3, "model")) == "a.csv, row 3, field 'model': is bad"
    assert str(Problem("k", "is bad", "a.csv")) == "a.csv: is bad"
