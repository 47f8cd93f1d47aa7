"""Logs of Inspect, as ``.eval`` archives or ``.json``, read without Inspect.

References
----------
https://inspect.aisi.org.uk/eval-logs.html; the layout is that of ``inspect_ai.log.EvalLog``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.json_files import (
    find_files,
    member,
    parse_json,
    read_json,
    require,
)
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.importers.zip_members import Archive, open_archive
from router.training.schema import Problem

__all__ = ["import_inspect"]

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_ROLES = ("system", "user", "assistant", "tool")
_SAMPLE = re.compile(r"samples/(.+)_epoch_(\d+)\.json")
_ATTACHMENT = "attachment://"


def import_inspect(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of Inspect logs.

    Parameters
    ----------
    source : Path
        An ``.eval`` or ``.json`` log, or a folder of them, in which other JSON is left out.
    options : ImportOptions
        `metric` names the scorer, or ``SCORER.KEY`` of a scorer that gives several values.
        With the prompt's column ``input`` the sample's input is the prompt, else what the
        model was first sent.

    Yields
    ------
    Item
        One answer for each sample and epoch; samples that ended in an error or without a
        score are left out.

    Raises
    ------
    DataError
        If a log is damaged, or the scorer is not there or not told.

    Notes
    -----
    The letters C, P, I and N count 1, 0.5, 0 and 0, as in Inspect's ``value_to_float``.
    """
    for path in find_files(source, "*.eval", "*.json"):
        if path.suffix == ".eval":
            with open_archive(path) as archive:
                yield from _log(str(path), _header(archive), _archived(archive), options)
            continue
        value = read_json(path)
        if not isinstance(value, dict) or not isinstance(value.get("eval"), dict):
            if source.is_dir():  # Inspect keeps lists of logs beside them
                yield LeftOut("a JSON file that is no log of Inspect", str(path))
                continue
            raise DataError("is no log of Inspect: it needs 'eval'", file=str(path))
        samples = value.get("samples") or []
        numbered = enumerate(require(samples, list, "samples", str(path)), 1)
        yield from _log(str(path), value, ((str(path), n, s) for n, s in numbered), options)


def _header(archive: Archive) -> dict[str, Any]:
    """Return the description of the evaluation; of one cut short, that from its start."""
    names = archive.names()
    for name in ("header.json", "_journal/start.json"):
        if name in names:
            value = parse_json(archive.read(name), f"{archive.file}:{name}")
            if isinstance(value, dict) and isinstance(value.get("eval"), dict):
                return value
    raise DataError("is no log of Inspect: it has no header.json with 'eval'", file=archive.file)


def _archived(archive: Archive) -> Iterator[tuple[str, int | None, Any]]:
    found = sorted(
        (match[1], int(match[2]), name)
        for name in set(archive.names())
        if (match := _SAMPLE.fullmatch(name))
    )
    for _, _, name in found:
        where = f"{archive.file}:{name}"
        yield where, None, parse_json(archive.read(name), where)


def _log(
    file: str,
    header: Mapping[str, Any],
    samples: Iterator[tuple[str, int | None, Any]],
    options: ImportOptions,
) -> Iterator[Item]:
    spec = header["eval"]
    task = str(require(spec.get("task"), str, "eval.task", file)).rpartition("/")[2]
    model = str(require(spec.get("model"), str, "eval.model", file))
    if header.get("status", "success") != "success":
        yield Note(f"{file}: the evaluation did not end ({header['status']}); its samples count")
    empty = True
    for where, row, sample in samples:
        empty = False
        if not isinstance(sample, dict) or not {"id", "input"} <= sample.keys():
            yield Problem("not a sample", "is no sample of Inspect", where, row)
        elif sample.get("error"):
            yield LeftOut("the sample ended in an error", where, row)
        elif not sample.get("scores"):
            yield LeftOut("the sample was not scored", where, row)
        else:
            yield from _sample(sample, where, row, task, model, options)
    if empty:
        raise DataError("the log has no samples (was it made with --no-log-samples?)", file=file)


