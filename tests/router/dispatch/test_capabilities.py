from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch import (
    ModelCapabilities,
    PlanLimits,
    capabilities_of,
    plan_limits,
    profile_request,
)
from router.dispatch.capabilities import spellings_of
from router.energy import Catalogue
from router.errors import ConfigError

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"x": "y" * 3500}}}]


def ask(content: Any = "Hi", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **fields}


def test_plain_request():
    profile = profile_request(ask())
    assert not any(
        (profile.stream, profile.vision, profile.audio, profile.tools, profile.json_mode)
    )
    assert (profile.n, profile.max_tokens, profile.n_messages, profile.n_characters) == (
        1,
        None,
        1,
        2,
    )


def test_needs():
    text = {"type": "text", "text": "What is this?"}
    profile = profile_request(ask([text, IMAGE], stream=True, n=3, tools=TOOLS, max_tokens=7))
    assert (profile.stream, profile.n, profile.max_tokens) == (True, 3, 7)
    assert profile.vision
    assert profile.tools
    assert profile.prompt_tokens > 1000 + 3500 / 3.5, "the image and the tools, not its base64"
    assert profile.prompt_tokens < 2500
    assert profile_request(ask([{"type": "input_audio", "input_audio": {}}])).audio
    assert profile_request(ask(response_format={"type": "json_object"})).json_mode
    assert profile_request(ask(response_format={"type": "json_schema", "x": 1})).json_mode
    assert not profile_request(ask(response_format={"type": "text"})).json_mode
    assert profile_request(ask(functions=[{"name": "f"}])).tools
    assert not profile_request(ask(tools=[])).tools
    both = ask(max_tokens=5, max_completion_tokens=9)
    assert profile_request(both).max_tokens == 9


def test_tokens_are_not_estimated_low():
    english = "The quick brown fox jumps over the lazy dog. " * 200  # 10 tokens a sentence
    assert 2000 <= profile_request(ask(english)).prompt_tokens <= 2700
    chinese = "模型选择取决于问题的难度。" * 100  # 8 to 9 tokens a sentence
    assert 850 <= profile_request(ask(chinese)).prompt_tokens <= 1300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["messages", "tools", "n", "response_format", "stream"]), JSON)
)
def test_any_body_has_a_profile(body: Any):
    assert profile_request(body).n >= 1


def test_deep_nesting_has_a_profile():
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    assert profile_request(ask(tools=nested)).tools
    assert profile_request(ask(nested)).n_messages == 1


def test_what_is_known_of_models():
    assert capabilities_of("gemma-3-27b").vision is True
    assert capabilities_of("Llama-3.3-70B").vision is False
    assert capabilities_of("llama-3.3-70b").context_window == 131_072
    assert capabilities_of("meta-llama/Llama-3.3-70B-Instruct").vision is False
    assert capabilities_of("deepseek-v3.2").context_window == 128_000
    assert capabilities_of("mistral-24b").vision is None
    assert capabilities_of("deepseek-r1-0528").source
    unknown = capabilities_of("my-finetune")
    assert (unknown.context_window, unknown.vision, unknown.tools) == (None, None, None)


def test_every_oxlo_id_of_the_catalogue_is_in_the_table():
    ids = [name for entry in Catalogue.default() for name in entry.oxlo_ids]
    assert len(ids) > 25
    assert [name for name in ids if name not in spellings_of(name)] == []


def test_unknown_is_allowed_and_said():
    profile = profile_request(ask([IMAGE], tools=TOOLS))
    unknown = ModelCapabilities("m")
    assert unknown.missing(profile) is None
    said = unknown.unknown(profile)
    assert said == (
        "not known whether m can read images",
        "not known whether m can call tools",
    )
    assert ModelCapabilities("m", vision=True, tools=True).unknown(profile) == ()


@pytest.mark.parametrize(
    ("known", "fields", "reason"),
    [
        ({"vision": False}, {"content": [IMAGE]}, "cannot read images"),
        ({"tools": False}, {"tools": TOOLS}, "cannot call tools"),
        (
            {"json_mode": False},
            {"response_format": {"type": "json_object"}},
            "cannot answer in JSON",
        ),
        ({"context_window": 8192}, {"content": "word " * 8000}, "context window of 8,192"),
        ({"context_window": 8192}, {"max_tokens": 8192}, "8,192 of answer"),
    ],
)
def test_what_a_model_cannot_take(known: Any, fields: Any, reason: str):
    profile = profile_request(ask(**fields))
    missing = ModelCapabilities("m", **known).missing(profile)
    assert missing is not None
    assert reason in missing
    assert ModelCapabilities("m", **known).missing(profile_request(ask())) is None


def test_plans():
    free = plan_limits("Free")
    assert (free.max_prompt_tokens, free.max_completion_tokens) == (8192, 2048)
    assert free.requests_per_day == 60
    assert free.date
    with pytest.raises(ConfigError, match="did you mean 'premium'"):
        plan_limits("premum")
    with pytest.raises(ConfigError, match="use one of free, pro, premium"):
        plan_limits("enterprise-xyz")


def test_caps_of_a_plan():
    plan = PlanLimits("mine", max_prompt_tokens=100, max_completion_tokens=50)
    assert plan.exceeded(profile_request(ask())) is None
    assert "plan mine takes 100" in str(plan.exceeded(profile_request(ask("word " * 200))))
    assert "plan mine gives 50" in str(plan.exceeded(profile_request(ask(max_tokens=51))))
    assert PlanLimits("open").exceeded(profile_request(ask("word " * 10**5))) is None


def test_profile_survives_json():
    body = json.loads(json.dumps(ask([IMAGE])))
    assert profile_request(body).vision
