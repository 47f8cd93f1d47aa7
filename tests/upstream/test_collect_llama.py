"""Evaluation runs from two llama.cpp servers, with a kill in the middle: nothing is a stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from router import Router
from router.training.ingest import load_runs

SUITES = (
    "reasoning_gym:chain_sum:size=45,min_terms=2,max_terms=2,min_digits=1,max_digits=1",
    "reasoning_gym:leg_counting+spell_backward+letter_counting:size=5",
)
N_PROMPTS = 60
CODE = "from router.cli import main; main(prog_name='wattroute')"


def wattroute(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, done.stderr
    return done


def collect_words(
    first: Any, second: Any, out: Path, suites: tuple[str, ...] = SUITES
) -> list[str]:
    """SmolLM2-135M twice: terse and greedy, and with more room and some chance."""
    models = f"{first.alias},{second.alias}"
    words = ["collect", "--models", models]
    for suite in suites:
        words += ["--suite", suite]
    for server, max_tokens in ((first, 24), (second, 48)):
        words += ["--base-url", f"{server.alias}={server.url}"]
        words += ["--max-tokens", f"{server.alias}={max_tokens}"]
    words += ["--temperature", f"{second.alias}=0.4", "--repeat-penalty", f"{second.alias}=1.1"]
    words += ["--system", "Answer with the result only, between <answer> and </answer>."]
    words += ["--concurrency", "1", "--grade-truncated", "--out", str(out), "--yes", "--json"]
    return words


def stored(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    lines = log.read_bytes().split(b"\n")[:-1]
    return [r for r in map(json.loads, lines) if r["kind"] == "answer"]


@pytest.mark.slow
def test_collected_killed_resumed_graded_trained_routed_reported(
    first_server: Any, second_server: Any, tmp_path: Path
):
    out = tmp_path / "runs"
    words = collect_words(first_server, second_server, out)
    log = out / "collect" / "answers.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        end = time.monotonic() + 300
        while len(stored(log)) < N_PROMPTS:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    before = {(a["model"], a["key"]): a for a in stored(log)}
    assert N_PROMPTS <= len(before) < 2 * N_PROMPTS

    told = json.loads(wattroute(*words).stdout)
    after = stored(log)
    assert told["complete"]
    assert told["n_asked"] == 2 * N_PROMPTS - len(before)
    assert Counter((a["model"], a["key"]) for a in after).total() == 2 * N_PROMPTS
    kept = {(a["model"], a["key"]): a for a in after}
    assert len(kept) == 2 * N_PROMPTS
    assert all(kept[pair] == answer for pair, answer in before.items()), "none is asked twice"
    assert all(a["prompt_tokens"] > 0 and a["completion_tokens"] > 0 for a in after)
    assert {a["finish_reason"] for a in after} <= {"stop", "length"}

    again = ("collect", "--regrade", "--grade-truncated", "--out", out, "--json")
    graded = json.loads(wattroute(*again).stdout)
    assert graded["n_graded"] == 2 * N_PROMPTS
    assert sum(graded["n_runs"].values()) == 2 * N_PROMPTS
    frame = load_runs(out).frame
    assert len(frame) == 2 * N_PROMPTS
    assert frame["quality"].between(0, 1).all()
    assert (frame["quality"] == 1.0).any(), "even so small a model gets something right"

    router = tmp_path / "router"
    wattroute("train", out, "--out", router, "--splits", 0, "--no-tracking", "--jobs", 1)
    decision = Router.load(router).route("What is 5 + 9?", quality=0.95)
    assert decision.model in (first_server.alias, second_server.alias)
    pool = tmp_path / "pool.toml"
    aliases = (first_server.alias, second_server.alias)
    tables = [f'[[model]]\nrun_name = "{name}"\ncatalogue = "{name}"\n' for name in aliases]
    pool.write_text('name = "smol"\n' + "".join(tables))
    report = tmp_path / "report"
    done = wattroute("benchmark", pool, out, "--seeds", 1, "--report", report, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "<html" in (report / "report.html").read_text()[:1000].lower()


def test_energy_is_measured_or_left_empty(first_server: Any, second_server: Any, tmp_path: Path):
    suites = ("reasoning_gym:leg_counting:size=2",)
    words = collect_words(first_server, second_server, tmp_path / "runs", suites)
    done = wattroute(*words, "--measure-energy")
    answers = stored(tmp_path / "runs" / "collect" / "answers.jsonl")
    assert len(answers) == 4
    if "energy is not measured" in done.stderr:
        assert all("energy_j" not in a for a in answers)
    else:
        assert all(
            a["energy_j"] > 0 and a["energy_basis"].startswith(("measured", "estimated"))
            for a in answers
            if "energy_j" in a
        )
