"""Retries, the order of candidates, and what requests learn from each other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.dispatch import (
    CircuitBreaker,
    Dispatcher,
    Failure,
    RetryPolicy,
    Usage,
    failure_from_response,
)
from router.errors import ConfigError

BUSY = failure_from_response(503)
FORBIDDEN = failure_from_response(403, {}, {"error": "model_access_denied"})
LIMITED = failure_from_response(429)
SPENT = failure_from_response(429, {}, {"error": "rate_limit_exceeded", "daily_limit": 60})
Chat = Callable[..., dict[str, Any]]
Drive = Callable[..., list[tuple[str, float]]]


def models(sent: list[tuple[str, float]]) -> list[str]:
    return [model for model, _ in sent]


def outcomes(plan: Any) -> list[tuple[str, str]]:
    return [(a.model, a.outcome) for a in plan.record().attempts]


def test_one_try_where_nothing_fails(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    plan = dispatcher.plan(chat(), key="k")
    assert drive(plan, None) == [("small", 0.0)]
    assert plan.next() is None
    record = plan.record()
    assert (record.model, record.fallback, record.reason) == ("small", None, "given")
    assert outcomes(plan) == [("small", "answered")]


def test_the_recorded_order(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    plan = dispatcher.plan(chat())
    sent = drive(plan, *[BUSY] * 20)
    assert models(sent) == ["small"] * 3 + ["medium"] * 3 + ["large"] * 3
    assert plan.next() is None
    assert plan.failure is BUSY
    assert outcomes(plan) == [(model, "unavailable") for model in models(sent)]
    assert [a.status for a in plan.record().attempts] == [503] * 9


def test_the_configured_default_comes_last(router: Any, chat: Chat, drive: Drive):
    one = RetryPolicy(tries_per_model=1, max_candidates=2)
    dispatcher = Dispatcher(router, default_model="spare", retry=one)
    plan = dispatcher.plan(chat())
    assert models(drive(plan, BUSY, BUSY, None)) == ["small", "medium", "spare"]
    record = plan.record()
    assert (record.model, record.reason) == ("spare", "configured default")
    assert record.fallback == "small: unavailable (HTTP 503); medium: unavailable (HTTP 503)"
    again = Dispatcher(router, default_model="medium", retry=one).plan(chat())
    assert models(drive(again, BUSY, BUSY, BUSY)) == ["small", "medium"], "not twice"


def test_waits_grow_and_are_jittered(router: Any, chat: Chat, drive: Drive):
    policy = RetryPolicy(tries_per_model=6, max_candidates=1, base_s=1.0, cap_s=5.0)
    waits = []
    for seed in range(20):
        dispatcher = Dispatcher(router, retry=policy, rng=Random(seed), default_model="small")
        sent = drive(dispatcher.plan(chat()), *[BUSY] * 4)
        waits.append([wait_s for _, wait_s in sent])
    for row in waits:
        assert row[0] == 0.0
        for wait_s, longest in zip(row[1:], (1.0, 2.0, 4.0), strict=True):
            assert longest / 2 <= wait_s <= longest
    assert len({row[1] for row in waits}) == 20


def test_a_bad_key_stops_at_once(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    plan = dispatcher.plan(chat())
    assert models(drive(plan, failure_from_response(401), None)) == ["small"]
    assert plan.failure is not None
    assert plan.failure.kind == "auth"
    assert models(drive(dispatcher.plan(chat()), None)) == ["small"], (
        "another try may have another key"
    )


@pytest.mark.parametrize("status", [400, 402, 413, 422])
def test_what_no_model_can_help_stops(
    dispatcher: Dispatcher, chat: Chat, drive: Drive, status: int
):
    assert len(drive(dispatcher.plan(chat()), failure_from_response(status), None)) == 1


def test_a_forbidden_model_is_out_for_the_key(
    dispatcher: Dispatcher, chat: Chat, drive: Drive, clock: Any, router: Any
):
    assert models(drive(dispatcher.plan(chat(), key="free"), FORBIDDEN, None)) == [
        "small",
        "medium",
    ]
    later = dispatcher.plan(chat("other"), key="free")
    assert router.asked[-1][3] == {"medium", "large"}
    assert models(drive(later, None)) == ["medium"]
    excluded = later.record().excluded
    assert [e.model for e in excluded] == ["small"]
    assert "403" in excluded[0].reason
    assert models(drive(dispatcher.plan(chat("other"), key="paid"), None)) == ["small"]
    clock.now += 3600.0
    assert models(drive(dispatcher.plan(chat("third"), key="free"), None)) == ["small"]


def test_a_missing_model_is_out_too(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    gone = failure_from_response(404, {}, {"error": {"code": "model_not_found", "message": "?"}})
    assert models(drive(dispatcher.plan(chat()), gone, None)) == ["small", "medium"]
    assert models(drive(dispatcher.plan(chat("other")), None)) == ["medium"]


def test_a_model_that_cannot_is_passed_over_this_time(
    dispatcher: Dispatcher, chat: Chat, drive: Drive
):
    cannot = failure_from_response(400, {}, {"error": {"message": "tools are not supported"}})
    assert models(drive(dispatcher.plan(chat()), cannot, None)) == ["small", "medium"]
    assert models(drive(dispatcher.plan(chat("other")), None)) == ["small"]


def test_retry_after_is_respected(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    wait = failure_from_response(429, {"retry-after": "7"})
    sent = drive(dispatcher.plan(chat()), wait, None)
    assert models(sent) == ["small", "small"]
    assert 7.0 <= sent[1][1] <= 8.0


def test_a_long_retry_after_is_not_waited_for(
    dispatcher: Dispatcher, chat: Chat, drive: Drive, clock: Any
):
    wait = failure_from_response(429, {"retry-after": "120"})
    assert drive(dispatcher.plan(chat()), wait, None) == [("small", 0.0), ("medium", 0.0)]
    clock.now += 119.0
    assert models(drive(dispatcher.plan(chat("other")), None)) == ["medium"]
    clock.now += 1.0
    assert models(drive(dispatcher.plan(chat("third")), None)) == ["small"]


def test_a_429_storm_stays_small(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    sent = models(drive(dispatcher.plan(chat()), *[LIMITED] * 50))
    assert sent == ["small"] * 3 + ["medium", "large"], "the limit is the key's"


def test_a_daily_limit_stops_and_the_key_rests(
    dispatcher: Dispatcher, chat: Chat, drive: Drive, clock: Any
):
    assert len(drive(dispatcher.plan(chat(), key="k"), SPENT, None)) == 1
    resting = dispatcher.plan(chat(), key="k")
    assert resting.next() is None
    assert resting.failure is not None
    assert (resting.failure.kind, resting.failure.daily_limit) == ("quota", 60)
    assert outcomes(resting) == [("small", "skipped")]
    assert len(drive(dispatcher.plan(chat(), key="other"), None)) == 1
    clock.now += 60.0
    assert len(drive(dispatcher.plan(chat(), key="k"), None)) == 1


def test_the_sum_of_waits_is_bounded(router: Any, chat: Chat, drive: Drive):
    policy = RetryPolicy(tries_per_model=50, max_wait_s=20.0)
    dispatcher = Dispatcher(router, retry=policy)
    wait = failure_from_response(503, {"retry-after": "6"})
    sent = drive(dispatcher.plan(chat()), *[wait] * 99)
    assert sum(wait_s for _, wait_s in sent) <= 20.0


def test_time_is_bounded(router: Any, chat: Chat, clock: Any):
    policy = RetryPolicy(tries_per_model=5, max_elapsed_s=100.0)
    dispatcher = Dispatcher(router, retry=policy, clock=clock)
    plan = dispatcher.plan(chat())
    n = 0
    while plan.next() is not None:
        n += 1
        clock.now += 60.0  # until the time-out
        plan.failed(Failure.timeout())
    assert n == 2
    assert outcomes(plan)[-1] == ("large", "skipped")


def test_an_open_circuit_is_passed_over(router: Any, chat: Chat, drive: Drive, clock: Any):
    breaker = CircuitBreaker(threshold=2, cool_down_s=10.0, clock=clock)
    dispatcher = Dispatcher(router, breaker=breaker, clock=clock)
    first = dispatcher.plan(chat())
    assert models(drive(first, BUSY, BUSY, None)) == ["small", "small", "medium"]
    second = dispatcher.plan(chat("other"))
    assert models(drive(second, None)) == ["medium"]
    assert outcomes(second)[0] == ("small", "skipped")
    assert "circuit open" in str(second.record().fallback)
    clock.now += 10.0
    third = dispatcher.plan(chat("third"))
    step = third.next()
    assert step is not None
    assert step.model == "small", "the probe"
    assert models(drive(dispatcher.plan(chat("fourth")), None)) == ["medium"], "one probe at a time"
    third.began()
    assert models(drive(dispatcher.plan(chat("fifth")), None)) == ["medium"], "not answered yet"
    third.finished()
    assert models(drive(dispatcher.plan(chat("sixth")), None)) == ["small"]


def test_a_request_that_is_refused_says_nothing_about_health(
    router: Any, chat: Chat, drive: Drive, clock: Any
):
    breaker = CircuitBreaker(threshold=1, clock=clock)
    dispatcher = Dispatcher(router, breaker=breaker, clock=clock)
    drive(dispatcher.plan(chat()), failure_from_response(400))
    drive(dispatcher.plan(chat()), LIMITED)
    assert breaker.state("small") == "closed"
    drive(dispatcher.plan(chat()), Failure.timeout(), None)
    assert breaker.state("small") == "open"


def test_where_every_circuit_is_open_one_try_is_made(
    router: Any, chat: Chat, drive: Drive, clock: Any
):
    breaker = CircuitBreaker(threshold=1, clock=clock)
    for model in ("small", "medium", "large"):
        breaker.failure(model)
    plan = Dispatcher(router, breaker=breaker, clock=clock).plan(chat())
    assert models(drive(plan, BUSY, BUSY)) == ["small"]
    assert outcomes(plan) == [
        ("small", "skipped"),
        ("medium", "skipped"),
        ("large", "skipped"),
        ("small", "unavailable"),
    ]


def test_a_begun_answer_is_never_repeated(dispatcher: Dispatcher, chat: Chat):
    plan = dispatcher.plan(chat())
    plan.next()
    plan.began()
    with pytest.raises(RuntimeError, match="begun answer is final"):
        plan.next()
    with pytest.raises(RuntimeError, match="nothing was sent"):
        plan.failed(BUSY)
    plan.broke(Failure.broken("reset"))
    assert plan.next() is None
    record = plan.record()
    assert outcomes(plan) == [("small", "broken")]
    assert record.usage is None
    assert plan.failure is not None
    assert plan.failure.upstream_error().retryable


def test_broken_answers_open_the_circuit(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    def begin(text: str) -> Any:
        plan = dispatcher.plan(chat(text))
        step = plan.next()
        assert step is not None
        assert step.model == "small"
        plan.began()
        return plan

    for i in range(4):
        begin(f"broken {i}").broke(Failure.broken())
    begin("whole").finished()
    for i in range(4):
        begin(f"broken again {i}").broke(Failure.broken())
    assert dispatcher.breaker.state("small") == "closed"
    begin("left").cancelled()  # which says nothing
    begin("the last").broke(Failure.broken())
    assert dispatcher.breaker.state("small") == "open"
    assert models(drive(dispatcher.plan(chat("other")), None)) == ["medium"]


def test_misuse_is_named(dispatcher: Dispatcher, chat: Chat):
    plan = dispatcher.plan(chat())
    for call in (plan.began, plan.finished, lambda: plan.broke(BUSY), lambda: plan.failed(BUSY)):
        with pytest.raises(RuntimeError):
            call()
    plan.next()
    with pytest.raises(RuntimeError, match="report the last step"):
        plan.next()


def test_a_caller_who_goes_away_frees_the_probe(router: Any, chat: Chat, clock: Any):
    breaker = CircuitBreaker(threshold=1, cool_down_s=10.0, clock=clock)
    breaker.failure("small")
    clock.now += 10.0
    dispatcher = Dispatcher(router, breaker=breaker, clock=clock)
    plan = dispatcher.plan(chat())
    step = plan.next()
    assert step is not None
    assert step.model == "small"
    plan.cancelled()
    plan.cancelled()
    assert outcomes(plan) == [("small", "cancelled")]
    assert plan.next() is None
    assert breaker.allow("small")


def test_cancelled_in_the_middle_of_an_answer(router: Any, chat: Chat, clock: Any):
    breaker = CircuitBreaker(threshold=1, cool_down_s=10.0, clock=clock)
    breaker.failure("small")
    clock.now += 10.0
    plan = Dispatcher(router, breaker=breaker, clock=clock).plan(chat())
    plan.next()
    plan.began()
    plan.cancelled()
    assert outcomes(plan) == [("small", "cancelled")]
    assert plan.over
    assert breaker.state("small") == "half-open"
    assert breaker.allow("small"), "the next one probes"


def test_an_answer_that_nobody_follows_counts_from_its_beginning(
    router: Any, chat: Chat, clock: Any
):
    breaker = CircuitBreaker(threshold=1, cool_down_s=10.0, clock=clock)
    breaker.failure("small")
    clock.now += 10.0
    plan = Dispatcher(router, breaker=breaker, clock=clock).plan(chat())
    plan.next()
    plan.began(followed=False)
    assert breaker.state("small") == "closed"


def test_the_body_that_is_sent(dispatcher: Dispatcher, chat: Chat):
    tools: list[Any] = [{"type": "function", "function": {"name": "f"}}]
    body = chat(tools=tools, top_k=5, wattroute={"quality": 0.9}, stream=True, unheard_of={"a": 1})
    before = json.dumps(body)
    step = dispatcher.plan(body).next()
    assert step is not None
    assert step.body == {
        "model": "small",
        "messages": body["messages"],
        "tools": tools,
        "top_k": 5,
        "stream": True,
        "unheard_of": {"a": 1},
        "max_tokens": step.max_tokens,
    }
    assert step.body["tools"] is tools
    assert json.dumps(body) == before


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, 4096),
        ({"max_tokens": None}, 4096),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 7),
        ({"max_tokens": "wrong"}, "wrong"),
    ],
)
def test_max_tokens_is_always_sent(
    dispatcher: Dispatcher, chat: Chat, fields: dict[str, Any], sent: Any
):
    step = dispatcher.plan(chat(**fields)).next()
    assert step is not None
    assert step.body["max_tokens"] == step.max_tokens == sent
    for key, value in fields.items():
        assert key == "max_tokens" or step.body[key] == value


def test_the_default_limit_is_never_tight(fixed_router: Any, chat: Chat):
    names = {"llama-3.2-3b": 0.5, "mistral-7b": 0.9}
    long = fixed_router(names)
    step = Dispatcher(long, plan="free").plan(chat()).next()
    assert step is not None
    assert step.max_tokens == 2048, "the plan's cap"
    many = chat("word " * 18_000)  # about 25,700 tokens, of 32,768 that fit
    step = Dispatcher(fixed_router({"mistral-7b": 0.9})).plan(many).next()
    assert step is not None
    assert 1000 < step.max_tokens <= 32_768 - 18_000


@pytest.mark.parametrize("n_words", [22_800, 30_000])
def test_a_prompt_that_hardly_fits_by_estimate_is_not_cut_to_a_word(
    fixed_router: Any, chat: Chat, n_words: int
):
    """No model fits then, or there is hardly any room; the default model is asked all the same."""
    many = chat("word " * n_words)  # about 32,600 and 42,900 tokens, of 32,768 that fit
    step = Dispatcher(fixed_router({"mistral-7b": 0.9})).plan(many).next()
    assert step is not None
    assert step.max_tokens == 4096
    limited = Dispatcher(fixed_router({"mistral-7b": 0.9}), plan="free").plan(many).next()
    assert limited is not None
    assert limited.max_tokens == 2048, "the plan's cap"


def test_a_record_is_json(dispatcher: Dispatcher, chat: Chat, drive: Drive):
    plan = dispatcher.plan(chat())
    drive(plan, FORBIDDEN, BUSY)
    json.dumps(plan.record().to_dict(), allow_nan=False)
    plan.next()
    plan.began()
    plan.finished(Usage(12, 40), "length")
    record = plan.record().to_dict()
    json.dumps(record, allow_nan=False)
    assert record["usage"] == {"prompt_tokens": 12, "completion_tokens": 40, "estimated": False}
    assert record["decision"]["model"] == "small"
    assert record["model"] == "medium"
    assert [a["outcome"] for a in record["attempts"]] == ["forbidden", "unavailable", "answered"]
    assert any("cut off at max_tokens=4096" in warning for warning in record["warnings"])


def test_energy_of_the_answer(small_router: Any, chat: Chat):
    dispatcher = Dispatcher(small_router, default_model="api/small")
    plan = dispatcher.plan(chat("What is 12 + 34?", wattroute={"quality": 0.5}))
    step = plan.next()
    assert step is not None
    before = plan.record()
    assert before.energy_j == before.expected_energy_j is not None
    assert before.saved_j is None
    plan.began()
    plan.finished(Usage(100, 200))
    record = plan.record()
    joules = {"api/small": 0.1, "api/medium": 0.5, "api/large": 4.0}[step.model]
    assert record.actual_energy_j is not None
    assert record.actual_energy_j.value_j == pytest.approx(100 * joules / 4 + 200 * joules)
    assert record.energy_j == record.actual_energy_j
    large = record.candidates[-1]
    assert record.reference_energy_j is not None
    assert record.reference_energy_j.value_j == pytest.approx(
        100 * 1.0 + large.completion_tokens * 4.0
    )
    assert record.saved_j == pytest.approx(
        record.reference_energy_j.value_j - record.actual_energy_j.value_j
    )
    assert record.probability == next(
        c.probability for c in record.candidates if c.model == step.model
    )


def test_several_answers_are_expected_to_take_as_much_each(small_router: Any, chat: Chat):
    def record(**fields: Any) -> Any:
        body = chat("What is 12 + 34?", wattroute={"quality": 0.5}, **fields)
        plan = Dispatcher(small_router).plan(body)
        assert plan.next() is not None
        return plan.record()

    one, four = record(), record(n=4)
    pool = {model.api_id: model for model in small_router.artifact.pool.models}
    for name, model in (("expected_energy_j", one.model), ("reference_energy_j", one.reference)):
        first, energy = getattr(one, name), getattr(four, name)
        prompt_j = pool[model].joules_per_prompt_token * one.decision.prompt_tokens
        assert energy.value_j == pytest.approx(4 * (first.value_j - prompt_j) + prompt_j)
        assert energy.low_j / energy.value_j == pytest.approx(first.low_j / first.value_j)


def test_the_reference_model_saves_nothing(small_router: Any, chat: Chat):
    """However short its answer is: less than was expected of it is luck."""
    plan = Dispatcher(small_router).plan(chat("What is 12 + 34?", wattroute={"min_probability": 1}))
    assert plan.next() is not None
    plan.finished(Usage(100, 1))
    record = plan.record()
    assert record.model == record.reference
    assert record.reference_energy_j == record.actual_energy_j
    assert record.saved_j == 0.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"tries_per_model": 0},
        {"max_candidates": 1.5},
        {"tries_per_model": True},
        {"base_s": -1.0},
        {"cap_s": math.inf},
        {"max_wait_s": "5"},
    ],
)
def test_bad_policies_are_named(arguments: dict[str, Any]):
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        RetryPolicy(**arguments)


FAILURES = [
    *(failure_from_response(status) for status in (400, 401, 402, 403, 404, 408, 429, 500, 503)),
    failure_from_response(429, {"retry-after": "3"}),
    failure_from_response(503, {"retry-after": "300"}),
    SPENT,
    Failure.timeout(),
    Failure.connection(),
    Failure.invalid_response("no JSON"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(st.lists(st.sampled_from(FAILURES), max_size=30), max_size=6),
    tries=st.integers(1, 4),
)
def test_whatever_fails_a_request_ends(fixed_router: Any, runs: list[list[Failure]], tries: int):
    now = [0.0]
    dispatcher = Dispatcher(
        fixed_router({"small": 0.8, "medium": 0.85, "large": 0.9}),
        retry=RetryPolicy(tries_per_model=tries),
        clock=lambda: now[0],
        rng=Random(0),
    )
    for failures in runs:
        plan = dispatcher.plan({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]})
        waited, n = 0.0, 0
        for failure in failures:
            step = plan.next()
            if step is None:
                assert plan.failure is not None
                break
            n += 1
            waited += step.wait_s
            now[0] += step.wait_s
            plan.failed(failure)
        else:
            step = plan.next()
            if step is not None:
                plan.began()
                plan.finished()
        assert n <= 3 * tries
        assert waited <= 60.0
        record = plan.record()
        assert len(record.attempts) <= 3 * tries + 3
        json.dumps(record.to_dict())
