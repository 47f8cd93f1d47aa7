from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from router.dispatch import CircuitBreaker
from router.errors import ConfigError


@pytest.fixture
def breaker(clock: Any) -> CircuitBreaker:
    return CircuitBreaker(threshold=3, cool_down_s=10.0, max_cool_down_s=35.0, clock=clock)


def trip(breaker: CircuitBreaker, model: str = "m") -> None:
    for _ in range(3):
        assert breaker.allow(model)
        breaker.failure(model)


def test_opens_at_the_threshold_for_one_model_only(breaker: CircuitBreaker):
    breaker.failure("m")
    breaker.failure("m")
    assert breaker.allow("m")
    breaker.failure("m")
    assert breaker.state("m") == "open"
    assert not breaker.allow("m")
    assert breaker.allow("other")


def test_only_consecutive_failures_count(breaker: CircuitBreaker):
    for _ in range(5):
        breaker.failure("m")
        breaker.failure("m")
        breaker.success("m")
    assert breaker.state("m") == "closed"


def test_one_probe_closes_it(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    clock.now += 10.0
    assert breaker.state("m") == "half-open"
    assert breaker.allow("m")
    assert not breaker.allow("m"), "one probe at a time"
    breaker.success("m")
    assert breaker.state("m") == "closed"
    assert breaker.allow("m")


def test_a_failed_probe_doubles_the_wait_up_to_the_longest(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    for wait_s in (10.0, 20.0, 35.0, 35.0):
        clock.now += wait_s - 0.1
        assert not breaker.allow("m")
        clock.now += 0.1
        assert breaker.allow("m")
        breaker.failure("m")


def test_a_released_probe_may_be_taken_again(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    clock.now += 10.0
    assert breaker.allow("m")
    breaker.release("m")
    assert breaker.allow("m")


def test_a_lost_probe_does_not_keep_it_open_for_ever(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    clock.now += 10.0
    assert breaker.allow("m")
    clock.now += 35.0
    assert breaker.allow("m")


def test_late_failures_do_not_lengthen_the_wait(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    clock.now += 9.0
    breaker.failure("m")  # sent before the circuit opened
    clock.now += 1.0
    assert breaker.allow("m")


def test_one_probe_among_threads(breaker: CircuitBreaker, clock: Any):
    trip(breaker)
    clock.now += 10.0
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: breaker.allow("m"), range(200)))
    assert sum(allowed) == 1


@pytest.mark.parametrize("arguments", [(0,), (1, 0.0), (1, 20.0, 10.0)])
def test_bad_arguments(arguments: tuple[Any, ...]):
    with pytest.raises(ConfigError, match="circuit breaker"):
        CircuitBreaker(*arguments)
