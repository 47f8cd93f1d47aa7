"""Models of conversations in memory that processes share."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from router.serve.shared_conversations import SharedConversations


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.text(max_size=5), st.sampled_from("xyz")), max_size=60))
def test_the_latest_model_is_remembered_or_nothing(puts: list[tuple[str, str]]):
    """A full table forgets, but never gives one conversation the model of another."""
    conversations = SharedConversations(16)
    latest: dict[str, str] = {}
    for key, model in puts:
        conversations.put(key, model)
        latest[key] = model
        assert conversations.get(key) == model
    for key, model in latest.items():
        assert conversations.get(key) in (model, None)


def test_few_conversations_are_all_remembered():
    conversations = SharedConversations()
    for i in range(2_000):
        conversations.put(f"s{i}", f"model-{i % 7}")
    assert all(conversations.get(f"s{i}") == f"model-{i % 7}" for i in range(2_000))


def test_processes_share_them(run_python: Callable[..., str]):
    code = """
        import os
        from router.serve.shared_conversations import SharedConversations
        conversations = SharedConversations(64)
        conversations.know("large")
        process = os.fork()
        if process == 0:
            conversations.put("a", "large")
            conversations.put("b", "small")
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
        found = [conversations.get("a"), conversations.get("b")]
        conversations.know("small")  # until then only the child knew its name
        print(*found, conversations.get("b"))
    """
    assert run_python(code) == "large None small\n"


def test_they_are_forgotten_after_a_while():
    clock = Clock()
    conversations = SharedConversations(64, ttl_s=10.0, clock=clock)
    conversations.put("a", "x")
    clock.now += 9.0
    assert conversations.get("a") == "x"
    conversations.put("a", "x")
    clock.now += 9.0
    assert conversations.get("a") == "x"
    clock.now += 2.0
    assert conversations.get("a") is None


def test_the_one_unused_for_longest_goes_first():
    clock = Clock()
    conversations = SharedConversations(8, clock=clock)  # one set of eight places
    for i in range(8):
        clock.now += 1.0
        conversations.put(str(i), "x")
    clock.now += 1.0
    conversations.put("0", "y")
    conversations.put("new", "z")
    assert conversations.get("1") is None
    assert conversations.get("0") == "y"
    assert conversations.get("new") == "z"


def test_a_torn_entry_counts_as_forgotten():
    conversations = SharedConversations(8)
    conversations.put("a", "x")
    memory = conversations._memory
    place = next(i for i in range(len(memory)) if memory[i])
    memory[place] ^= 0xFF
    assert conversations.get("a") is None
    conversations.put("a", "y")
    assert conversations.get("a") == "y"
