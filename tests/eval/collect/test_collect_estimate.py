from __future__ import annotations

import io

import pytest

from router.dispatch.usage import EnergyRates
from router.eval.collect.answers import Answer
from router.eval.collect.estimate import RequestForecast, estimate_collection
from router.eval.collect.progress import Progress
from router.eval.collect.settings import AskSettings
from router.eval.suites import SuitePrompt

LARGE, OWN = "llama-3.3-70b", "my-finetune"
PROMPTS = tuple(SuitePrompt(f"Question {i}?" * 10, f"p{i}") for i in range(100))


def settings(model: str, **fields: int) -> AskSettings:
    return AskSettings(model, model, "http://127.0.0.1:1/v1", **fields)  # type: ignore[arg-type]


def answers(n: int, tokens: int, latency_s: float) -> list[Answer]:
    return [
        Answer(LARGE, f"k{i}", f"p{i}", "", completion_tokens=tokens, latency_s=latency_s)
        for i in range(n)
    ]


def test_before_any_answer_the_interval_says_how_little_is_known():
    forecast = RequestForecast(EnergyRates({}))
    found = estimate_collection({LARGE: PROMPTS}, {LARGE: settings(LARGE)}, forecast)
    [model] = found.models
    assert (found.n_requests, model.observed, model.completion_tokens) == (100, False, 300.0)
    assert found.energy_j.basis == "assumed"
    assert found.energy_j.low_j < found.energy_j.value_j / 10
    assert found.energy_j.high_j > found.energy_j.value_j * 5, "2,048 tokens are allowed"


def test_answers_so_far_are_what_the_next_are_expected_to_be():
    forecast = RequestForecast(EnergyRates({}), answers(10, 50, 2.0))
    how = settings(LARGE, concurrency=5)
    found = estimate_collection({LARGE: PROMPTS}, {LARGE: how}, forecast)
    [model] = found.models
    assert (model.completion_tokens, model.observed) == (50.0, True)
    assert found.seconds == pytest.approx(100 * 2.0 / 5)
    assert found.energy_j.basis != "assumed"
    one = estimate_collection({LARGE: PROMPTS}, {LARGE: how}, forecast, one_at_a_time=True)
    assert one.seconds == pytest.approx(200.0)


def test_limits_of_minute_and_day_stretch_it():
    forecast = RequestForecast(EnergyRates({}), answers(10, 50, 0.01))
    how = {LARGE: settings(LARGE)}
    minute = estimate_collection({LARGE: PROMPTS}, how, forecast, per_minute=5)
    assert minute.seconds == pytest.approx(60 * (100 / 5 - 1))
    day = estimate_collection({LARGE: PROMPTS}, how, forecast, per_day=60, sent_today=30)
    assert (day.days, day.seconds) == (2.0, 2 * 86_400.0)
    own = {LARGE: settings(LARGE, requests_per_minute=10)}
    assert estimate_collection({LARGE: PROMPTS}, own, forecast).seconds == pytest.approx(540.0)


def test_an_unknown_model_has_no_made_up_energy():
    forecast = RequestForecast(EnergyRates({}))
    found = estimate_collection({OWN: PROMPTS}, {OWN: settings(OWN)}, forecast)
    assert found.unknown_energy == (OWN,)
    assert found.to_dict()["models"][0]["energy_j"] is None


def test_nothing_left_takes_nothing():
    forecast = RequestForecast(EnergyRates({}))
    found = estimate_collection({LARGE: ()}, {LARGE: settings(LARGE)}, forecast, per_day=1)
    assert (found.n_requests, found.seconds, found.energy_j.value_j) == (0, 0.0, 0.0)


def test_measured_energy_is_what_is_spent():
    forecast = RequestForecast(EnergyRates({}))
    how = settings(LARGE)
    answer = Answer(LARGE, "k", "p", "", prompt_tokens=10, completion_tokens=10)
    by_tokens = forecast.spent_j(answer, 0, how)
    assert by_tokens > 8
    metered = Answer(LARGE, "k", "p", "", energy_j=3.0, energy_basis="measured: 1 GPU")
    assert forecast.spent_j(metered, 0, how) == 3.0
    guessed = Answer(
        LARGE, "k", "p", "", prompt_tokens=10, completion_tokens=10,
        energy_j=3.0, energy_basis="estimated: codecarbon",
    )  # fmt: skip
    assert forecast.spent_j(guessed, 0, how) == by_tokens


def test_progress_tells_pace_and_rest():
    now, out = [0.0], io.StringIO()
    progress = Progress(out, clock=lambda: now[0])
    progress.begin({"a": 10, "b": 2})
    assert progress.eta_s() is None
    for i in range(1, 5):
        now[0] = float(i * 3)
        progress.finished("a", answered=i != 2)
    progress.finished("b", answered=True)
    progress.finished("b", answered=True)
    assert progress.eta_s() == pytest.approx(6 * 3.0)
    assert progress.line() == "6 of 12 (50 %), 1 without an answer, 18 s left"
    assert "of 12" in out.getvalue(), "a line every ten seconds"
    progress.dropped("a")
    assert progress.line().startswith("6 of 6 (100 %)")
    progress.finished("a", answered=True)
    assert progress.line().startswith("7 of 7 (100 %)")
