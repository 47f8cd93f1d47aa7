"""The examples of docs/client.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import fault_server as faults
from router.dispatch import RetryPolicy, capabilities_of
from router.dispatch.live import LiveModels
from router.rules import TaskRules

DOCS = Path(__file__).parents[3] / "docs" / "client.md"


class Place(BaseModel):
    name: str


def blocks(language: str) -> list[str]:
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return fence.findall(DOCS.read_text(encoding="utf-8"))


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault_server: Any):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OXLO_API_KEY", "sk-test")
    monkeypatch.setattr("router.client.sync_client.BASE_URL", fault_server.url)
    fault_server.always(faults.answer('{"name": "Ulm"}'))
    (rules,) = blocks("toml")
    Path("rules.toml").write_text(rules, encoding="utf-8")
    assert TaskRules.load("rules.toml").route("1 + 1").model == "qwen-3-32b"
    place = [{"role": "user", "content": "Where am I?"}]
    names: dict[str, Any] = {"messages": place, "Place": Place}
    examples = blocks("python")
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, str(DOCS), "exec"), names)
    names["client"].close()
    assert names["response"].decision.quality == 0.98
    qualities = [r.body.get("quality", r.body.get("wattroute")) for r in fault_server.chats]
    assert qualities == [None] * len(fault_server.chats) != []


def test_figures_in_the_text():
    text = DOCS.read_text(encoding="utf-8")
    policy = RetryPolicy()
    assert f"`Retry-After` up to {policy.max_retry_after_s:.0f} s" in text
    assert policy.max_candidates == 3
    assert "three models in all" in text
    assert policy.tries_per_model == 3
    assert "| `max_retries` | 2 |" in text
    assert capabilities_of("gemma-3-27b").source
    assert LiveModels()._ttl_s == 3600.0
