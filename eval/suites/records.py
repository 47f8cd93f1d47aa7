"""One prompt of a suite: what is asked, and what its answers are graded with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.errors import ConfigError, DataError
from router.messages import Prompt, prompt_text

__all__ = ["SuitePrompt", "checked_prompt"]


@dataclass(frozen=True, slots=True)
class SuitePrompt:
    """A prompt with what its answers are graded with.

    Attributes
    ----------
    prompt : Prompt
        Plain text, or chat messages in OpenAI's shape.
    prompt_id : str
        Stable id of the prompt, unique in its suite.
    reference : object
        What a grader compares with; None where there is nothing.
    task : str
        Label of the kind of prompt; empty where there is none.
    grader : str, optional
        The grader of this prompt, where it is not the one for all.
    metadata : mapping
        Whatever else its row holds, as JSON types.
    file : str
        Where it comes from.
    row : int, optional
        Its row there, counted from 1.
    """

    prompt: Prompt
    prompt_id: str
    reference: Any = None
    task: str = ""
    grader: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    row: int | None = None

    @property
    def key(self) -> str:
        """Digest of the id and of what is asked: answers belong to it."""
        return _digest([self.prompt_id, self.prompt])

    @property
    def grading_key(self) -> str:
        """Digest of what is asked and of all that a grader reads: grades belong to it."""
        return _digest([self.prompt, self.reference, self.grader, self.metadata])

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The prompt as chat messages."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return [dict(message) for message in self.prompt]

    def to_dict(self) -> dict[str, Any]:
        """Return the prompt as JSON types, without where it comes from."""
        fields = {
            "prompt": self.prompt,
            "prompt_id": self.prompt_id,
            "reference": self.reference,
            "task": self.task or None,
            "grader": self.grader,
        }
        return {
            **{key: value for key, value in fields.items() if value is not None},
            **self.metadata,
        }


def checked_prompt(value: object, file: str = "", row: int | None = None) -> Prompt:
    """Return a prompt that can be asked.

    Parameters
    ----------
    value : object
        What a row holds.
    file, row
        Where, for the message.

    Raises
    ------
    DataError
        If it is empty, no text and no list of chat messages, or not valid Unicode.

    Examples
    --------
    >>> checked_prompt("Why?")
    'Why?'
    """
    try:
        text = prompt_text(value)  # type: ignore[arg-type]  # says what is wrong with any other
    except ConfigError as error:
        raise DataError(str(error), file=file or None, row=row, field="prompt") from error
    if not text.text.strip() and not text.n_images:
        raise DataError("the prompt is empty", file=file or None, row=row, field="prompt")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise DataError(
            "the prompt is not valid Unicode: it has half a surrogate pair",
            file=file or None,
            row=row,
            field="prompt",
        ) from error
    return value  # type: ignore[return-value]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
