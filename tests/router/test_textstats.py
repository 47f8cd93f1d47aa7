from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.messages import prompt_text
from router.textcap import cap_text
from router.textstats import STATISTIC_NAMES, text_statistics


def stats(prompt: str | list[dict[str, object]], cap: int = 2000) -> dict[str, float]:
    whole = prompt_text(prompt)
    values = text_statistics(whole, cap_text(whole.text, cap))
    assert values.dtype == np.float32
    return dict(zip(STATISTIC_NAMES, values.tolist(), strict=True))


def test_shares() -> None:
    got = stats("AB cd 12 ?é")
    assert got["digit_share"] == pytest.approx(2 / 11)
    assert got["upper_share"] == pytest.approx(2 / 4)
    assert got["punctuation_share"] == pytest.approx(1 / 11)
    assert got["non_ascii_share"] == pytest.approx(1 / 11)
    assert got["log_words"] == pytest.approx(np.log1p(4) / 4)
    assert got["log_numbers"] == pytest.approx(np.log1p(1) / 2)
    assert got["log_question_marks"] == pytest.approx(np.log1p(1))


@pytest.mark.parametrize(
    ("name", "with_marks", "without"),
    [
        ("log_code_marks", "def f():\n    return x == 1", "define a policy, please"),
        ("log_json_marks", '{"a": 1}', "{a: 1}"),
        ("log_few_shot_marks", "Q: 1+1\nA: 2\nQ: 2+2\nA:", "What is 1+1?"),
        ("log_option_marks", "Pick: (A) red (B) blue\nC. green ", "Made in the USA. Visit NASA: "),
        ("log_list_marks", "Do:\n- this\n- that", "Do this - and that"),
        ("log_math_marks", "$x^2 + 1 = 0$", "a polynomial"),
        ("log_lines", "a\nb\nc", "a b c"),
        ("log_question_marks", "Why?", "Why"),
    ],
)
def test_marks(name: str, with_marks: str, without: str) -> None:
    assert stats(with_marks)[name] > 0
    assert stats(without)[name] == 0


def test_words_of_other_scripts() -> None:
    german, russian = stats("größer größer"), stats("больше больше")
    for got in (german, russian):
        assert got["log_words"] == pytest.approx(np.log1p(2) / 4)
        assert got["word_length"] == pytest.approx(12 / 3 / 5)
    assert russian["non_ascii_share"] == pytest.approx(12 / 13)


def test_facts_about_messages() -> None:
    got = stats(
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image"}]},
            {"role": "tool", "content": "42"},
        ]
    )
    assert (got["has_system"], got["has_tools"]) == (1, 1)
    assert got["log_images"] == pytest.approx(np.log(2))
    assert got["log_turns"] == pytest.approx(np.log(3) / 2)
    plain = stats("q")
    assert (plain["has_system"], plain["has_tools"], plain["log_images"]) == (0, 0, 0)


def test_lengths_are_those_of_the_whole_text() -> None:
    text = "word " * 10_000
    got, short = stats(text), stats("word " * 100)
    assert got["truncated"] == 1
    assert short["truncated"] == 0
    assert got["log_chars"] == pytest.approx(np.log1p(50_000) / 5)
    assert got["log_words"] == pytest.approx(np.log1p(10_000) / 4, rel=0.01)
    assert got["word_length"] == pytest.approx(short["word_length"], rel=0.02)


@given(st.text())
def test_bounded_and_finite(text: str) -> None:
    values = np.array(list(stats(text, 40).values()))
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values <= 6).all()


def test_huge_text_stays_bounded() -> None:
    assert max(stats("?=\n{ " * 1_000_000).values()) < 8


def test_names_are_unique() -> None:
    assert len(set(STATISTIC_NAMES)) == len(STATISTIC_NAMES)
    assert list(stats("")) == list(STATISTIC_NAMES)
