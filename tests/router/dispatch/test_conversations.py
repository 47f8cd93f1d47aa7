from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from router.dispatch import Conversations, session_key
from router.errors import ConfigError


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def test_forgets_the_one_unused_for_longest(clock: Any):
    conversations = Conversations(max_size=2, clock=clock)
    conversations.put("a", "small")
    conversations.put("b", "small")
    conversations.put("a", "large")
    conversations.put("c", "small")
    assert [conversations.get(key) for key in "abc"] == ["large", None, "small"]
    assert len(conversations) == 2


def test_forgets_after_its_time(clock: Any):
    conversations = Conversations(ttl_s=10.0, clock=clock)
    conversations.put("a", "small")
    clock.now += 9.0
    conversations.put("a", "small")
    clock.now += 9.0
    assert conversations.get("a") == "small"
    clock.now += 1.0
    assert conversations.get("a") is None
    assert len(conversations) == 0


def test_may_remember_none():
    conversations = Conversations(max_size=0)
    conversations.put("a", "small")
    assert conversations.get("a") is None


@pytest.mark.parametrize("arguments", [(-1, 1.0), (1, 0.0)])
def test_bad_arguments(arguments: Any):
    with pytest.raises(ConfigError, match="conversations need"):
        Conversations(*arguments)


def test_many_threads():
    conversations = Conversations(max_size=50)

    def work(i: int) -> None:
        conversations.put(str(i % 100), "m")
        conversations.get(str((i * 7) % 100))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(4000)))
    assert len(conversations) == 50


def test_order_of_what_names_a_conversation():
    body = {"messages": [user("Hi")], "user": "u1"}
    by_session = session_key(body, "s1")
    by_user = session_key(body)
    by_turns = session_key({"messages": [user("Hi")]})
    assert len({by_session, by_user, by_turns}) == 3
    assert session_key({"messages": [user("other")], "user": "u1"}, "s1") == by_session
    assert session_key({"messages": [user("other")], "user": "u1"}) == by_user
    assert session_key(body, "s1", "key-1") != session_key(body, "s1", "key-2")
    assert session_key({"user": "s1"}) != session_key({}, "s1")


def test_first_turns_stay_the_same_while_it_grows():
    start = [{"role": "system", "content": "Be brief."}, user("Hi")]
    grown = [*start, {"role": "assistant", "content": "Hello"}, user("2 + 2?")]
    assert session_key({"messages": start}) == session_key({"messages": grown})
    assert session_key({"messages": start[1:]}) != session_key({"messages": start})
    assert session_key({"messages": [user("Hi!")]}) != session_key({"messages": [user("Hi")]})


def test_images_tell_conversations_apart():
    def image(url: str) -> dict[str, Any]:
        return user([{"type": "image_url", "image_url": {"url": url}}])

    one = session_key({"messages": [image("data:" + "a" * 10_000_000)]})
    assert one != session_key({"messages": [image("data:" + "a" * 9_999_999 + "b")]})
    assert one == session_key({"messages": [image("data:" + "a" * 10_000_000)]})


@pytest.mark.parametrize(
    "messages",
    [None, [], "text", [None], [{"role": "assistant", "content": "x"}], 5],
)
def test_nothing_to_tell_by(messages: object):
    assert session_key({"messages": messages}) is None


def test_odd_contents_do_not_fail():
    for content in (None, 5, [None], [{"type": 3}], [{"a": {"url": 1}}], {"a": "b"}):
        assert session_key({"messages": [user(content)]}) is not None
    assert session_key({"messages": [user("lone \ud800 surrogate")]}) is not None
