from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

import fault_server as faults
from router.errors import UpstreamError
from router.eval.collect.collector import Collector
from router.eval.suites import SuitePrompt

SMALL, LARGE = "gemma-3-4b", "llama-3.3-70b"
Prompts = tuple[SuitePrompt, ...]


def asked(server: Any) -> Counter[tuple[str, str]]:
    return Counter((r.model, r.body["messages"][-1]["content"]) for r in server.chats)


def test_every_prompt_is_asked_of_every_model_once(bench: Any, server: Any, prompts: Prompts):
    collector = bench.collect(prompts, (SMALL, LARGE))
    assert asked(server) == {(m, p.prompt): 1 for m in (SMALL, LARGE) for p in prompts}
    answers = list(bench.stored().answers())
    assert {(a.model, a.key) for a in answers} == {
        (m, p.key) for m in (SMALL, LARGE) for p in prompts
    }
    assert all(
        (a.prompt_tokens, a.completion_tokens, a.finish_reason, a.tries) == (11, 7, "stop", 1)
        and a.latency_s > 0
        for a in answers
    )
    assert collector.n_asked == collector.n_answered == 40
    # and again: nothing is left
    again = bench.collect(prompts, (SMALL, LARGE))
    assert (again.n_asked, len(server.chats)) == (0, 40)


def test_sampling_and_limits_are_sent_as_given(bench: Any, server: Any, prompts: Prompts):
    how = bench.settings(
        SMALL, max_tokens=77, temperature=0.5, top_p=0.9, seed=None, repeat_penalty=1.1,
        system="Be brief.", extra={"min_p": 0},
    )  # fmt: skip
    bench.collect(prompts[:1], {SMALL: how})
    body = server.chats[0].body
    assert body == {
        "model": SMALL,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": prompts[0].prompt},
        ],
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "repeat_penalty": 1.1,
        "min_p": 0,
    }


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(500),
        faults.status(503),
        faults.status(429, headers={"retry-after": "0.01"}),
        faults.status(429),
        faults.close(),
        faults.reset(),
        faults.truncated(),
        faults.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        faults.status(200, {"choices": []}),
        faults.status(200, {"error": {"message": "no worker", "code": 503}}),
        faults.status(200, [1, 2]),
        faults.raw(b"\x00\xff not http"),
    ],
)
def test_what_passes_is_tried_again(bench: Any, server: Any, prompts: Prompts, fault: Any):
    server.script(*[fault] * 3)
    collector = bench.collect(prompts)
    assert (collector.n_answered, collector.n_asked) == (20, 23)
    assert not collector.dropped
    assert len(bench.stored().state.failures) == 3
    assert sum(a.tries for a in bench.stored().answers()) == 23


def test_a_server_that_says_nothing_times_out(make_bench: Any, server: Any, prompts: Prompts):
    bench = make_bench(timeout_s=0.3)
    server.script(faults.hang(20.0))
    collector = bench.collect(prompts[:4])
    assert collector.n_answered == 4
    assert [f.failure for f in bench.stored().state.failures] == ["timeout"]


def test_retry_after_holds_the_whole_model(bench: Any, server: Any, prompts: Prompts):
    server.script(faults.status(429, headers={"retry-after": "0.5"}))
    bench.collect(prompts)
    times = [r.time for r in server.chats]
    held = [t for t in times if times[0] + 0.15 < t < times[0] + 0.45]
    assert held == []
    assert len(times) == 21


def test_a_refused_key_stops_all(bench: Any, server: Any, prompts: Prompts):
    server.script(*[faults.answer("The answer is 1.")] * 5)
    server.always(faults.status(401, {"error": {"message": "bad key sk-abcdefghijkl"}}))
    with pytest.raises(UpstreamError, match="bad key") as caught:
        bench.collect(prompts, (SMALL, LARGE))
    assert "sk-abc" not in str(caught.value)
    assert len(server.chats) <= 5 + 8, "no more than were on their way"
    assert len(bench.stored().state.answers) == 5, "what was answered is kept"


def test_a_refused_model_is_left_out(bench: Any, server: Any, prompts: Prompts):
    denied = {"error": "model_access_denied", "message": "upgrade", "required_plan": "premium"}
    server.always(faults.status(403, denied), model=LARGE)
    collector = bench.collect(prompts, (SMALL, LARGE))
    assert collector.dropped == {LARGE: "HTTP 403: upgrade"}
    assert collector.n_answered == 20
    assert asked(server).total() <= 24
    assert f"{LARGE} is left out" in bench.shown.getvalue()


def test_a_used_up_day_ends_all_models_of_the_key(bench: Any, server: Any, prompts: Prompts):
    limit = {"error": "rate_limit_exceeded", "message": "daily limit", "daily_limit": 60}
    server.script(*[faults.answer("The answer is 1.")] * 6)
    server.always(faults.status(429, limit))
    collector = bench.collect(prompts, (SMALL, LARGE))
    assert set(collector.dropped) == {SMALL, LARGE}
    assert "day" in collector.dropped[SMALL]
    assert collector.n_answered == 6


def test_the_own_count_of_the_day_holds_over_restarts(
    make_bench: Any, server: Any, prompts: Prompts
):
    bench = make_bench(limits={"per_day": 12})
    first = bench.collect(prompts[:9])
    second = bench.collect(prompts[:9], (SMALL, LARGE))
    assert (first.n_asked, second.n_asked) == (9, 3)
    assert set(second.dropped) == {SMALL, LARGE}
    assert len(server.chats) == 12


