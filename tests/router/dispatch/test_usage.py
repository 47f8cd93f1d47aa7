from __future__ import annotations

from typing import Any

import pytest

from router.dispatch import Usage, usage_of
from router.dispatch.usage import EnergyRates
from router.pool import PoolModel

MODELS = {
    "a": PoolModel("a", "a", 0.1, 1.0, 0.5, 2.0, "measured"),
    "large": PoolModel("large", "large", 0.5, 5.0, 0.5, 2.0, "estimated"),
}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"usage": None},
        {"usage": {"prompt_tokens": 1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": -1}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": True}},
        {"usage": {"prompt_tokens": 1, "completion_tokens": "2"}},
    ],
)
def test_no_usage(body: object):
    assert usage_of(body) is None


def test_energy_from_usage():
    rates = EnergyRates(MODELS)
    energy = rates.energy_j("a", Usage(10, 20))
    assert energy is not None
    assert (energy.value_j, energy.low_j, energy.high_j) == (21.0, 10.5, 42.0)
    assert energy.basis == "measured"


def test_counted_tokens_make_it_assumed():
    energy = EnergyRates(MODELS).energy_j("a", Usage(10, 20, estimated=True))
    assert energy is not None
    assert (energy.value_j, energy.basis) == (21.0, "assumed")


def test_models_outside_the_pool():
    rates = EnergyRates({})
    energy = rates.energy_j("llama-3.3-70b", Usage(0, 100))
    assert energy is not None
    assert energy.value_j == pytest.approx(82.23)
    assert rates.energy_j("my-finetune", Usage(1, 1)) is None


def test_a_model_is_expected_to_answer_at_its_own_length(router: Any):
    decision = router.route("Hi")  # of "large" 300 tokens are expected, 30 J from 5 to 100
    expected = EnergyRates(MODELS).expected_j(decision, "large", 20)
    assert expected is not None
    assert expected.value_j == pytest.approx(20 * 0.5 + 300 * 5.0)
    assert expected.low_j / expected.value_j == pytest.approx(5.0 / 30.0)
    two = EnergyRates(MODELS).expected_j(decision, "large", 20, n=2)
    assert two is not None
    assert two.value_j == pytest.approx(20 * 0.5 + 2 * 300 * 5.0)
    known = EnergyRates({}).expected_j(decision, "large", 20)
    assert known == decision.candidates[-1].energy_j, "no rate: the decision's own expectation"
    assert EnergyRates(MODELS).expected_j(decision, "a", 20) is None
