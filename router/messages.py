"""Chat messages as one text.

The question decides which model is needed, so the last user turn comes first, the system
prompt and the earlier turns follow. Images, tool calls and tool results become short notes,
and what agent programs wrap around a question (reminders, editor state) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from router.errors import ConfigError

__all__ = ["Prompt", "PromptText", "has_text", "prompt_text"]

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A prompt: plain text, or chat messages in OpenAI's shape."""

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_SYSTEM_ROLES = frozenset({"system", "developer"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_TOOL_PARTS = frozenset({"tool_use", "tool_result"})
_NOTES = {
    **dict.fromkeys(_IMAGE_PARTS, "[image]"),
    "input_audio": "[audio]",
    "audio": "[audio]",
    "file": "[file]",
    "input_file": "[file]",
    "tool_use": "[tool call]",
    "tool_result": "[tool result]",
}

# Blocks that agent programs (Claude Code, Cline, Roo, Codex, Cursor, Copilot) add to a user turn.
_HARNESS_BLOCKS = (
    "additional_data",
    "attached_files",
    "command-message",
    "command-name",
    "editorContext",
    "environment_context",
    "environment_details",
    "environment_info",
    "ide_context",
    "ide_opened_file",
    "ide_selection",
    "local-command-caveat",
    "local-command-stdout",
    "open_and_recently_viewed_files",
    "project_layout",
    "reminderInstructions",
    "repoContext",
    "system-reminder",
    "system_reminder",
    "user_info",
    "user_instructions",
    "workspace_info",
)
# Tags that hold the question itself: what is inside comes first.
_QUESTION_BLOCKS = ("user_query", "userRequest", "command-args")


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt as text, with what the text alone does not tell.

    Attributes
    ----------
    text : str
        The last user turn, then system prompts and the other turns in their order.
    n_question : int
        Leading characters of `text` that belong to the last user turn.
    n_turns : int
        Messages other than system prompts.
    has_system : bool
        Whether there is a system (or developer) message.
    has_tools : bool
        Whether there is a tool call or a tool result.
    n_images : int
        Images in all messages.
    """

    text: str
    n_question: int
    n_turns: int
    has_system: bool
    has_tools: bool
    n_images: int


def prompt_text(prompt: Prompt) -> PromptText:
    r"""Turn a prompt into one text.

    Parameters
    ----------
    prompt : str or sequence of mappings
        Plain text, or chat messages in OpenAI's shape. Plain text is the same as one user
        message. The developer role counts as system.

    Returns
    -------
    PromptText
        The text and what it does not show.

    Raises
    ------
    ConfigError
        If `prompt` is neither, or a message is malformed; the message is named.

    Examples
    --------
    >>> prompt_text([{"role": "system", "content": "Be brief."},
    ...              {"role": "user", "content": "Why is the sky blue?"}]).text
    'Why is the sky blue?\n\nBe brief.'
    """
    if isinstance(prompt, str):
        text = _without_harness(_clean(prompt))
        return PromptText(text, len(text), 1, False, False, 0)
    # lists and dicts are known at once, abstract types take their time
    if not isinstance(prompt, list) and (
        isinstance(prompt, (bytes, bytearray, Mapping)) or not isinstance(prompt, Sequence)
    ):
        raise ConfigError(
            "prompt must be a string or a list of chat messages with 'role' and 'content', "
            f"not {type(prompt).__name__}"
        )
    if not prompt:
        raise ConfigError("prompt has no messages: pass at least one")
    roles: list[str] = []
    texts: list[str] = []
    n_images = 0
    has_tools = False
    messages: Sequence[Any] = prompt
    for i, message in enumerate(messages):
        role = _role(message, i)
        text, images, tools = _message_text(message, role, f"prompt[{i}]")
        roles.append(role)
        texts.append(_without_harness(text) if role == "user" else text)
        n_images += images
        has_tools = has_tools or tools
    question = _question_index(roles, texts)
    order = [i for i, role in enumerate(roles) if role in _SYSTEM_ROLES and i != question]
    order += [i for i, role in enumerate(roles) if role not in _SYSTEM_ROLES and i != question]
    rest = [texts[i] for i in order if texts[i]]
    n_system = sum(role in _SYSTEM_ROLES for role in roles)
    return PromptText(
        text="\n\n".join([texts[question], *rest]),
        n_question=len(texts[question]),
        n_turns=len(roles) - n_system,
        has_system=n_system > 0,
        has_tools=has_tools,
        n_images=n_images,
    )


def has_text(prompt: object) -> bool:
    """Return whether a prompt as a client sent it is well formed and has text to learn from.

    A proxy passes on what only the upstream can judge, such as roles of its own, so a decision
    log may have any JSON as a prompt.

    Parameters
    ----------
    prompt : object
        Plain text or chat messages, or something else.

    Examples
    --------
    >>> has_text([{"role": "user", "content": "Why?"}])
    True
    >>> has_text([{"role": "user", "content": None}]), has_text([{"role": "robot"}]), has_text(7)
    (False, False, False)
    """
    if isinstance(prompt, str):
        return bool(prompt.strip())
    if not isinstance(prompt, list):
        return False
    try:
        prompt_text(prompt)
    except ConfigError:
        return False
    texts: list[str] = []
    for message in prompt:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            if not all(isinstance(p, dict) and isinstance(p.get("type"), str) for p in content):
                return False
            parts = [part.get("text") for part in content if part["type"] in _TEXT_PARTS]
            if not all(isinstance(part, str) for part in parts):
                return False
            texts += parts
        elif content is not None or not (message.get("tool_calls") or message.get("function_call")):
            return False
    return any(text.strip() for text in texts)


def _role(message: object, i: int) -> str:
    if not isinstance(message, dict) and not isinstance(message, Mapping):
        raise ConfigError(
            f"prompt[{i}] must be a mapping with 'role' and 'content', "
            f"not {type(message).__name__} (a pydantic object: pass its model_dump())"
        )
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise ConfigError(
            f"prompt[{i}]['role'] is {role!r}: use one of {', '.join(sorted(_ROLES))}"
        )
    return role


def _question_index(roles: Sequence[str], texts: Sequence[str]) -> int:
    users = [i for i, role in enumerate(roles) if role == "user"]
    for i in reversed(users):
        if texts[i]:
            return i
    return users[-1] if users else len(roles) - 1


def _message_text(message: Mapping[str, Any], role: str, where: str) -> tuple[str, int, bool]:
    """Return the text of a message, its number of images, and whether tools are in it."""
    pieces: list[str] = []
    n_images = 0
    has_tools = False
    if role in ("tool", "function"):
        return "[tool result]", 0, True
    content = message.get("content")
    if isinstance(content, str):
        pieces.append(content)
    elif isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        for j, part in enumerate(content):
            kind, piece = _part_text(part, f"{where}['content'][{j}]")
            n_images += kind in _IMAGE_PARTS
            has_tools = has_tools or kind in _TOOL_PARTS
            pieces.append(piece)
    elif content is not None:
        raise ConfigError(
            f"{where}['content'] must be a string or a list of parts, not {type(content).__name__}"
        )
    calls = message.get("tool_calls") or ([message] if message.get("function_call") else [])
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise ConfigError(f"{where}['tool_calls'] must be a list, not {type(calls).__name__}")
    pieces += [_call_note(call) for call in calls]
    text = _clean("\n".join(piece for piece in pieces if piece))
    return text, n_images, has_tools or bool(calls)


def _part_text(part: object, where: str) -> tuple[str, str]:
    """Return the type of a content part and its text or note."""
    if isinstance(part, str):
        return "text", part
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str):
        raise ConfigError(f"{where} must be a mapping with a 'type', such as 'text'")
    if kind in _TEXT_PARTS:
        text = part.get("text")
        if not isinstance(text, str):
            raise ConfigError(f"{where}['text'] must be a string, not {type(text).__name__}")
        return kind, text
    return kind, _NOTES.get(kind, f"[{kind[:32]}]")


def _call_note(call: object) -> str:
    if isinstance(call, Mapping):
        for key in ("function", "function_call", "custom"):
            inner = call.get(key)
            if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
                return f"[tool call {inner['name'][:64]}]"
    return "[tool call]"


def _clean(text: str) -> str:
    """Replace lone surrogates, which no encoder can read."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _without_harness(text: str) -> str:
    """Remove agent wrappers from a user turn, unless nothing would be left."""
    if "</" not in text:
        return text
    kept = text
    for tag in _HARNESS_BLOCKS:
        if f"</{tag}>" in kept:
            kept = _without_block(kept, tag)
    for tag in _QUESTION_BLOCKS:
        opening, closing = f"<{tag}>", f"</{tag}>"
        start, end = kept.find(opening), kept.rfind(closing)
        if 0 <= start < end:
            inner = kept[start + len(opening) : end]
            kept = f"{inner}\n{kept[:start]}{kept[end + len(closing) :]}"
    return text if kept == text else kept.strip() or text


def _without_block(text: str, tag: str) -> str:
    opening, closing = f"<{tag}", f"</{tag}>"
    kept: list[str] = []
    position = 0
    while True:
        start = text.find(opening, position)
        if start < 0:
            break
        after = start + len(opening)
        if text[after : after + 1] not in (">", " ", "\n"):
            kept.append(text[position:after])
            position = after
            continue
        end = text.find(closing, after)
        if end < 0:
            break
        kept.append(text[position:start])
        position = end + len(closing)
    kept.append(text[position:])
    return "".join(kept)
