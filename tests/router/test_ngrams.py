from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.ngrams import HashedNgrams

WORD = re.compile(r"[a-z0-9_]+|[^\sa-z0-9_]")


def expected_counts(text: str, orders: tuple[int, ...]) -> Counter[tuple[str, ...]]:
    words = WORD.findall(re.sub(r"[0-9]", "0", text.lower()))
    return Counter(tuple(words[i : i + n]) for n in orders for i in range(len(words) - n + 1))


def test_words_are_counted_as_a_plain_counter_counts_them() -> None:
    text = "The cat saw the cat, and the dog saw 12 cats; x_1 = 34!"
    for orders in ((1,), (2,), (1, 2), (1, 2, 3)):
        _, values = HashedNgrams(2**24, orders, ()).row(text)
        counts = expected_counts(text, orders)
        weights = np.sort([1 + np.log(count) for count in counts.values()])
        np.testing.assert_allclose(np.sort(values), weights / np.linalg.norm(weights), rtol=1e-6)


def test_characters_are_counted_as_a_plain_counter_counts_them() -> None:
    text = "abracadabra, 12 abracadabra"
    _, values = HashedNgrams(2**24, (), (3, 5)).row(text)
    padded = f" {text} ".replace("1", "0").replace("2", "0")
    # The leading space only starts the sums.
    grams = [padded[i : i + n] for n in (3, 5) for i in range(1, len(padded) - n + 1)]
    weights = np.sort([1 + np.log(count) for count in Counter(grams).values()])
    np.testing.assert_allclose(np.sort(values), weights / np.linalg.norm(weights), rtol=1e-6)


def test_hashes_do_not_depend_on_the_place() -> None:
    ngrams = HashedNgrams(2**20, (1,), ())
    alone = set(ngrams.row("photosynthesis")[0].tolist())
    later = set(ngrams.row("x " * 700 + "photosynthesis")[0].tolist())
    wide = set(ngrams.row("漢 é photosynthesis")[0].tolist())
    assert len(alone) == 1
    assert alone < later
    assert alone < wide


def test_golden_columns() -> None:
    """Another value here means that every stored router must be trained again."""
    indices, values = HashedNgrams().row("Was 7 größer als 漢?")
    assert indices.tolist() == GOLDEN_INDICES
    assert values.sum() == pytest.approx(GOLDEN_SUM, abs=1e-5)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is 12 + 34?", "what is 56 + 78?"),
        ("\tA  b", " a  B"),
        ("GRÖSSE", "grösse"),
        ("a\x00b", "a b"),
    ],
)
def test_alike(a: str, b: str) -> None:
    for x, y in zip(HashedNgrams().row(a), HashedNgrams().row(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("a", "b"), [("ab", "a b"), ("12", "123"), ("a b", "b a"), ("a+b", "a-b"), ("漢字", "字漢")]
)
def test_different(a: str, b: str) -> None:
    ngrams = HashedNgrams(2**20, (1, 2), ())
    assert ngrams.row(a)[0].tolist() != ngrams.row(b)[0].tolist()


def test_scripts_without_spaces_count_by_character() -> None:
    ngrams = HashedNgrams(2**20, (1,), ())
    assert len(ngrams.row("为什么")[0]) == 3
    assert len(ngrams.row("почему")[0]) == 1
    assert len(ngrams.row("größer\u00a0naïve\u3000x")[0]) == 3


def test_blocks_have_unit_length_and_their_own_columns() -> None:
    ngrams = HashedNgrams()
    indices, values = ngrams.row("Why is the sky blue?")
    words = indices < ngrams.n_buckets
    assert np.linalg.norm(values[words]) == pytest.approx(1)
    assert np.linalg.norm(values[~words]) == pytest.approx(1)
    assert indices.max() < ngrams.n_columns
    assert indices.dtype == np.int32
    assert values.dtype == np.float32


def test_buckets_are_used_evenly() -> None:
    ngrams = HashedNgrams(2**10, (1,), ())
    used = np.concatenate(
        [
            ngrams.row(f"w{'abcdefghij'[i % 10]}{chr(97 + i // 10 % 26)}{chr(97 + i // 260)}")[0]
            for i in range(6760)
        ]
    )
    counts = np.bincount(used, minlength=1024)
    # Chi-square over its degrees of freedom.
    assert ((counts - 6.6) ** 2 / 6.6).sum() / 1023 == pytest.approx(1, abs=0.2)


@given(st.lists(st.text(), max_size=5), st.sampled_from([2, 2**10, 2**15, 2**16, 2**20]))
def test_batch_equals_single(texts: list[str], n_buckets: int) -> None:
    ngrams = HashedNgrams(n_buckets)
    rows = ngrams.transform(texts)
    assert rows.indptr.dtype == np.int64
    assert len(rows.indptr) == len(texts) + 1
    assert rows.indptr[-1] == len(rows.indices) == len(rows.values)
    for i, text in enumerate(texts):
        indices, values = ngrams.row(text)
        span = slice(rows.indptr[i], rows.indptr[i + 1])
        np.testing.assert_array_equal(rows.indices[span], indices)
        np.testing.assert_array_equal(rows.values[span], values)
        assert (np.diff(indices) > 0).all()
        assert (values > 0).all()
        assert not len(indices) or 0 <= indices[0] <= indices[-1] < ngrams.n_columns


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\x00"])
def test_nothing_in_nothing(text: str) -> None:
    assert len(HashedNgrams(char_orders=()).row(text)[0]) == 0
    assert len(HashedNgrams(word_orders=(), char_orders=()).row("abc")[0]) == 0


def test_lone_surrogate_and_long_text() -> None:
    assert len(HashedNgrams().row("a\ud800b")[0])
    indices, values = HashedNgrams().row("lorem ipsum " * 100_000)
    assert len(indices) < 100
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_buckets": 1000}, "power of two"),
        ({"n_buckets": 0}, "n_buckets"),
        ({"n_buckets": 2**25}, "n_buckets"),
        ({"n_buckets": 1024.0}, "n_buckets"),
        ({"n_buckets": True}, "n_buckets"),
        ({"word_orders": (2, 1)}, "word_orders"),
        ({"word_orders": (0,)}, "word_orders"),
        ({"char_orders": (3, 3)}, "char_orders"),
        ({"char_orders": (9,)}, "char_orders"),
        ({"char_orders": [3]}, "char_orders"),
        ({"char_orders": ("3",)}, "char_orders"),
        ({"word_orders": 1}, "word_orders"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HashedNgrams(**settings)


# fmt: off
GOLDEN_INDICES = [
    4766, 8408, 9163, 9398, 9556, 10251, 11883, 14916, 18471, 26483, 26962, 34041, 36200,
    37894, 38550, 38904, 38952, 39033, 41653, 43938, 44201, 45049, 45546, 45776, 46189, 46987,
    49284, 52677, 52707, 52930, 54369, 54655, 55092, 57374, 57665, 58359, 60206, 60821, 60978,
    61035, 61674, 62800, 63687, 63986, 64506,
]
# fmt: on
GOLDEN_SUM = 9.147575
