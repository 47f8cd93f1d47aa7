"""One text form for every prompt, so that equal prompts are equal strings.

A prompt is plain text or chat messages in OpenAI's shape. In tables both are text: chat
messages as their JSON with sorted keys. A text that parses as a list of messages with
roles is taken as chat messages, wherever it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from router.eval.matrix import Prompt

__all__ = ["decode_prompt", "encode_prompt", "normalised_text"]

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def encode_prompt(value: Any) -> str:
    """Return the text form of a prompt.

    Parameters
    ----------
    value : str or list of mapping
        Plain text, JSON of chat messages, or chat messages.

    Returns
    -------
    str
        The text itself, or the JSON of the messages with sorted keys and without nulls.

    Raises
    ------
    ValueError
        If the prompt is empty, of the wrong type or shape, or not valid Unicode.

    Examples
    --------
    >>> encode_prompt("Why?")
    'Why?'
    >>> encode_prompt([{"role": "user", "content": "Why?"}])
    '[{"content":"Why?","role":"user"}]'
    """
    if isinstance(value, str):
        messages = _messages_in(value)
        text = value
    elif isinstance(value, list | tuple):
        messages, text = list(value), ""
    else:
        raise ValueError(f"is {_type_name(value)}; must be text or a list of chat messages")
    if messages is not None:
        messages = [_message(message, number) for number, message in enumerate(messages, 1)]
        if not any(_has_content(message) for message in messages):
            raise ValueError("is empty")
        text = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    elif not text or text.isspace():
        raise ValueError("is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode: it has half a surrogate pair") from None
    return text


def decode_prompt(text: str) -> Prompt:
    """Return the prompt of a text form: `encode_prompt`, undone.

    Parameters
    ----------
    text : str
        What `encode_prompt` returned.

    Returns
    -------
    Prompt
        Plain text, or a list of chat messages.

    Examples
    --------
    >>> decode_prompt('[{"content":"Why?","role":"user"}]')
    [{'content': 'Why?', 'role': 'user'}]
    """
    messages = _messages_in(text)
    return text if messages is None else messages


def normalised_text(text: str) -> str:
    """Return the words of a prompt in lower case, for finding prompts that say the same.

    Parameters
    ----------
    text : str
        What `encode_prompt` returned.

    Returns
    -------
    str
        Lower case with white space collapsed; of chat messages the joined text of all.

    Examples
    --------
    >>> normalised_text('[{"content":"Why  NOT?","role":"user"}]')
    'why not?'
    """
    messages = _messages_in(text)
    if messages is not None:
        text = "\n".join(part for message in messages for part in _texts(message))
    return " ".join(text.lower().split())


def _messages_in(text: str) -> list[Any] | None:
    """Return the chat messages that `text` is the JSON of, None if it is plain text."""
    if not text.lstrip().startswith("[") or '"role"' not in text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(m, dict) and "role" in m for m in value):
        return value
    return None


def _message(value: Any, number: int) -> dict[str, Any]:
    """Return one message without its nulls, or raise what is wrong with it."""
    where = f"message {number}"
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_type_name(value)}; must be an object with role and content")
    message: dict[str, Any] = _without_nulls(value)
    if message.get("role") not in _ROLES:
        raise ValueError(
            f"{where} has the role {message.get('role')!r}; must be one of {', '.join(_ROLES)}"
        )
    content = message.get("content")
    if content is None and not (message.get("tool_calls") or message.get("function_call")):
        raise ValueError(f"{where} has no content")
    if not isinstance(content, str | list | None):
        raise ValueError(
            f"{where} has {_type_name(content)} as content; must be text or a list of parts"
        )
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise ValueError(f"{where} has a content part without a type")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise ValueError(f"{where} has a text part without text")
    return message


def _without_nulls(value: Any) -> Any:
    """Drop null members, which Parquet's structs have for every key a message lacks."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _has_content(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if isinstance(content, list) and any(part["type"] != "text" for part in content):
        return True
    return any(text.strip() for text in _texts(message))


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part["type"] == "text"]


def _type_name(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", dict: "an object"}
    names |= {list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")
