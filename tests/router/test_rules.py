from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.pool import Pool, PoolModel
from router.rules import Rule, RuleDecision, TaskRules

FILE = r"""
name = "support desk"
default = "llama-3.1-8b"
reference = "deepseek-r1-0528"

[[rule]]
task = "code"
model = "qwen3-coder-30b"
keywords = ["python", "stack trace"]
patterns = ['```', '^def \w+\(']

[[rule]]
task = "maths"
model = "qwen-3-32b"
keywords = "prove"
patterns = ['\d+\s*[-+*/]\s*\d+']
"""


@pytest.fixture
def rules(tmp_path: Path) -> TaskRules:
    path = tmp_path / "rules.toml"
    path.write_text(FILE)
    return TaskRules.load(path)


@pytest.mark.parametrize(
    ("prompt", "model", "task"),
    [
        ("Write PYTHON code.", "qwen3-coder-30b", "code"),
        ("I got a stack trace", "qwen3-coder-30b", "code"),
        ("see:\ndef f(x):\n  pass", "qwen3-coder-30b", "code"),
        ("What is 12 + 34?", "qwen-3-32b", "maths"),
        ("Prove it in Python.", "qwen3-coder-30b", "code"),
        ("pythonic pythons", "llama-3.1-8b", None),
        ("Sing a song.", "llama-3.1-8b", None),
        ("", "llama-3.1-8b", None),
    ],
)
def test_the_first_rule_that_matches(rules: TaskRules, prompt: str, model: str, task: str | None):
    decision = rules.route(prompt)
    assert (decision.model, decision.task) == (model, task)


def test_only_the_question_is_searched(rules: TaskRules):
    earlier = [
        {"role": "system", "content": "You write Python."},
        {"role": "user", "content": "Prove it."},
        {"role": "assistant", "content": "```"},
        {"role": "user", "content": "Thanks! Now sing."},
    ]
    assert rules.route(earlier).task is None


def test_a_known_task_goes_before_words(rules: TaskRules):
    assert rules.route("Write Python.", task="maths").model == "qwen-3-32b"
    with pytest.raises(ConfigError, match="did you mean 'maths'"):
        rules.route("x", task="math")


def test_the_decision(rules: TaskRules):
    decision = rules.route("What is 12 + 34?", quality=0.9)
    assert isinstance(decision, RuleDecision)
    assert (decision.quality, decision.reference) == (0.9, "deepseek-r1-0528")
    assert math.isnan(decision.probability)
    assert decision.energy_j.basis == "assumed"
    assert decision.ranking == ("qwen-3-32b", "llama-3.1-8b", "qwen3-coder-30b", "deepseek-r1-0528")
    assert [c.model for c in decision.candidates if c.chosen] == ["qwen-3-32b"]
    shown = decision.to_dict()
    json.dumps(shown, allow_nan=False)
    assert shown["probability"] is None
    assert shown["task"] == "maths"
    assert {m.id for m in rules.models if m.reference} == {"deepseek-r1-0528"}


def test_the_reference_is_the_model_of_most_energy_unless_named():
    rules = TaskRules([Rule("code", "llama-3.3-70b", ("x",))], "llama-3.2-3b")
    assert rules.reference == "llama-3.3-70b"


def test_allowed(rules: TaskRules):
    prompt = "Write Python and prove it."
    assert rules.route(prompt, allowed=["qwen-3-32b", "llama-3.1-8b"]).task == "maths"
    only = rules.route(prompt, allowed={"deepseek-r1-0528"})
    assert only.model == "deepseek-r1-0528"
    assert only.ranking == ("deepseek-r1-0528",)
    assert "not" in only.reason
    assert rules.route("x", task="code", allowed={"llama-3.1-8b"}).model == "llama-3.1-8b"
    with pytest.raises(ConfigError, match="none of the models"):
        rules.route(prompt, allowed=["unheard-of"])


def test_many(rules: TaskRules):
    prompts = ["Write Python.", "Sing.", "Sing."]
    models = [d.model for d in rules.route_many(prompts, tasks=[None, None, "code"])]
    assert models == ["qwen3-coder-30b", "llama-3.1-8b", "qwen3-coder-30b"]
    assert [d.model for d in rules.route_many(prompts)][2] == "llama-3.1-8b"


def test_energy_of_models_that_the_catalogue_lacks():
    with pytest.raises(ConfigError, match="energy of model 'my-finetune' is not known"):
        TaskRules([], "my-finetune")
    own = PoolModel("run name", "my-finetune", 0.5, 2.0, 0.5, 2.0, "assumed", 100.0)
    other = PoolModel("other", "other", 0.5, 1.0, 0.5, 2.0, "assumed")
    rules = TaskRules([], "my-finetune", pool=Pool("p", (own, other)))
    assert rules.route("x" * 40).energy_j.value_j == pytest.approx(10 * 0.5 + 100 * 2.0)
    assert rules.pool is None, "one model is no pool"


def test_a_malformed_prompt_is_named(rules: TaskRules):
    with pytest.raises(ConfigError, match="role"):
        rules.route([{"role": "alien", "content": "x"}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'default' is missing"),
        ("default = 5", "'default' must be text"),
        ('default = "llama-3.1-8b"\nrules = 1', "unknown key 'rules'; did you mean 'rule'"),
        ('default = "llama-3.1-8b"\n[[rule]]\ntask = "x"', r"\[\[rule\]\] 1: 'model' is missing"),
        ('default = "llama-3.1-8b"\n[[rule]]\nmodle = "x"', "did you mean 'model'"),
        (
            'default = "llama-3.1-8b"\n[[rule]]\ntask="a"\nmodel="b"\npatterns="("',
            r"rule 'a': pattern '\(' is not valid",
        ),
        ('default = "llama-3.1-8b"\n[[rule]]\ntask="a"\nmodel="b"\nkeywords=[""]', "'keywords'"),
        ('default = "unheard-of"', "energy of model 'unheard-of'"),
        ("default =", "not valid TOML"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        TaskRules.load(path)
    assert "rules.toml" in str(caught.value)


@pytest.mark.parametrize("fields", [{"task": " "}, {"model": ""}, {"keywords": (" ",)}])
def test_blank_fields_are_refused(fields: dict[str, Any]):
    with pytest.raises(ConfigError, match="blank"):
        Rule(**{"task": "t", "model": "m", **fields})


@given(st.text())
def test_any_keyword_finds_itself(keyword: str):
    if keyword.strip():
        text = f"({keyword.strip()}) and more"
        assert Rule("t", "m", (keyword,)).matches(text)


def test_a_rule_without_words_matches_nothing():
    assert not Rule("t", "m").matches("anything")
