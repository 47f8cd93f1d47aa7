from __future__ import annotations

import math

import numpy as np
import pytest

from router.textprofile import PROFILE_NAMES, text_profile


def named(text: str) -> dict[str, float]:
    return dict(zip(PROFILE_NAMES, text_profile(text).tolist(), strict=True))


def test_names_are_distinct():
    assert len(set(PROFILE_NAMES)) == len(PROFILE_NAMES) == len(text_profile(""))


def test_nothing_is_all_zero():
    found = named("")
    assert {name for name, value in found.items() if value} == {"log_distinct_lines"}
    assert found["log_distinct_lines"] == pytest.approx(math.log(2))


def test_characters_are_counted():
    found = named("aab\n\t~")
    assert found["log_count_of_'a'"] == pytest.approx(math.log(3))
    assert found["log_count_of_'b'"] == found["log_count_of_'~'"] == pytest.approx(math.log(2))
    assert found["log_count_of_'\\n'"] == found["log_count_of_'\\t'"] == pytest.approx(math.log(2))
    assert found["log_count_of_'A'"] == 0.0


def test_numbers():
    found = named("Add 7 to 20, then 7 and 300.")
    logs = [math.log1p(value) for value in (7, 20, 7, 300)]
    assert found["log_numbers"] == pytest.approx(math.log(5))
    assert found["largest_number"] == found["last_number"] == pytest.approx(math.log(301))
    assert found["smallest_number"] == found["first_number"] == pytest.approx(math.log(8))
    assert found["mean_number"] == pytest.approx(np.mean(logs))
    assert found["spread_of_numbers"] == pytest.approx(np.std(logs))
    assert found["log_distinct_numbers"] == pytest.approx(math.log(4))
    assert found["distinct_share_of_numbers"] == pytest.approx(0.75)
    assert found["most_digits"] == 3.0


def test_words_and_lines():
    found = named("The cat\nthe CAT sat x\n\nThe cat")
    assert found["log_words"] == pytest.approx(math.log(9))
    assert found["log_distinct_words"] == pytest.approx(math.log(5))
    assert found["distinct_share_of_words"] == pytest.approx(0.5)
    assert found["longest_word"] == 3.0
    assert found["log_single_letters"] == pytest.approx(math.log(2))
    lengths = [7, 13, 0, 7]
    assert found["log_longest_line"] == pytest.approx(math.log(14))
    assert found["log_distinct_lines"] == pytest.approx(math.log(4))
    assert found["log_mean_line"] == pytest.approx(math.log1p(np.mean(lengths)))
    assert found["log_spread_of_lines"] == pytest.approx(math.log1p(np.std(lengths)))


@pytest.mark.parametrize(
    "text",
    ["9" * 5000, "ß" * 300, "\ud800 lone", "\x00\x07", "\n" * 2000, "x" * 2000, "٣٤ १२", "😀 1"],
)
def test_odd_texts_give_finite_numbers(text: str):
    assert np.isfinite(text_profile(text)).all()


def test_letters_of_other_alphabets_are_words():
    assert named("größe größe")["log_words"] == pytest.approx(math.log(3))
    assert named("größe größe")["log_distinct_words"] == pytest.approx(math.log(2))
