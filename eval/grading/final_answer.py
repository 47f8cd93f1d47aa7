"""Finding the final answer in what a model wrote."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["final_answer", "find_json", "without_reasoning"]

_REASONING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"(?:^|[\n.!?*]\s*|\b(?:the|my|so|thus|therefore,?)\s+)(?:\**)(?:final\s+)?answer(?:\**)\s*"
    r"(?:is|:|=)\s*(?:\**)\s*:?\s*([^\n]+)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[\w+-]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ANSWER_KEYS = ("answer", "final_answer", "result")


def without_reasoning(text: str) -> str:
    """Return an answer without the reasoning that is marked as such.

    Parameters
    ----------
    text : str
        What the model wrote.

    Returns
    -------
    str
        Empty where the reasoning never ended.

    Examples
    --------
    >>> without_reasoning("<think>2 and 2</think>4")
    '4'
    """
    return _REASONING.sub("", text).strip()


def final_answer(text: str) -> str:
    r"""Return the final answer of a text.

    In this order: an ``<answer>`` tag, the last ``\boxed{}``, an ``answer`` of a JSON object, the
    last line that announces one ("The answer is ..."), else the whole text without reasoning.

    Parameters
    ----------
    text : str
        What the model wrote.

    Returns
    -------
    str
        Stripped of white space and of marks of emphasis around it.

    Examples
    --------
    >>> final_answer(r"So we get \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    >>> final_answer("Let me see. The answer is **Paris**.")
    'Paris'
    """
    visible = without_reasoning(text)
    tagged = _TAGGED.findall(visible)
    if tagged:
        return _bare(tagged[-1])
    boxed = _last_boxed(visible)
    if boxed is not None:
        return _bare(boxed)
    found = find_json(visible)
    if isinstance(found, dict):
        for key in _ANSWER_KEYS:
            if isinstance(found.get(key), (str, int, float)):
                return _bare(str(found[key]))
    announced = _ANNOUNCED.findall(visible)
    if announced:
        return _bare(announced[-1])
    return _bare(visible)


def find_json(text: str) -> Any:
    """Return the JSON value in a text.

    Parameters
    ----------
    text : str
        Plain JSON, a fenced block of it, or a text with an object or list in it.

    Returns
    -------
    object or None
        The last value of a fence, else the whole text, else the last object or list in it; None
        where there is none.

    Examples
    --------
    >>> find_json('Here you go: {"a": [1, 2]}')
    {'a': [1, 2]}
    """
    for candidate in (*reversed(_FENCE.findall(text)), text):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    decoder, found, start = json.JSONDecoder(), None, 0
    while (start := _next_bracket(text, start)) >= 0:
        try:
            found, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
    return found


def _next_bracket(text: str, start: int) -> int:
    places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
    return min(places, default=-1)


def _last_boxed(text: str) -> str | None:
    """Return the content of the last boxed formula, with its own braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    start += len("\\boxed{")
    depth = 1
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i]
    return None


def _bare(text: str) -> str:
    stripped = text.strip().strip("*_`").strip()
    return stripped.removesuffix(".").rstrip("*_`").strip()
