from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch import LiveModels, parse_models


def test_parses_openai_and_oxlo_lists():
    assert parse_models({"data": [{"id": "a"}, {"id": "b", "object": "model"}]}) == {"a", "b"}
    rows = [
        {"id": "a", "category": "chat", "status": "ready"},
        {"id": "b", "category": "Chat Models", "status": "READY", "coming_soon": False},
        {"id": "c", "category": "embedding"},
        {"id": "d", "category": "image", "status": "ready"},
        {"id": "e", "category": "chat", "coming_soon": True},
        {"id": "f", "category": "chat", "status": "coming-soon"},
        {"id": "g", "category": "code"},
        {"id": 7},
        "h",
    ]
    assert parse_models({"data": rows}) == {"a", "b", "g"}
    assert parse_models([{"id": "a"}]) == {"a"}


@pytest.mark.parametrize("payload", [None, {}, {"data": {}}, {"data": []}, {"data": [{}]}, "x", 3])
def test_refuses_what_is_no_list(payload: object):
    with pytest.raises(ValueError, match="list of models"):
        parse_models(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["data", "id", "status", "category"]), inner)
        ),
    )
)
def test_any_payload_is_a_list_or_refused(payload: object):
    live = LiveModels()
    live.update("key", payload)
    ids = live.ids("key")
    assert ids is None or all(isinstance(name, str) for name in ids)


def test_offline_everything_is_served(clock: Any):
    live = LiveModels(clock=clock)
    assert live.ids("key") is None
    assert live.resolve("whatever", "key") == "whatever"
    live.claim("key")
    live.failed("key")
    assert live.resolve("whatever", "key") == "whatever"


def test_spellings_of_one_model_and_no_other(clock: Any):
    live = LiveModels(clock=clock)
    live.update("key", [{"id": "gemma-27b"}, {"id": "deepseek-r1"}, {"id": "kimi-k2.5"}])
    assert live.resolve("gemma-3-27b", "key") == "gemma-27b"
    assert live.resolve("deepseek-r1-671b", "key") == "deepseek-r1"
    assert live.resolve("deepseek-r1-0528", "key") is None, "another model, not another spelling"
    assert live.resolve("kimi-k2.6", "key") is None
    assert live.resolve("my-finetune", "key") is None
    assert live.resolve("gemma-3-27b", "other key") == "gemma-3-27b"


def test_fetched_once_then_when_stale(clock: Any):
    live = LiveModels(ttl_s=100.0, retry_s=10.0, clock=clock)
    assert live.claim("key")
    assert not live.claim("key"), "being fetched"
    live.update("key", [{"id": "a"}])
    assert not live.claim("key")
    clock.now += 100.0
    assert live.claim("key")
    assert live.ids("key") == {"a"}, "the old list serves while the new one is fetched"
    live.failed("key")
    assert live.ids("key") == {"a"}


def test_failed_fetches_are_repeated_ever_later(clock: Any):
    live = LiveModels(retry_s=10.0, clock=clock)
    for wait_s in (10.0, 20.0, 40.0):
        assert live.claim("key")
        live.failed("key")
        clock.now += wait_s - 0.1
        assert not live.claim("key")
        clock.now += 0.1
    live.claim("key")
    live.update("key", {"data": "nonsense"})
    assert live.ids("key") is None
    assert not live.claim("key")


def test_a_lost_fetch_is_claimed_again(clock: Any):
    live = LiveModels(retry_s=10.0, clock=clock)
    assert live.claim("key")
    clock.now += 10.0
    assert live.claim("key")


def test_one_thread_fetches(clock: Any):
    live = LiveModels(clock=clock)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: live.claim("key"), range(200))) == 1