def test_one_prompt_that_is_too_long_does_not_stop_the_others(
    bench: Any, server: Any, prompts: Prompts
):
    error = {"error": {"message": "too many tokens", "code": "context_length_exceeded"}}
    server.script(faults.status(400, error))
    collector = bench.collect(prompts)
    assert collector.n_answered == 19
    assert collector.unanswered == {(SMALL, "capability"): 1}
    assert not collector.dropped


def test_a_model_that_never_answers_is_left_out(bench: Any, server: Any, prompts: Prompts):
    server.always(faults.status(400), model=LARGE)
    collector = bench.collect(prompts, (SMALL, LARGE))
    assert collector.n_answered == 20
    assert "no answer to 3 prompts in a row" in collector.dropped[LARGE]


def test_no_server_at_all(tmp_path: Any, make_bench: Any, server: Any, prompts: Prompts):
    bench = make_bench()
    server.stop()
    collector = bench.collect(prompts)
    assert collector.n_answered == 0
    assert "connection" in collector.dropped[SMALL]


def test_requests_over_the_budget_are_not_sent(bench: Any, server: Any, prompts: Prompts):
    server.script(faults.status(500), faults.status(500))
    collector = bench.collect(prompts, (SMALL, LARGE), max_requests=11)
    assert len(server.chats) == 11, "failed ones count"
    assert collector.n_answered == 9
    more = bench.collect(prompts, (SMALL, LARGE), max_requests=11)
    assert more.stopped is not None
    assert len(server.chats) == 11
    keys = Counter(a.key for a in bench.stored().answers())
    assert sum(n == 2 for n in keys.values()) >= 3, "prompts get the answers of all models"


def test_energy_over_the_budget_is_not_spent(bench: Any, server: Any, prompts: Prompts):
    probe = bench.collect(prompts, (LARGE,), first=10)
    each = probe.spent_j / 10
    assert each > 7 * 0.8223, "the catalogue's joules per token, and the prompt's"
    collector = bench.collect(prompts, (LARGE,), max_energy_j=15.5 * each)
    assert collector.n_answered <= 5
    assert collector.spent_j <= 15.5 * each
    assert collector.n_answered >= 4, "lengths are known by now, so little is left over"


def test_no_more_at_a_time_than_allowed(bench: Any, server: Any, prompts: Prompts):
    running, most, lock = [0], [0], threading.Lock()

    def slow(connection: Any, request: Any) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        connection.json(200, faults.completion(request, "The answer is 1."))

    server.always(slow)
    bench.collect(prompts, {SMALL: bench.settings(SMALL, concurrency=3)})
    assert most[0] == 3


def test_cut_off_answers_and_reasoning_are_stored_as_such(
    bench: Any, server: Any, prompts: Prompts
):
    message = {"role": "assistant", "content": None, "reasoning_content": "Hmm \ud800"}
    usage = {"prompt_tokens": 3, "completion_tokens": 9}
    usage["completion_tokens_details"] = {"reasoning_tokens": 8}  # type: ignore[assignment]
    server.script(
        faults.answer(choices=[{"index": 0, "message": message, "finish_reason": "length"}],
                      usage=usage)
    )  # fmt: skip
    bench.collect(prompts[:1])
    [answer] = bench.stored().answers()
    assert (answer.text, answer.truncated, answer.reasoning_tokens) == ("", True, 8)
    assert answer.reasoning == "Hmm \ufffd"


def test_unknown_usage_stays_unknown(bench: Any, server: Any, prompts: Prompts):
    server.script(faults.answer("The answer is 1.", usage=None))
    bench.collect(prompts[:1])
    [answer] = bench.stored().answers()
    assert (answer.prompt_tokens, answer.completion_tokens) == (None, None)


def test_interrupted_work_is_stored(bench: Any, server: Any, prompts: Prompts):
    """What ctrl-c does: cancel the task in the middle."""
    server.script(*[faults.answer("The answer is 1.")] * 4)
    server.always(faults.hang(20.0))
    gather = Collector.ask_all

    async def cut_short(self: Collector, pairs: Any) -> None:
        task = asyncio.ensure_future(gather(self, pairs))
        await asyncio.sleep(0.5)
        task.cancel()
        await task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collector, "ask_all", cut_short)
        with pytest.raises(asyncio.CancelledError):
            bench.collect(prompts)
    assert len(bench.stored().state.answers) == 4


def test_metered_requests_run_one_at_a_time(make_bench: Any, server: Any, prompts: Prompts):
    class Meter:
        basis = "measured: test"
        open = False
        n = 0

        def begin(self) -> None:
            assert not self.open
            self.open = True

        def end(self) -> Any:
            from router.eval.measured_energy import MeteredEnergy

            assert self.open
            self.open = False
            self.n += 1
            return MeteredEnergy(2.5, self.basis) if self.n % 2 else None

    bench = make_bench(options={"meter": Meter()})
    bench.collect(prompts, (SMALL, LARGE))
    found = Counter((a.energy_j, a.energy_basis) for a in bench.stored().answers())
    assert found == {(2.5, "measured: test"): 20, (None, None): 20}
