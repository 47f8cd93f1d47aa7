"""What goes into a plan: the filter, the bar, conversations, routers that fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from router.dispatch import (
    Conversations,
    Dispatcher,
    PlanLimits,
    RoutingOptions,
    Usage,
    failure_from_response,
    key_fingerprint,
)
from router.dispatch.options import OPTION_NAMES
from router.errors import ArtifactError, ConfigError
from router.router import Router
from router.rules import Rule, TaskRules

Chat = Callable[..., dict[str, Any]]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
OXLO = {"llama-3.2-3b": 0.6, "gemma-3-27b": 0.8, "llama-3.3-70b": 0.9}


def answer(dispatcher: Dispatcher, body: dict[str, Any], **options: Any) -> Any:
    """Answer a request at the first try and return its record."""
    asked = {name: options.pop(name) for name in OPTION_NAMES if name in options}
    plan = dispatcher.plan(body, options=RoutingOptions(**asked), **options)
    assert plan.next() is not None
    plan.began()
    plan.finished(Usage(10, 20))
    return plan.record()


def test_what_the_router_is_asked(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, quality=0.9, min_probability=0.1)
    body = chat("Hi")
    answer(dispatcher, body)
    assert router.asked[-1] == (body["messages"], 0.9, 0.1, None)
    answer(dispatcher, chat(wattroute={"quality": 0.8}))
    assert router.asked[-1][1:] == (0.8, 0.1, None)
    answer(dispatcher, {**chat(), "model": "auto:0.7"}, quality=0.6, min_probability=0.3)
    assert router.asked[-1][1:] == (0.7, 0.3, None)


def test_what_is_to_be_promised(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, confidence=0.8, group="maths", uncertified="estimate")
    answer(dispatcher, chat("Hi"))
    assert router.promised[-1] == (0.8, "maths", "estimate")
    answer(dispatcher, chat(wattroute={"confidence": 0.7, "group": "code"}), group="law")
    assert router.promised[-1] == (0.7, "law", "estimate")
    answer(Dispatcher(router), chat("Hi"))
    assert router.promised[-1] == (0.9, None, None), "the router's own defaults"


def test_the_certificate_is_on_the_record(promising_router: Router, chat: Chat):
    dispatcher = Dispatcher(promising_router, quality=0.8)
    record = answer(dispatcher, chat("Why?"))
    expected = promising_router.route("Why?", quality=0.8)
    assert record.certificate == expected.certificate
    assert record.certificate.holds
    assert record.certificate.group is None
    record = answer(dispatcher, chat("Why?"), session="a", group="maths")
    assert (record.certificate.group, record.certificate.n) == ("maths", 70)
    refused = answer(dispatcher, chat("Why?"), session="b", confidence=0.99)
    assert not refused.certificate.holds
    assert refused.model == promising_router.reference
    estimated = {"confidence": 0.99, "uncertified": "estimate"}
    choice = promising_router.route("Why?", quality=0.8, **estimated)
    assert answer(dispatcher, chat("Why?"), session="c", **estimated).model == choice.model
    floor = answer(dispatcher, chat("Why?"), session="d", min_probability=0.7)
    assert floor.floor_certificate is not None
    assert floor.floor_certificate.floor == 0.7
    assert json.loads(json.dumps(floor.to_dict()))["floor_certificate"]["floor"] == 0.7


def test_no_promise_covers_an_answer_of_another_model(promising_router: Router, chat: Chat):
    dispatcher = Dispatcher(promising_router, quality=0.8)
    plan = dispatcher.plan(chat("Why?"))
    assert plan.next() is not None
    plan.failed(failure_from_response(403))
    assert plan.next() is not None
    plan.finished(Usage(10, 20))
    record = plan.record()
    assert record.decision is not None
    assert record.decision.certificate is not None
    assert record.decision.certificate.holds
    assert record.certificate is not None
    assert not record.certificate.holds
    assert record.certificate.reason == "not covered: another model answered"
    dispatcher = Dispatcher(promising_router, quality=0.8)
    key = plan.session_key
    assert key is not None
    dispatcher.conversations.put(key, promising_router.reference)
    kept = answer(dispatcher, chat("Why?"))
    assert kept.kept
    assert kept.certificate.reason == "not covered: the conversation kept its model"


def test_kinds_that_cannot_be_found(small_router: Router, router: Any, chat: Chat):
    """It is no failure of the router that the caller could not see: it is said at once."""
    with pytest.raises(ConfigError, match="no discovered kinds of prompts"):
        Dispatcher(small_router, group="auto").plan(chat())
    answer(Dispatcher(router, group="auto"), chat())
    assert router.promised[-1][1] == "auto", "what is not stored may know how"


def test_the_novelty_of_the_bundled_router_is_on_the_record(chat: Chat):
    bundled = Router.load()
    record = answer(Dispatcher(bundled), chat("What is 12 + 34?"))
    assert record.novelty == bundled.route("What is 12 + 34?").novelty
    assert record.to_dict()["novelty"] == record.novelty
    assert 0.0 <= record.novelty <= 1.0


@pytest.mark.parametrize("messages", [None, [], "Hi", {"role": "user"}, 5])
def test_a_request_without_messages(dispatcher: Dispatcher, messages: Any):
    with pytest.raises(ConfigError, match="messages must be a list"):
        dispatcher.plan({"model": "auto", "messages": messages})


def test_real_ids_are_not_planned(dispatcher: Dispatcher, chat: Chat):
    with pytest.raises(ConfigError, match="only 'auto'"):
        dispatcher.plan({**chat(), "model": "small"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"router": None}, "give a router or a default_model"),
        ({"quality": 0}, "quality is 0"),
        ({"quality": 2}, "quality is 2"),
        ({"min_probability": -1}, "min_probability is -1"),
        ({"confidence": 1}, "confidence is 1"),
        ({"group": 5}, "group must be text"),
        ({"uncertified": "maybe"}, "uncertified is 'maybe'"),
        ({"plan": "gold"}, "plan 'gold' is not known"),
        ({"default_model": " "}, "default_model is blank"),
    ],
)
def test_bad_arguments(router: Any, arguments: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Dispatcher(**{"router": router, **arguments})


def test_images_go_to_models_that_read_them(fixed_router: Any, chat: Chat):
    dispatcher = Dispatcher(fixed_router(OXLO))
    record = answer(dispatcher, chat([IMAGE]))
    assert record.model == "gemma-3-27b"
    assert {e.model: e.reason for e in record.excluded} == {
        "llama-3.2-3b": "cannot read images",
        "llama-3.3-70b": "cannot read images",
    }
    assert answer(dispatcher, chat("text")).excluded == ()


def test_what_nobody_knows_is_allowed_and_recorded(fixed_router: Any, chat: Chat):
    dispatcher = Dispatcher(fixed_router(OXLO))
    record = answer(dispatcher, chat(tools=[{"type": "function", "function": {"name": "f"}}]))
    assert record.model == "llama-3.2-3b"
    assert record.warnings == ("not known whether llama-3.2-3b can call tools",)


def test_a_long_prompt_goes_where_it_fits(fixed_router: Any, chat: Chat):
    dispatcher = Dispatcher(fixed_router({"mistral-7b": 0.9, "llama-3.3-70b": 0.9}))
    assert answer(dispatcher, chat("word " * 1000)).model == "mistral-7b"
    assert answer(dispatcher, chat("word " * 30_000)).model == "llama-3.3-70b"
    assert answer(dispatcher, chat("word", max_tokens=40_000)).model == "llama-3.3-70b"


def test_where_nothing_fits_the_default_is_tried(fixed_router: Any, chat: Chat):
    blind = {"llama-3.2-3b": 0.6, "llama-3.3-70b": 0.9}
    router = fixed_router(blind)
    record = answer(Dispatcher(router, default_model="kimi-k2.6"), chat([IMAGE]))
    assert record.model == "kimi-k2.6"
    assert record.decision is None
    assert "no model of the pool fits: llama-3.2-3b: cannot read images" in record.fallback
    assert router.asked == []
    assert answer(Dispatcher(router), chat([IMAGE])).model == "llama-3.3-70b", "the reference"


def test_caps_of_the_plan(fixed_router: Any, chat: Chat):
    router = fixed_router(OXLO)
    record = answer(Dispatcher(router, plan="free"), chat("word " * 10_000))
    assert "plan free takes 8,192" in record.fallback
    own = PlanLimits("mine", max_prompt_tokens=50_000)
    assert answer(Dispatcher(router, plan=own), chat("word " * 10_000)).fallback is None


def test_only_models_that_the_api_lists(fixed_router: Any, chat: Chat):
    dispatcher = Dispatcher(fixed_router(OXLO))
    dispatcher.live.update("key", [{"id": "gemma-27b"}, {"id": "llama-3.3-70b"}])
    plan = dispatcher.plan(chat(), key="key")
    step = plan.next()
    assert step is not None
    assert step.model == step.body["model"] == "gemma-27b", "as the API spells it"
    plan.began()
    plan.finished()
    record = plan.record()
    assert (record.model, record.attempts[0].model) == ("gemma-3-27b", "gemma-27b")
    assert [e.reason for e in record.excluded] == ["not in the API's list of models"]
    assert answer(dispatcher, chat(), key="other").model == "llama-3.2-3b"


def test_a_router_that_fails(fixed_router: Any, chat: Chat):
    broken = fixed_router(OXLO, error=ZeroDivisionError("encoder"))
    record = answer(Dispatcher(broken, default_model="gemma-3-27b"), chat())
    assert record.model == "gemma-3-27b"
    assert record.fallback == (
        "the router failed: ZeroDivisionError: encoder; default gemma-3-27b instead"
    )
    assert record.actual_energy_j is not None, "the catalogue knows it"
    assert answer(Dispatcher(broken), chat()).model == "llama-3.3-70b"


def test_prompts_that_the_router_cannot_read_still_go_on(small_router: Router, chat: Chat):
    record = answer(Dispatcher(small_router), {**chat(), "messages": [{"role": "alien"}]})
    assert record.model == "api/large"
    assert "ConfigError" in record.fallback


def test_a_damaged_artifact(tmp_path: Path, stored: Path, chat: Chat):
    missing = tmp_path / "missing"
    with pytest.raises(ArtifactError):
        Dispatcher(missing).plan(chat())
    dispatcher = Dispatcher(missing, default_model="gemma-3-27b")
    record = answer(dispatcher, chat())
    assert record.model == "gemma-3-27b"
    assert "the router cannot be loaded: ArtifactError" in record.fallback
    assert dispatcher.router is None
    assert "ArtifactError" in str(dispatcher.router_error)
    (stored / "model.npz").write_bytes(b"damaged")
    assert "cannot be loaded" in answer(Dispatcher(stored, default_model="x"), chat()).fallback


def test_a_path_is_loaded_once(small_router: Router, chat: Chat, monkeypatch: pytest.MonkeyPatch):
    loaded: list[Any] = []
    monkeypatch.setattr(Router, "load", lambda path: loaded.append(path) or small_router)
    dispatcher = Dispatcher("some/folder")
    assert loaded == [], "not before the first request"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: answer(dispatcher, chat(f"Hi {i}")), range(20)))
    assert loaded == ["some/folder"]
    assert dispatcher.router is small_router
    assert dispatcher.router_error is None


def test_a_router_that_cannot_be_loaded_is_tried_again_later(
    small_router: Router, chat: Chat, clock: Any, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[Any] = []

    def load(path: Any) -> Router:
        loaded.append(path)
        if len(loaded) < 2:
            raise ArtifactError("being written")
        return small_router

    monkeypatch.setattr(Router, "load", load)
    dispatcher = Dispatcher("some/folder", default_model="api/small", clock=clock)
    for _ in range(3):
        assert "ArtifactError: being written" in answer(dispatcher, chat()).fallback
    assert len(loaded) == 1, "not read for each request"
    clock.now += 30.0
    assert answer(dispatcher, chat()).decision is not None
    assert dispatcher.router_error is None


def test_without_a_router_all_goes_to_the_default(chat: Chat):
    record = answer(Dispatcher(None, default_model="gemma-3-27b"), chat())
    assert (record.model, record.decision) == ("gemma-3-27b", None)
    assert record.fallback == "there is no router; default gemma-3-27b instead"


def test_another_router_takes_over(router: Any, fixed_router: Any, chat: Chat, tmp_path: Path):
    dispatcher = Dispatcher(router)
    under_way = dispatcher.plan(chat("first"))
    dispatcher.replace_router(fixed_router({"new": 0.9}))
    step = under_way.next()
    assert step is not None
    assert step.model == "small"
    assert answer(dispatcher, chat("second")).model == "new"
    with pytest.raises(ArtifactError):
        dispatcher.replace_router(tmp_path / "missing")
    assert answer(dispatcher, chat("third")).model == "new"


def grown(text: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": text},
        {"role": "assistant", "content": "..."},
        {"role": "user", "content": "And then?"},
    ]


def test_a_conversation_keeps_its_model(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, quality=0.9)
    start = dispatcher.plan(chat("Hi"))
    start.next()
    start.failed(start_failure())
    start.next()
    start.began()
    start.finished()
    assert start.record().model == "medium"
    record = answer(dispatcher, {**chat(), "messages": grown("Hi")})
    assert (record.model, record.kept) == ("medium", True)
    assert "kept for this conversation" in record.reason
    assert record.fallback is None
    other = answer(dispatcher, {**chat(), "messages": grown("Hello")})
    assert (other.model, other.kept) == ("small", False)


def start_failure() -> Any:
    from router.dispatch import failure_from_response

    return failure_from_response(400, {}, {"error": {"code": "context_length_exceeded"}})


def test_until_its_probability_falls_below_the_bar(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, quality=0.9)
    key = dispatcher.plan(chat("Hi")).session_key
    assert key is not None
    dispatcher.conversations.put(key, "medium")  # 0.85, the reference model 0.9
    assert answer(dispatcher, chat("Hi")).kept
    router.probability["medium"] = 0.82
    assert answer(dispatcher, chat("Hi")).kept, "0.82 > 0.9 * 0.9"
    router.probability["medium"] = 0.80
    record = answer(dispatcher, chat("Hi"))
    assert (record.model, record.kept) == ("small", False)
    assert dispatcher.conversations.get(key) == "small"


def test_a_strict_floor_goes_before_a_kept_model(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, quality=0.5)
    key = dispatcher.plan(chat("Hi")).session_key
    assert key is not None
    dispatcher.conversations.put(key, "medium")
    assert answer(dispatcher, chat("Hi"), min_probability=0.8).kept
    assert not answer(dispatcher, chat("Hi"), min_probability=0.86).kept


def test_candidates_below_a_strict_floor_are_not_tried(fixed_router: Any, chat: Chat):
    router = fixed_router({"small": 0.9, "medium": 0.5, "large": 0.9})
    plan = Dispatcher(router, min_probability=0.8, default_model="spare").plan(chat())
    sent = []
    while (step := plan.next()) is not None:
        sent.append(step.model)
        plan.failed(start_failure())
    assert sent == ["small", "large", "spare"]


def test_a_kept_model_that_cannot_read_images_is_left(fixed_router: Any, chat: Chat):
    dispatcher = Dispatcher(fixed_router(OXLO), quality=0.5)
    assert answer(dispatcher, chat("Hi"), session="s").model == "llama-3.2-3b"
    assert answer(dispatcher, chat([IMAGE]), session="s").model == "gemma-3-27b"
    assert answer(dispatcher, chat("Hi"), session="s").model == "gemma-3-27b"


def test_sessions_of_two_keys_are_two(router: Any, chat: Chat):
    dispatcher = Dispatcher(router, quality=0.5)
    one = dispatcher.plan(chat(), key="a", options=RoutingOptions(session="s")).session_key
    assert one is not None
    dispatcher.conversations.put(one, "large")
    assert answer(dispatcher, chat(), key="a", session="s").model == "large"
    assert answer(dispatcher, chat(), key="b", session="s").model == "small"


def test_a_store_of_ones_own(router: Any, chat: Chat):
    store = Conversations(max_size=1)
    dispatcher = Dispatcher(router, conversations=store)
    answer(dispatcher, chat("one"))
    answer(dispatcher, chat("two"))
    assert len(store) == 1


def test_rules_take_the_place_of_a_router(chat: Chat):
    rules = TaskRules([Rule("code", "qwen3-coder-30b", ("python",))], "llama-3.2-3b")
    dispatcher = Dispatcher(rules)
    assert answer(dispatcher, chat("Write Python.")).model == "qwen3-coder-30b"
    record = answer(dispatcher, chat("Sing."))
    assert record.model == "llama-3.2-3b"
    assert record.probability is None
    assert record.saved_j is not None
    assert answer(dispatcher, chat("Sing.", wattroute={"task": "code"})).model == "qwen3-coder-30b"


def test_the_key_is_nowhere(dispatcher: Dispatcher, chat: Chat):
    plan = dispatcher.plan(chat(), key="sk-very-secret")
    plan.next()
    plan.began()
    plan.finished()
    shown = repr(plan) + repr(plan.record()) + repr(vars(dispatcher)) + repr(plan._request)
    assert "very-secret" not in shown
    assert "Hello" not in repr(plan._request)
    assert key_fingerprint("sk-very-secret") == plan._request.fingerprint


def test_many_threads_share_a_dispatcher(router: Any, chat: Chat):
    dispatcher = Dispatcher(router)
    barrier = threading.Barrier(8)

    def work(worker: int) -> set[str]:
        barrier.wait()
        return {
            answer(dispatcher, chat(f"{worker} {i}"), key=f"k{i % 3}").model for i in range(200)
        }

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(work, range(8))) == {"small"}
    assert len(dispatcher.conversations) == 1600  # type: ignore[arg-type]
