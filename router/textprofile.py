"""The profile of a prompt's text: its characters, numbers, words and lines, counted.

Many prompts of one kind share their words and differ in size: a longer sum, a larger grid, more
clues. The profile shows it. Only trees read it (:mod:`router.trees`): what a size means depends
on the kind of prompt.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["PROFILE_NAMES", "text_profile"]

_COUNTED = b"\t\n" + bytes(range(32, 127))
_NUMBER_NAMES = (
    "log_numbers",
    "largest_number",
    "mean_number",
    "smallest_number",
    "spread_of_numbers",
    "first_number",
    "last_number",
    "log_distinct_numbers",
    "distinct_share_of_numbers",
    "most_digits",
)
_WORD_NAMES = (
    "log_words",
    "log_distinct_words",
    "distinct_share_of_words",
    "longest_word",
    "log_single_letters",
)
_LINE_NAMES = ("log_longest_line", "log_distinct_lines", "log_mean_line", "log_spread_of_lines")
PROFILE_NAMES: tuple[str, ...] = (
    *(f"log_count_of_{chr(byte)!r}" for byte in _COUNTED),
    *_NUMBER_NAMES,
    *_WORD_NAMES,
    *_LINE_NAMES,
)
"""Names of the columns of a profile, in their order."""

_COLUMNS = np.frombuffer(_COUNTED, np.uint8).astype(np.intp)
_MAX_DIGITS = 15
_SPACE = ord(" ")
_DIGITS = bytes(byte if chr(byte) in "0123456789" else _SPACE for byte in range(256))
_LETTERS = bytes(
    # bytes from 128 up belong to letters of other alphabets more often than not
    byte if byte >= 128 else ord(chr(byte).lower()) if chr(byte).isalpha() else _SPACE
    for byte in range(256)
)


def text_profile(capped: str) -> NDArray[np.float32]:
    """Compute the profile of one prompt.

    Counts and numbers enter as ``log(1 + x)``. Numbers are stretches of digits, words stretches
    of letters; upper and lower case are the same word.

    Parameters
    ----------
    capped : str
        Its text as :func:`router.textcap.cap_prompt` leaves it.

    Returns
    -------
    ndarray of shape (len(PROFILE_NAMES),)
        float32; 0 for what is not there.

    Examples
    --------
    >>> values = text_profile("What is 12 + 340?")
    >>> float(values[PROFILE_NAMES.index("most_digits")])
    3.0
    """
    utf8 = capped.encode("utf-8", "replace")
    counts = np.bincount(np.frombuffer(utf8, np.uint8), minlength=128)
    profile = np.empty(len(PROFILE_NAMES), np.float32)
    n_counted = _COLUMNS.size
    profile[:n_counted] = np.log1p(counts[_COLUMNS])
    profile[n_counted:] = (*_numbers(utf8), *_words(utf8), *_lines(capped))
    return profile


def _numbers(utf8: bytes) -> tuple[float, ...]:
    found = utf8.translate(_DIGITS).split()
    if not found:
        return (0.0,) * len(_NUMBER_NAMES)
    # digits beyond a double's say nothing more of a number's size
    logs = [math.log1p(int(digits[:_MAX_DIGITS])) for digits in found]
    n, n_distinct, mean = len(found), len(set(found)), sum(logs) / len(found)
    return (
        math.log1p(n),
        max(logs),
        mean,
        min(logs),
        math.sqrt(sum((value - mean) ** 2 for value in logs) / n),
        logs[0],
        logs[-1],
        math.log1p(n_distinct),
        n_distinct / n,
        float(max(map(len, found))),
    )


def _words(utf8: bytes) -> tuple[float, ...]:
    found = utf8.translate(_LETTERS).split()
    if not found:
        return (0.0,) * len(_WORD_NAMES)
    lengths, n_distinct = list(map(len, found)), len(set(found))
    return (
        math.log1p(len(found)),
        math.log1p(n_distinct),
        n_distinct / len(found),
        float(max(lengths)),
        math.log1p(lengths.count(1)),
    )


def _lines(capped: str) -> tuple[float, ...]:
    lines = capped.split("\n")
    lengths = list(map(len, lines))
    mean = sum(lengths) / len(lengths)
    squares = sum(length * length for length in lengths) / len(lengths)
    return (
        math.log1p(max(lengths)),
        math.log1p(len(set(lines))),
        math.log1p(mean),
        math.log1p(math.sqrt(max(squares - mean * mean, 0.0))),
    )
