"""One limit on the text that features read.

The end of a long prompt usually holds the question, its beginning the kind of task, so both
are kept and the middle goes. Every block of features reads the same capped text.
"""

from __future__ import annotations

from router.messages import PromptText

__all__ = ["cap_prompt", "cap_text"]


def cap_text(text: str, max_chars: int) -> str:
    r"""Keep the beginning and the end of a text.

    Parameters
    ----------
    text : str
        The text.
    max_chars : int
        Characters to keep, half of them from the end.

    Returns
    -------
    str
        `text` itself if it is short enough, else at most `max_chars` of its characters and
        a line break where the middle was.

    Examples
    --------
    >>> cap_text("abcdefgh", 4)
    'ab\ngh'
    """
    if len(text) <= max_chars:
        return text
    tail = (max_chars + 1) // 2
    return f"{text[: max_chars - tail]}\n{text[len(text) - tail :]}"


def cap_prompt(prompt: PromptText, max_chars: int) -> str:
    """Cap the last user turn and the rest of a prompt, each at both ends.

    The last user turn has the room to itself but for a quarter, which system prompt and
    earlier turns may fill; what either does not need goes to the other.

    Parameters
    ----------
    prompt : PromptText
        The prompt.
    max_chars : int
        Characters to keep.

    Returns
    -------
    str
        At most ``max_chars + 2`` characters.
    """
    if len(prompt.text) <= max_chars:
        return prompt.text
    question, rest = prompt.text[: prompt.n_question], prompt.text[prompt.n_question :]
    rest_chars = min(len(rest), max(max_chars - len(question), max_chars // 4))
    return cap_text(question, max_chars - rest_chars) + cap_text(rest, rest_chars)
