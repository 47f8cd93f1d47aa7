from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.eval.collect.limits import DayLimitError, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def taken(limiter: RateLimiter, n: int) -> list[float]:
    async def run() -> list[float]:
        return [await limiter.take() for _ in range(n)]

    return asyncio.run(run())


@given(
    st.integers(1, 7),
    st.lists(st.floats(0, 200), max_size=10),
    st.lists(st.floats(0, 20), min_size=1, max_size=40),
)
def test_no_minute_has_more_than_its_limit(limit: int, ago: list[float], pauses: list[float]):
    clock = Clock()
    earlier = [clock.now - seconds for seconds in ago]
    limiter = RateLimiter(limit, earlier=earlier, clock=clock, sleep=clock.sleep)

    async def run() -> list[float]:
        times = []
        for pause in pauses:
            clock.now += pause
            times.append(await limiter.take())
        return times

    times = asyncio.run(run())
    assert times == sorted(times)
    for at in times:
        assert sum(at - 60.0 < t <= at for t in times) <= limit
    # what was sent before the start counts as far as it can be helped
    own = [t for t in times if t < 1_000_000.0 + 60.0]
    for at in own:
        n_earlier = sum(at - 60.0 < t <= at for t in earlier)
        assert n_earlier + sum(at - 60.0 < t <= at for t in own) <= max(limit, n_earlier)


def test_without_limits_nothing_waits():
    clock = Clock()
    assert taken(RateLimiter(clock=clock, sleep=clock.sleep), 100) == [clock.now] * 100
    assert clock.slept == []


def test_a_used_up_day_says_for_how_long():
    clock = Clock()
    limiter = RateLimiter(None, 3, earlier=[clock.now - 80_000.0], clock=clock, sleep=clock.sleep)
    taken(limiter, 2)
    with pytest.raises(DayLimitError) as caught:
        taken(limiter, 1)
    assert caught.value.wait_s == pytest.approx(6_400.0)


def test_a_short_rest_of_the_day_is_waited_for():
    clock = Clock()
    limiter = RateLimiter(None, 1, earlier=[clock.now - 86_000.0], clock=clock, sleep=clock.sleep)
    assert taken(limiter, 1) == [1_000_400.0]


def test_requests_of_a_clock_that_was_set_back_count_as_now():
    clock = Clock()
    limiter = RateLimiter(1, earlier=[clock.now + 1e6], clock=clock, sleep=clock.sleep)
    assert taken(limiter, 1) == [1_000_060.0]


def test_a_pause_holds_everyone():
    clock = Clock()
    limiter = RateLimiter(clock=clock, sleep=clock.sleep)
    limiter.pause(5.0)
    limiter.pause(2.0)
    assert taken(limiter, 2) == [1_000_005.0] * 2


def test_turns_come_in_the_order_of_the_calls():
    clock = Clock()
    limiter = RateLimiter(2, clock=clock, sleep=clock.sleep)
    order: list[int] = []

    async def one(i: int) -> None:
        await limiter.take()
        order.append(i)

    async def run() -> None:
        await asyncio.gather(*(one(i) for i in range(9)))

    asyncio.run(run())
    assert order == list(range(9))
    assert clock.slept == [60.0] * 4
