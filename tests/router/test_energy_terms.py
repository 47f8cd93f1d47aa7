from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.energy import (
    Architecture,
    Catalogue,
    CatalogueEntry,
    architectures,
    explain_request,
    request_energy,
)
from router.energy.formula import completion_terms, gpus_needed, prompt_terms
from router.errors import ConfigError

NAMES = sorted(entry.name for entry in Catalogue.default())


@given(
    st.sampled_from(NAMES),
    st.integers(0, 100_000),
    st.integers(0, 50_000),
    st.floats(1, 4096, allow_nan=False),
)
def test_the_terms_sum_to_the_energy(
    name: str, prompt_tokens: int, completion_tokens: int, batch: float
) -> None:
    for model in (Catalogue.default().find(name), architectures()[name]):
        found = explain_request(model, prompt_tokens, completion_tokens, batch)
        assert found.energy == request_energy(model, prompt_tokens, completion_tokens, batch)
        total = sum(term.energy_j for term in found.terms)
        assert total == pytest.approx(found.energy.value_j, rel=1e-9, abs=1e-12)
        assert all(term.energy_j > 0 for term in found.terms)
        assert len({(term.phase, term.name) for term in found.terms}) == len(found.terms)


def by_name(model: str, *request: float) -> dict[tuple[str, str], float]:
    found = explain_request(architectures()[model], *request)
    return {(term.phase, term.name): term.energy_j for term in found.terms}


def test_attention_of_a_prompt_is_quadratic_and_the_rest_of_it_linear() -> None:
    short, long = by_name("Qwen3-32B", 1000, 0), by_name("Qwen3-32B", 2000, 0)
    assert long["prefill", "attention"] == pytest.approx(4 * short["prefill", "attention"])
    assert long["prefill", "compute"] == pytest.approx(2 * short["prefill", "compute"])
    assert ("decode", "weights") not in short


def test_the_batch_shares_the_weights_and_not_the_cache() -> None:
    model = architectures()["Qwen3-32B"]
    alone, together = completion_terms(model, 1), completion_terms(model, 64)
    shares = {name: alone[name] / together[name] for name in ("weights", "layers", "cache")}
    assert shares["weights"] == pytest.approx(shares["layers"])
    assert shares["weights"] == pytest.approx(64 * shares["cache"])


def test_only_a_mixture_pays_for_experts() -> None:
    assert ("decode", "experts") in by_name("Qwen3-30B-A3B", 100, 100)
    assert ("decode", "experts") not in by_name("Qwen3-32B", 100, 100)


def test_more_gpus_can_be_given() -> None:
    model = architectures()["Qwen3-32B"]
    few, many = completion_terms(model, gpus=1), completion_terms(model, gpus=8)
    assert sum(many.values()) > sum(few.values())
    assert prompt_terms(model, gpus=1) == prompt_terms(model)


def test_a_measurement_scales_its_own_phase() -> None:
    entry = Catalogue.default().find("Qwen3-30B-A3B")
    assert entry.architecture is not None
    measured = explain_request(entry, 200, 300)
    formula = explain_request(entry.architecture, 200, 300)
    ratio = measured.over_formula_completion
    assert ratio == pytest.approx(0.2218 / 0.3557, rel=1e-3)
    assert measured.over_formula_prompt == pytest.approx(1.0, abs=1e-3)
    for ours, theirs in zip(measured.terms, formula.terms, strict=True):
        scale = ratio if ours.phase == "decode" else measured.over_formula_prompt
        assert ours.energy_j == pytest.approx(scale * theirs.energy_j)
    assert formula.over_formula_completion == 1.0
    assert measured.gpus == gpus_needed(2 * 30.53)


def test_a_model_without_parameters_has_two_terms() -> None:
    entry = CatalogueEntry("X", 0.5, 0.1, 0.5, 2.0, "measured", "measured")
    found = explain_request(entry, 100, 10)
    assert [(t.phase, t.name, t.energy_j) for t in found.terms] == [
        ("prefill", "tokens", 10.0),
        ("decode", "tokens", 5.0),
    ]
    assert (found.serving_factor, found.gpus, found.over_formula_completion) == (None, None, None)
    assert [t.phase for t in explain_request(entry, 0, 10).terms] == ["decode"]
    with pytest.raises(ConfigError, match="batch 8"):
        explain_request(entry, 100, 10, 8)


@pytest.mark.parametrize("batch", [0, -1, float("nan"), float("inf"), 0.99])
def test_a_batch_that_cannot_be(batch: float) -> None:
    with pytest.raises(ConfigError, match="batch"):
        explain_request(architectures()["Qwen3-32B"], 1, 1, batch)


@pytest.mark.parametrize("tokens", [-1, float("nan"), float("inf")])
def test_tokens_that_cannot_be(tokens: float) -> None:
    model = Architecture.from_parameters(8)
    with pytest.raises(ConfigError, match="prompt_tokens"):
        explain_request(model, tokens, 1)
    with pytest.raises(ConfigError, match="completion_tokens"):
        explain_request(model, 1, tokens)


def test_another_batch_widens_the_interval_and_weakens_the_basis() -> None:
    entry = Catalogue.default().find("Qwen3-32B")
    widths = []
    for batch in (64, 128, 32, 8, 1):
        energy = request_energy(entry, 200, 300, batch)
        widths.append((energy.low_j / energy.value_j, energy.high_j / energy.value_j))
        assert energy.basis == ("measured" if batch == 64 else "estimated")
    assert widths[0] == pytest.approx((0.769, 1.3))
    assert widths[1] == pytest.approx((0.769 * 0.855, 1.3 * 1.17))
    assert widths[1] == pytest.approx(widths[2])
    assert widths[3] == pytest.approx((0.769 * 0.855**3, 1.3 * 1.17**3))
    assert widths[4][1] > 3


def test_an_assumed_basis_stays_assumed_at_another_batch() -> None:
    model = Architecture.from_parameters(8)
    entry = CatalogueEntry("X", 0.1, 0.02, 0.5, 2.0, "assumed", "assumed", architecture=model)
    assert request_energy(entry, 10, 10, 8).basis == "assumed"
