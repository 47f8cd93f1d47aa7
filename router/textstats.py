"""Cheap statistics of a prompt's text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from router.messages import PromptText

__all__ = ["STATISTIC_NAMES", "text_statistics"]

STATISTIC_NAMES: tuple[str, ...] = (
    "log_chars",
    "log_words",
    "log_lines",
    "word_length",
    "digit_share",
    "upper_share",
    "punctuation_share",
    "non_ascii_share",
    "distinct_chars",
    "log_numbers",
    "log_question_marks",
    "log_math_marks",
    "log_code_marks",
    "log_json_marks",
    "log_few_shot_marks",
    "log_option_marks",
    "log_list_marks",
    "truncated",
    "has_system",
    "has_tools",
    "log_turns",
    "log_images",
)
"""Names of the statistics, in their order."""

_CODE_MARKS = ("```", "def ", "return ", "import ", "();", "==", "//", ";\n")
_JSON_MARKS = ('{"', '":')
_FEW_SHOT_MARKS = ("Q:", "A:", "Question", "Example", "Input:", "Output:")
_LIST_MARKS = ("\n- ", "\n* ", "\n1", "\n2")
# "(A) ", "B. " or "C: ", but not the end of a word such as "USA. ".
_OPTION = re.compile(r"[A-J](?<![A-Za-z0-9].)[).:]\s")

_OTHER, _DIGIT, _UPPER, _LOWER, _PUNCTUATION, _MATH, _QUESTION, _WIDE = b" 0Aa.+?\xff"


def _table(classes: Mapping[int, bytes]) -> bytes:
    """Return a table for `bytes.translate` from each byte to the sign of its class."""
    table = bytearray([_OTHER] * 256)
    for sign, members in classes.items():
        for byte in members:
            table[byte] = sign
    return bytes(table)


_NOT_ASCII = bytes(range(128, 256))
_CLASSES = _table(
    {
        _DIGIT: b"0123456789",
        _UPPER: b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        _LOWER: b"abcdefghijklmnopqrstuvwxyz",
        _PUNCTUATION: b"!\"#%&'(),-./:;@[]_`{|}~",
        _MATH: b"\\$^=+*<>",
        _QUESTION: b"?",
        _WIDE: _NOT_ASCII,
    }
)
_NUMBERS = _table({_LOWER: bytes([_DIGIT])})
_WORDS = _table({_LOWER: bytes([_DIGIT, _UPPER, _LOWER, _WIDE])})


def text_statistics(prompt: PromptText, capped: str) -> NDArray[np.float32]:
    """Compute the statistics of one prompt.

    Characters, words and lines are those of the whole text (words extrapolated), everything
    else is counted in the capped text. Counts enter as their logarithm, and all values stay
    between 0 and about 4.

    Parameters
    ----------
    prompt : PromptText
        The whole prompt.
    capped : str
        Its text as :func:`router.textcap.cap_prompt` leaves it.

    Returns
    -------
    ndarray of shape (len(STATISTIC_NAMES),)
        float32.

    Examples
    --------
    >>> from router.messages import prompt_text
    >>> prompt = prompt_text("What is 12 + 34?")
    >>> values = text_statistics(prompt, prompt.text)
    >>> float(values[STATISTIC_NAMES.index("digit_share")])
    0.25
    """
    text = prompt.text
    utf8 = capped.encode("utf-8", "replace")
    # one sign a byte, so that a class is counted in a single pass
    signs = utf8.translate(_CLASSES)
    n_ascii = len(signs) - signs.count(_WIDE)
    digits, upper, maths, questions = map(signs.count, (_DIGIT, _UPPER, _MATH, _QUESTION))
    letters = upper + signs.count(_LOWER)
    punctuation = signs.count(_PUNCTUATION) + maths + questions
    n_non_ascii = len(capped) - n_ascii
    n_words = _stretches(signs.translate(_WORDS))
    n_chars = max(len(capped), 1)
    log1p, count = math.log1p, capped.count
    values = (
        log1p(len(text)) / 5,
        log1p(n_words * len(text) / n_chars) / 4,
        log1p(text.count("\n")) / 3,
        min((letters + digits + n_non_ascii) / (n_words + 1) / 5, 3.0),
        digits / n_chars,
        upper / max(letters, 1),
        punctuation / n_chars,
        n_non_ascii / n_chars,
        len(set(utf8.translate(None, _NOT_ASCII))) / 64,
        log1p(_stretches(signs.translate(_NUMBERS))) / 2,
        log1p(questions),
        log1p(maths) / 2,
        log1p(sum(map(count, _CODE_MARKS))) / 2,
        log1p(sum(map(count, _JSON_MARKS))) / 2,
        log1p(sum(map(count, _FEW_SHOT_MARKS))) / 2,
        log1p(len(_OPTION.findall(capped))),
        log1p(sum(map(count, _LIST_MARKS))) / 2,
        float(len(text) > len(capped)),
        float(prompt.has_system),
        float(prompt.has_tools),
        log1p(prompt.n_turns) / 2,
        log1p(prompt.n_images),
    )
    return np.array(values, np.float32)


def _stretches(signs: bytes) -> int:
    """Count the stretches of lower-case signs between others."""
    return (b" " + signs).count(b" a")
