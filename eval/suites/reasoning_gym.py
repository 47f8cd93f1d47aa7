"""Suites of reasoning-gym: procedural tasks with their own verifiers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import warnings
from difflib import get_close_matches
from typing import Any

from router.errors import ConfigError, DataError
from router.eval.grading.final_answer import final_answer
from router.eval.grading.records import Grade, GradingItem
from router.eval.suites.gym import import_reasoning_gym
from router.eval.suites.records import SuitePrompt

__all__ = ["ANSWER_FORMAT", "ReasoningGymVerifier", "parse_suite", "reasoning_gym_prompts"]

ANSWER_FORMAT = (
    "Solve the problem. Think step by step, and write the final answer, and nothing else, between "
    "<answer> and </answer>."
)
"""System message of the suites, so that the verifiers find the answer."""


def parse_suite(text: str) -> tuple[tuple[str, ...], int, int, dict[str, Any]]:
    """Read the text of a suite.

    Parameters
    ----------
    text : str
        Tasks separated by ``+``, then settings after a colon, separated by commas: ``size``
        (prompts of each task), ``seed``, and whatever the tasks' configuration has, as JSON, such
        as ``"chain_sum+leg_counting:size=20,seed=7"`` or ``"chain_sum:min_terms=4,max_terms=6"``.

    Returns
    -------
    names : tuple of str
        The tasks.
    size, seed : int
        Prompts of each task, and the seed of all chance in them.
    config : dict
        The rest.

    Raises
    ------
    ConfigError
        If there is no task or a setting is not ``KEY=VALUE``.

    Examples
    --------
    >>> parse_suite("chain_sum+leg_counting:size=20")
    (('chain_sum', 'leg_counting'), 20, 42, {})
    """
    head, _, tail = text.partition(":")
    names = tuple(dict.fromkeys(name.strip() for name in head.split("+") if name.strip()))
    if not names:
        raise ConfigError(f"suite reasoning_gym:{text} names no task: use reasoning_gym:chain_sum")
    config: dict[str, Any] = {}
    for part in filter(None, _parts(tail)):
        key, equals, value = part.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"suite reasoning_gym: {part!r} is not KEY=VALUE")
        try:
            config[key.strip()] = json.loads(value)
        except ValueError:
            config[key.strip()] = value
    size, seed = config.pop("size", 50), config.pop("seed", 42)
    for key, number, least in (("size", size, 1), ("seed", seed, 0)):
        if type(number) is not int or number < least:
            raise ConfigError(f"suite reasoning_gym: {key} is {number!r}: use a whole number")
    return names, size, seed, config


def reasoning_gym_prompts(text: str) -> tuple[SuitePrompt, ...]:
    """Make the prompts of a suite.

    Parameters
    ----------
    text : str
        As :func:`parse_suite` reads it.

    Returns
    -------
    tuple of SuitePrompt
        Task after task; the same text and version of reasoning-gym make the same prompts.

    Raises
    ------
    ConfigError
        If a task does not exist or does not take a setting.
    MissingExtraError
        If reasoning-gym is not installed.

    References
    ----------
    Stojanovski et al., "Reasoning Gym", 2025, arXiv:2505.24760.
    """
    names, size, seed, config = parse_suite(text)
    package = import_reasoning_gym()
    known = package.factory.DATASETS
    prompts: dict[str, SuitePrompt] = {}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"reasoning-gym has no task {name!r}{hint}")
        settings = {"size": size, "seed": seed, **config}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                entries = list(package.create_dataset(name, **settings))
        except Exception as error:  # whatever somebody else's generator raises
            raise ConfigError(f"reasoning-gym task {name!r} with {settings}: {error}") from error
        tag = _tag(settings)
        for index, entry in enumerate(entries):
            prompt_id = f"reasoning-gym/{name}/{tag}/{index}"
            prompts[prompt_id] = SuitePrompt(
                prompt=entry["question"],
                prompt_id=prompt_id,
                task=name,
                grader="reasoning_gym",
                metadata={
                    "dataset": name,
                    "config": settings,
                    "index": index,
                    "entry": _stored(entry),
                },
                file=f"reasoning_gym:{text}",
                row=index + 1,
            )
    return tuple(prompts.values())


class ReasoningGymVerifier:
    """Grades with the verifier of the task, each answer in a locked-down process.

    Parameters
    ----------
    time_s : float
        Seconds for one answer; an answer that keeps the verifier busy for longer scores 0.
    memory_mb : int
        Megabytes of address space for it, the library included.
    """

    def __init__(self, time_s: float = 10.0, memory_mb: int = 4096) -> None:
        self.name = "reasoning_gym"
        self._time_s = time_s
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def grade(self, item: GradingItem) -> Grade:
        """Score the final answer of a text.

        Raises
        ------
        DataError
            If the prompt is none of a reasoning-gym suite, or the installed version makes
            another prompt.
        ConfigError
            If this system cannot lock a process down.
        """
        found = self._ask(
            {
                **_job(item),
                "answer": final_answer(item.answer),
                "time_s": self._time_s,
                "memory_mb": self._memory_mb,
            }
        )
        if "not_locked" in found:
            raise ConfigError(
                "reasoning-gym's verifiers run what models wrote, and this system cannot lock a "
                "process down: grade on Linux 5.13 or newer with Landlock and seccomp"
            )
        return Grade(found["score"], found["reason"])

    def check(self, item: GradingItem) -> None:
        """Make sure that answers to a prompt can be graded.

        Raises
        ------
        DataError
            As `grade` does.
        """
        self._ask(_job(item))

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        process.wait()

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            return self._ask_alone(job)

    def _ask_alone(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            if not sys.platform.startswith("linux"):
                raise ConfigError("reasoning-gym's verifiers need Linux: grade there")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "router.eval.suites.verifier_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            raise DataError("the process of reasoning-gym's verifiers ended: see above")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise DataError(f"reasoning-gym cannot verify this prompt: {found['error']}")
        return found


def _job(item: GradingItem) -> dict[str, Any]:
    task = {key: item.metadata.get(key) for key in ("dataset", "config", "index")}
    if None in task.values():
        raise DataError("is no prompt of a reasoning_gym suite: use another grader")
    return {**task, "question": item.prompt, "entry": item.metadata.get("entry")}


def _stored(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return an entry that JSON keeps as it is, for tasks whose prompts change with the process."""
    try:
        same = json.loads(json.dumps(entry)) == entry
    except (TypeError, ValueError):
        return None
    return entry if same else None


def _parts(text: str) -> list[str]:
    """Split at the commas that are outside brackets and quotes."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _tag(settings: dict[str, Any]) -> str:
    """Return what of the settings tells prompts apart; the size of a set does not."""
    rest = {key: value for key, value in settings.items() if key != "size"}
    return ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(rest.items()))
