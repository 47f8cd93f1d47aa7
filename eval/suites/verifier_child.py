"""The process that runs reasoning-gym's verifiers: a locked-down child for each answer.

Several verifiers evaluate what the model wrote as Python. So this process loads the library once
and reads jobs, one JSON a line; for each it forks a child that locks itself down as
:mod:`router.eval.grading.sandbox_child` does, scores one answer and ends.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import select
import signal
import sys
import tempfile
import time
import warnings
from typing import Any

from router.eval.grading import sandbox_child
from router.eval.suites.gym import import_reasoning_gym

__all__ = ["main", "score_current"]

_SCORE_FILE = "score"
_SOURCE = "from router.eval.suites.verifier_child import score_current; score_current()"

_current: tuple[Any, str, Any] | None = None


def score_current() -> None:
    """Score the answer at hand and write the score to a file of the working folder."""
    assert _current is not None
    dataset, answer, entry = _current
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = float(dataset.score_answer(answer=answer, entry=entry))
    with open(_SCORE_FILE, "w", encoding="utf-8") as file:
        file.write(repr(score))


def main() -> None:
    """Answer jobs from standard input until it ends."""
    global _current
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what generators and verifiers print is no answer
    datasets: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        found: dict[str, Any]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                name = json.dumps([job["dataset"], job["config"]], sort_keys=True)
                if name not in datasets:
                    package = import_reasoning_gym()
                    datasets[name] = package.create_dataset(job["dataset"], **job["config"])
                entry = _entry(datasets[name], job)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        else:
            found = {}
            if "answer" in job:
                _current = datasets[name], job["answer"], entry
                found = _scored(job["time_s"], job["memory_mb"])
        out.write(json.dumps(found) + "\n")
        out.flush()


def _entry(dataset: Any, job: dict[str, Any]) -> Any:
    """Return the entry of a prompt: made again where that gives the same one, else as stored."""
    entry = dataset[job["index"]] if job["index"] < len(dataset) else {"question": None}
    if entry["question"] == job["question"]:
        return entry
    if job["entry"] is not None and job["entry"].get("question") == job["question"]:
        return job["entry"]
    raise ValueError("the installed version makes another prompt: grade with the one that made it")


def _scored(time_s: float, memory_mb: int) -> dict[str, Any]:
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="wattroute-") as folder:
        folder = os.path.realpath(folder)
        passed_read, passed_write = os.pipe()
        job = {
            "parts": [_SOURCE],
            "folder": folder,
            "cpu_s": int(-(-time_s // 1)),
            "memory_bytes": memory_mb << 20,
            "file_bytes": 1 << 20,
            "passed_fd": passed_write,
            "token": token,
        }
        child = os.fork()
        if child == 0:
            os.close(passed_read)
            _child(json.dumps(job))
        os.close(passed_write)
        code, passed = _watch(child, passed_read, time_s)
        os.close(passed_read)
        if code == sandbox_child.NOT_LOCKED:
            return {"not_locked": True}
        if passed != token.encode() or code != 0:
            reason = "failed" if code == sandbox_child.FAILED else "was stopped"
            return {"score": 0.0, "reason": f"the verifier {reason} on this answer"}
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(folder, _SCORE_FILE), encoding="utf-8") as file:
                score = float(file.read(64))
            if math.isfinite(score):
                return {"score": min(max(score, 0.0), 1.0), "reason": f"verified {score:g}"}
    return {"score": 0.0, "reason": "the verifier gave no score"}


def _child(job: str) -> None:
    """Run the job in this process and end it."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        read, write = os.pipe()
        os.write(write, job.encode())
        os.close(write)
        os.dup2(read, 0)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        code = sandbox_child.main()
    finally:
        os._exit(code)


def _watch(child: int, passed_read: int, time_s: float) -> tuple[int, bytes]:
    """Wait for the child, not for ever; return its exit code and what it passed on."""
    deadline = time.monotonic() + time_s + 1.0
    passed = b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([passed_read], [], [], left)[0]:
            data = os.read(passed_read, 256)
            passed += data
            if not data:
                break
    # the pipe may have been closed by a child that goes on: it gets the rest of its time
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), passed
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL, passed


if __name__ == "__main__":
    # under its own name, where the code of the child finds the job
    from router.eval.suites import verifier_child

    verifier_child.main()
