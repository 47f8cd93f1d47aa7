from __future__ import annotations

from typing import Any

from router.dispatch import Failure, KeyAccess, key_fingerprint


def test_fingerprint_hides_the_key():
    name = key_fingerprint("sk-very-secret")
    assert name != key_fingerprint("sk-other")
    assert len(name) == 16
    assert "secret" not in name
    assert key_fingerprint("") == key_fingerprint(None) == "no-key"


def test_a_refusal_is_of_one_key_and_one_model_and_ends(clock: Any):
    access = KeyAccess(refusal_s=100.0, clock=clock)
    access.refuse("key", "large", "needs premium")
    assert access.reason("key", "large") == "needs premium"
    assert access.reason("other", "large") is None
    assert access.reason("key", "small") is None
    clock.now += 100.0
    assert access.reason("key", "large") is None


def test_a_refusal_may_have_its_own_time(clock: Any):
    access = KeyAccess(clock=clock)
    access.refuse("key", "m", "busy", 5.0)
    clock.now += 5.0
    assert access.reason("key", "m") is None


def test_a_key_rests_as_long_as_the_server_says_or_for_a_minute(clock: Any):
    access = KeyAccess(clock=clock)
    access.pause("a", Failure("quota", "spent", daily_limit=60))
    access.pause("b", Failure("quota", "spent", daily_limit=60, retry_after_s=600.0))
    clock.now += 60.0
    assert access.paused("a") is None
    rest = access.paused("b")
    assert rest is not None
    assert rest.daily_limit == 60
    clock.now += 540.0
    assert access.paused("b") is None
    assert access.paused("c") is None


def test_memory_is_bounded(clock: Any):
    access = KeyAccess(max_entries=3, clock=clock)
    for i in range(10):
        access.refuse("key", f"m{i}", "no")
        access.pause(f"key{i}", Failure("quota", "spent"))
    assert [access.reason("key", f"m{i}") is not None for i in range(10)] == [False] * 7 + [
        True
    ] * 3
    assert access.paused("key0") is None