def _sample(
    sample: Mapping[str, Any],
    where: str,
    row: int | None,
    task: str,
    model: str,
    options: ImportOptions,
) -> Iterator[Item]:
    wanted = options.metric.of(task)
    found = _scores(sample, where, row)
    if wanted is None and len(found) != 1:
        raise DataError(
            f"say which score to take with --metric NAME; there are {', '.join(found) or 'none'}",
            file=where,
            row=row,
            field="scores",
        )
    scorer = next(iter(found)) if wanted is None else wanted
    if scorer not in found:
        reason = f"there is no score {scorer!r}; there are {', '.join(found) or 'none'}"
        yield Problem("no such score", reason, where, row, "scores")
        return
    value = found[scorer]
    yield Note(f"{task}: the grade is {scorer}")
    if isinstance(value, float) and value != value:
        yield LeftOut("the scorer gave no score", where, row)
        return
    try:
        prompt = _prompt(sample, from_input=options.columns.get("prompt") == "input")
    except ValueError as error:
        yield Problem("not valid", str(error), where, row, "messages")
        return
    if isinstance(value, str) and value in _LETTERS:
        value = options.scale.low + _LETTERS[value] * (options.scale.high - options.scale.low)
    usage = _usage(sample, model)
    cached = ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write")
    counts = [usage.get(name) for name in cached]
    yield ImportedRun(
        where,
        row,
        prompt,
        model,
        value,
        scorer,
        prompt_id=f"{task}:{sample['id']}",
        task=task,
        prompt_tokens=sum(c for c in counts if isinstance(c, int)) if usage else None,
        completion_tokens=usage.get("output_tokens"),
        cost_usd=usage.get("total_cost"),
        latency_s=member(sample, "output", "time"),
        advice="Take the input of the samples instead with --column prompt=input",
    )


def _scores(sample: Mapping[str, Any], where: str, row: int | None) -> dict[str, Any]:
    """Return all scores by name, those of a scorer with several values by SCORER.KEY."""
    found: dict[str, Any] = {}
    for scorer, score in require(sample["scores"], dict, "scores", where, row).items():
        value = member(score, "value")
        if isinstance(value, dict):
            found.update({f"{scorer}.{key}": inner for key, inner in value.items()})
        else:
            found[scorer] = value
    return found


def _usage(sample: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """Return the tokens of the answer: of all turns where the model had several."""
    messages = sample.get("messages")
    turns = sum(member(m, "role") == "assistant" for m in messages or ())
    first, second = (
        member(sample, "model_usage", model),
        member(sample, "output", "usage"),
    )
    if turns <= 1:
        first, second = second, first
    found = first or second
    return found if isinstance(found, dict) else {}


def _prompt(sample: Mapping[str, Any], *, from_input: bool) -> Any:
    """Return the messages before the first answer, or the input."""
    attachments = sample.get("attachments")
    known = attachments if isinstance(attachments, dict) else {}
    value: Any = sample["input"]
    if not from_input and isinstance(sample.get("messages"), list):
        before: list[Any] = []
        for message in sample["messages"]:
            if member(message, "role") == "assistant" and member(message, "source") != "input":
                break
            before.append(message)
        value = before or value
    if isinstance(value, str):
        return _resolved(value, known)
    if not isinstance(value, list):
        raise ValueError(f"is of type {type(value).__name__}; must be text or messages")
    messages = [_message(message, known) for message in value]
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return messages


def _message(message: Any, attachments: Mapping[str, Any]) -> dict[str, str]:
    role, content = member(message, "role"), member(message, "content")
    if role not in _ROLES:
        raise ValueError(f"has a message with the role {role!r}")
    if isinstance(content, list):
        texts = []
        for part in content:
            kind, text = member(part, "type"), member(part, "text")
            if kind != "text" or not isinstance(text, str):
                raise ValueError(f"has a part of type {kind!r}; only text can be learned from")
            texts.append(_resolved(text, attachments))
        content = "\n".join(texts)
    if not isinstance(content, str):
        raise ValueError("has a message without content")
    return {"role": role, "content": _resolved(content, attachments)}


def _resolved(text: str, attachments: Mapping[str, Any]) -> str:
    """Return the text that a reference stands for."""
    if not text.startswith(_ATTACHMENT):
        return text
    found = attachments.get(text.removeprefix(_ATTACHMENT))
    if not isinstance(found, str):
        raise ValueError(f"refers to an attachment that is not there: {text[:60]}")
    return found
