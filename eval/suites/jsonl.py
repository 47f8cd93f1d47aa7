"""Prompts with references from a JSONL file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError
from router.eval.suites.records import SuitePrompt, checked_prompt

__all__ = ["read_prompts"]

_KNOWN = ("prompt", "messages", "prompt_id", "reference", "task", "grader")
_SUFFIXES = (".jsonl", ".ndjson")
_SHOWN = 10


def read_prompts(path: str | Path) -> tuple[SuitePrompt, ...]:
    r"""Read prompts, one JSON object a line.

    Parameters
    ----------
    path : path
        File that ends in .jsonl or .ndjson. Each line has ``prompt`` (text, or chat messages in
        OpenAI's shape; ``messages`` is another name for it) and may have ``prompt_id``,
        ``reference``, ``task`` and ``grader``. All other fields are kept as metadata for graders.

    Returns
    -------
    tuple of SuitePrompt
        In the order of the file; a line that repeats an earlier one counts once.

    Raises
    ------
    ConfigError
        If the file cannot be read or its name ends in something else.
    DataError
        With the first problems found: lines that are no objects, prompts that cannot be asked,
        ids of two prompts. The first has its file, row and field.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "prompts.jsonl")
    ...     _ = path.write_text('{"prompt": "6 * 7?", "reference": 42, "task": "sums"}\n')
    ...     read_prompts(path)[0].reference
    42
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: prompts must be in a file that ends in .jsonl or .ndjson")
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    found: dict[str, SuitePrompt] = {}
    problems: list[DataError] = []
    for row, line in enumerate(lines, 1):
        if row == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            prompt = _read_line(line, str(path), row)
            known = found.setdefault(prompt.prompt_id, prompt)
            if (known.key, known.grading_key) != (prompt.key, prompt.grading_key):
                raise DataError(
                    f"{prompt.prompt_id!r} is also the id of row {known.row}, which says "
                    "something else: give each its own prompt_id",
                    file=str(path),
                    row=row,
                    field="prompt_id",
                )
        except DataError as error:
            problems.append(error)
    if problems:
        raise _together(problems)
    if not found:
        raise DataError("the file has no prompts", file=str(path))
    return tuple(found.values())


def _read_line(line: bytes, file: str, row: int) -> SuitePrompt:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise DataError("the line is not UTF-8", file=file, row=row) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is not JSON: {error}", file=file, row=row) from error
    if not isinstance(value, dict):
        raise DataError("the line is no JSON object", file=file, row=row)
    if "prompt" in value and "messages" in value:
        raise DataError("has both prompt and messages: keep one", file=file, row=row)
    field = "messages" if "messages" in value else "prompt"
    if field not in value:
        close = get_close_matches("prompt", value, 1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise DataError(f"there is no prompt{hint}", file=file, row=row, field="prompt")
    _check_spelling(value, file, row)
    prompt = checked_prompt(value[field], file, row)
    return SuitePrompt(
        prompt=prompt,
        prompt_id=_text(value, "prompt_id", file, row) or _prompt_hash(prompt),
        reference=value.get("reference"),
        task=_text(value, "task", file, row) or "",
        grader=_text(value, "grader", file, row),
        metadata={key: item for key, item in value.items() if key not in _KNOWN},
        file=file,
        row=row,
    )


def _check_spelling(value: Mapping[str, Any], file: str, row: int) -> None:
    """Refuse a field that is nearly one of the known ones, which would silently not count."""
    for key in value:
        close = get_close_matches(key.lower(), _KNOWN, 1, cutoff=0.85)
        if key not in _KNOWN and close:
            raise DataError(f"did you mean {close[0]!r}?", file=file, row=row, field=key)


def _text(value: Mapping[str, Any], key: str, file: str, row: int) -> str | None:
    found = value.get(key)
    if key == "prompt_id" and type(found) is int:
        return str(found)
    if found is not None and (not isinstance(found, str) or not found.strip()):
        raise DataError(f"is {found!r}: give a text", file=file, row=row, field=key)
    return found


def _prompt_hash(prompt: object) -> str:
    """Return the id that evaluation runs give a prompt without one."""
    if not isinstance(prompt, str):
        prompt = json.dumps(prompt, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def _together(problems: list[DataError]) -> DataError:
    first = problems[0]
    if len(problems) == 1:
        return first
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN])
    more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    error = DataError(f"{len(problems)} lines cannot be used:\n{shown}{more}")
    error.file, error.row, error.field = first.file, first.row, first.field
    return error
