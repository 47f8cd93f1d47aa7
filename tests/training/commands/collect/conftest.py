"""A folder with prompts, and a loopback server whose answers are as right as a model's."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import fault_server as faults
from router.cli import main

SMALL, LARGE = "gemma-3-4b", "llama-3.3-70b"
RIGHT = {SMALL: 0.55, LARGE: 0.95}
N_PROMPTS = 60


@pytest.fixture
def server() -> Iterator[Any]:
    """Adds two numbers; which ones a model gets wrong its text decides; some are cut off."""

    def reply(connection: Any, request: Any) -> None:
        body = request.body
        question = body["messages"][-1]["content"]
        if "[ANSWER B" in question:  # a judge's, of two
            bad_a, bad_b = ("answer is 0" in part for part in question.split("[ANSWER B"))
            verdict = "tie" if bad_a == bad_b else "B" if bad_a else "A"
            connection.json(200, faults.completion(request, f"Verdict: {verdict}"))
            return
        if "[QUESTION" in question:  # a judge's
            right = "answer is 0" not in question
            connection.json(200, faults.completion(request, f"Score: {10 if right else 1}"))
            return
        time.sleep(0.01)
        first, second = map(int, re.findall(r"\d+", question)[:2])
        luck = int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) / 2**32
        right = luck < RIGHT[body["model"]]
        text = f"Let me add. The answer is {first + second if right else 0}."
        done = faults.completion(request, text)
        if luck > 0.96:
            done["choices"][0]["finish_reason"] = "length"
        done["usage"] = {"prompt_tokens": 12, "completion_tokens": 20 + len(str(first))}
        connection.json(200, done)

    with faults.FaultServer(default=reply) as running:
        yield running


@dataclass
class Here:
    """A working folder with ``prompts.jsonl``."""

    folder: Path
    server: Any

    def words(self, *more: object) -> list[str]:
        """Return the words of a collection of both models."""
        given = ("--models", f"{SMALL},{LARGE}", "--base-url", self.server.url, "--prompts")
        given += ("prompts.jsonl", "--grader", "number", "--out", "runs")
        return [str(word) for word in (*given, *more)]

    def run(self, *words: object, code: int = 0) -> Result:
        """Run ``wattroute collect`` and check its exit code."""
        result = CliRunner().invoke(main, ["collect", *map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        return result

    def collect(self, *more: object, code: int = 0) -> Result:
        """Collect both models' answers without a question."""
        return self.run(*self.words("--yes", *more), code=code)

    def told(self, *more: object, code: int = 0) -> dict[str, Any]:
        """Do that and return what it says as JSON."""
        found: dict[str, Any] = json.loads(self.collect("--json", *more, code=code).stdout)
        return found

    @property
    def log(self) -> Path:
        return self.folder / "runs" / "collect" / "answers.jsonl"

    def answers(self) -> list[dict[str, Any]]:
        """Return the stored answers, without a line that is not whole."""
        records = map(json.loads, self.log.read_bytes().split(b"\n")[:-1])
        return [record for record in records if record["kind"] == "answer"]

    def asked(self) -> Counter[tuple[str, str]]:
        """Count the requests by model and question."""
        return Counter((r.model, r.body["messages"][-1]["content"]) for r in self.server.chats)


@pytest.fixture
def here(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OXLO_API_KEY", raising=False)
    rows = [
        {
            "prompt": f"What is {i * i * 31 + 7} plus {i * 3 + 1}? Show the number only.",
            "reference": i * i * 31 + 7 + i * 3 + 1,
            "task": ("short", "long")[i % 2],
        }
        for i in range(N_PROMPTS)
    ]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Here(tmp_path, server)
