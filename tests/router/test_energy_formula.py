from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.energy import (
    Architecture,
    Catalogue,
    Coefficients,
    architectures,
    joules_per_completion_token,
    joules_per_prompt_token,
    request_energy,
)
from router.energy.formula import (
    attention_tflop_per_prompt_token,
    gpus_needed,
    kv_read_gb,
    serving_factor,
    weights_read_gb,
)
from router.errors import ConfigError

# Estimates published with the fit: joules per completion token at a mean context of 600,
# joules per prompt token of a prompt of 500, GPUs.
PUBLISHED = [
    ("Llama-3.2-1B", 0.0185, 0.00358, 1),
    ("Llama-3.1-8B", 0.1033, 0.02304, 1),
    ("Llama-3.3-70B", 0.7783, 0.20569, 4),
    ("Llama-3.1-405B", 2.6149, 1.19225, 8),
    ("Qwen3-32B", 0.3732, 0.09354, 1),
    ("Gemma-2-9B", 0.1513, 0.02651, 1),
    ("Gemma-3-27B", 0.361, 0.07845, 1),
    ("Phi-3-mini", 0.105, 0.01103, 1),
    ("Mixtral-8x22B", 1.5525, 0.22527, 8),
    ("Qwen3-30B-A3B", 0.3557, 0.01884, 1),
    ("gpt-oss-120b", 0.3454, 0.02904, 2),
    ("Llama-4-Maverick", 0.9332, 0.09904, 8),
    ("DeepSeek-R1", 3.0131, 0.21866, 16),
    ("Kimi-K2", 3.8618, 0.19172, 16),
    ("MiniMax-M2.5", 1.0875, 0.05719, 4),
    ("Nemotron-Nano-9B-v2", 0.0937, 0.02524, 1),
]
DENSE = Architecture(8.0, 8.0, 32, 32, 4096, 8, 128)
MIXTURE = Architecture(
    30.0, 3.0, 48, 48, 2048, 4, 128, experts=128, experts_per_token=8, expert_parameters_b=28.0
)


@pytest.mark.parametrize(("name", "e_out", "e_in", "gpus"), PUBLISHED)
def test_it_reproduces_the_published_estimates(
    name: str, e_out: float, e_in: float, gpus: int
) -> None:
    model = architectures()[name]
    assert joules_per_completion_token(model) == pytest.approx(e_out, abs=5.1e-5)
    assert joules_per_prompt_token(model) == pytest.approx(e_in, abs=5.1e-6)
    bytes_each = Coefficients.default().bytes_of(model.precision)
    assert gpus_needed(bytes_each * model.total_parameters_b) == gpus


def test_every_estimated_row_of_the_catalogue_is_the_formula() -> None:
    rows = Catalogue.default().entries
    estimated = [e for e in rows if e.source == "WattRoute energy formula"]
    assert len(estimated) >= 30
    for entry in estimated:
        assert entry.architecture is not None
        e_out = joules_per_completion_token(entry.architecture)
        assert e_out == pytest.approx(entry.joules_per_completion_token, abs=5.1e-5), entry.name
    for entry in rows:
        assert entry.architecture is not None
        e_in = joules_per_prompt_token(entry.architecture)
        assert e_in == pytest.approx(entry.joules_per_prompt_token, abs=5.1e-6), entry.name


@pytest.mark.parametrize(
    ("name", "prompt", "completion", "formula_j", "measured_j"),
    [
        ("Llama-3.3-70B", 200, 300, 268, 247),
        ("Qwen3-32B", 200, 300, 125, 110),
        ("DeepSeek-R1", 200, 3300, 10_100, 12_700),
    ],
)
def test_the_worked_examples(
    name: str, prompt: int, completion: int, formula_j: float, measured_j: float
) -> None:
    estimate = request_energy(architectures()[name], prompt, completion)
    assert estimate.value_j == pytest.approx(formula_j, rel=0.005)
    assert estimate.basis == "estimated"
    # the measured figure of the example is the answer alone
    entry = Catalogue.default().find(name)
    answer = completion * entry.joules_per_completion_token
    assert answer == pytest.approx(measured_j, rel=0.005)


def test_weights_of_a_dense_model_are_read_whole() -> None:
    assert weights_read_gb(DENSE, 1, 2) == weights_read_gb(DENSE, 64, 2) == 16


def test_a_large_batch_touches_nearly_every_expert() -> None:
    one = weights_read_gb(MIXTURE, 1, 2)
    assert one == pytest.approx(2 * (2 + 28 * 8 / 128))
    assert weights_read_gb(MIXTURE, 64, 2) == pytest.approx(2 * (2 + 28 * (1 - (15 / 16) ** 64)))
    assert weights_read_gb(MIXTURE, 10_000, 2) == pytest.approx(60)


def test_the_cache_of_grouped_heads_of_a_latent_and_of_windows() -> None:
    assert kv_read_gb(DENSE, 1000) == pytest.approx(2 * 8 * 128 * 2 * 32 * 1000 / 1e9)
    latent = Architecture(671, 37, 61, 61, 7168, 1, 576, kv_kind="mla")
    assert kv_read_gb(latent, 1000) == pytest.approx(576 * 2 * 61 * 1000 / 1e9)
    windows = Architecture(4, 4, 36, 36, 2560, 4, 256, sliding_window=512, full_attention_every=6)
    per_token = 2 * 4 * 256 * 2 / 1e9
    assert kv_read_gb(windows, 100) == pytest.approx(per_token * 36 * 100)
    assert kv_read_gb(windows, 2000) == pytest.approx(per_token * (6 * 2000 + 30 * 512))


def test_attention_is_quadratic_in_the_prompt() -> None:
    per_token = attention_tflop_per_prompt_token(DENSE, 1000)
    assert per_token == pytest.approx(4 * 4096 * 32 * 500 / 1e12)
    assert attention_tflop_per_prompt_token(DENSE, 2000) == pytest.approx(2 * per_token)


@pytest.mark.parametrize(
    ("weights_gb", "gpus"), [(0.1, 1), (66.6, 1), (66.7, 2), (141, 4), (406, 8), (671, 16)]
)
def test_gpus_are_the_smallest_power_of_two_that_holds_the_weights(
    weights_gb: float, gpus: int
) -> None:
    assert gpus_needed(weights_gb) == gpus


def test_the_serving_factor_at_the_reference() -> None:
    fitted = Coefficients.default()
    k = fitted.serving
    assert serving_factor(1, False, 64, fitted) == pytest.approx(math.exp(k["k0"]))
    assert serving_factor(8, True, 128, fitted) == pytest.approx(
        math.exp(k["k0"] + k["k_G"] * math.log(8) + k["k_moe"]) * 2 ** (k["k_B"] + k["k_moeB"])
    )


def test_fewer_bytes_per_weight_use_less_energy() -> None:
    joules = [joules_per_completion_token(DENSE, precision=p) for p in ("bfloat16", "fp8", "mxfp4")]
    assert joules == sorted(joules, reverse=True)


@given(st.floats(1, 512), st.floats(1, 512), st.floats(0, 1e5), st.floats(0, 1e5))
def test_more_batch_and_less_context_never_use_more_energy(
    batch: float, other: float, context: float, longer: float
) -> None:
    small, large = sorted((batch, other))
    near, far = sorted((context, longer))
    tolerance = 1 + 1e-9
    for model in (DENSE, MIXTURE):
        at_far = joules_per_completion_token(model, large, far)
        assert joules_per_completion_token(model, large, near) <= at_far * tolerance
        # A batch shares the weights; only the cache, paid per request, does not shrink.
        assert joules_per_completion_token(model, large, 0) <= (
            joules_per_completion_token(model, small, 0) * tolerance
        )


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1, 256))
def test_a_request_is_a_valid_interval(prompt: float, completion: float, batch: float) -> None:
    energy = request_energy(DENSE, prompt, completion, batch)
    assert 0 <= energy.low_j <= energy.value_j <= energy.high_j
    entry = Catalogue.default().find("Gemma-3-27B")
    assert request_energy(entry, prompt, completion).basis == "measured"


def test_an_entry_keeps_its_own_joules_at_the_reference_request() -> None:
    entry = Catalogue.default().find("Qwen3-8B")
    energy = request_energy(entry, 500, 200)
    expected = 500 * entry.joules_per_prompt_token + 200 * entry.joules_per_completion_token
    assert energy.value_j == pytest.approx(expected)
    assert energy.low_j == pytest.approx(expected * entry.low_factor)
    assert energy.high_j == pytest.approx(expected * entry.high_factor)


def test_a_long_answer_of_an_entry_costs_more_per_token() -> None:
    # 0.267 J per token measured on GPQA with 8,400 tokens an answer, 0.119 J on chat
    entry = Catalogue.default().find("Qwen3-8B")
    per_token = request_energy(entry, 250, 8366).value_j / 8366
    assert per_token == pytest.approx(0.267, rel=0.25)


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_bad_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match="batch"):
        request_energy(DENSE, 1, 1, bad)
    with pytest.raises(ConfigError, match="prompt_tokens"):
        request_energy(DENSE, bad, 1)
    with pytest.raises(ConfigError, match="completion_tokens"):
        request_energy(DENSE, 1, bad)
    with pytest.raises(ConfigError, match="context"):
        joules_per_completion_token(DENSE, context=bad)


def test_half_a_request_is_no_batch() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        joules_per_completion_token(DENSE, 0.5)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="bfloat16, fp8, mxfp4, got 'int4'"):
        joules_per_completion_token(DENSE, precision="int4")


@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Llama-3.1-70B", "Qwen2.5-14B", "GLM-4.5-Air"])
def test_parameters_alone_come_near_the_known_architecture(name: str) -> None:
    known = architectures()[name]
    typical = Architecture.from_parameters(known.total_parameters_b, known.active_parameters_b)
    assert typical.typical
    assert typical.mixture == known.mixture
    assert typical.precision == known.precision
    assert joules_per_completion_token(typical) == pytest.approx(
        joules_per_completion_token(known), rel=0.1
    )


def test_parameters_alone_are_as_good_as_the_readme_says() -> None:
    errors = []
    for known in architectures().values():
        typical = Architecture.from_parameters(
            known.total_parameters_b, known.active_parameters_b, precision=known.precision
        )
        ratio = joules_per_completion_token(typical) / joules_per_completion_token(known)
        errors.append(abs(math.log(ratio)))
    errors.sort()
    assert math.exp(errors[len(errors) // 2]) < 1.05
    assert math.exp(errors[int(0.85 * len(errors))]) < 1.3


def test_parameters_alone_give_a_wider_interval() -> None:
    known = request_energy(architectures()["Llama-3.1-8B"], 200, 300)
    typical = request_energy(Architecture.from_parameters(8.03), 200, 300)
    assert typical.basis == known.basis == "estimated"
    assert typical.low_j / typical.value_j < known.low_j / known.value_j
    assert typical.high_j / typical.value_j > known.high_j / known.value_j


def test_large_models_without_a_precision_are_taken_as_fp8() -> None:
    assert Architecture.from_parameters(405).precision == "fp8"
    assert Architecture.from_parameters(70).precision == "bfloat16"
    assert Architecture.from_parameters(70, precision="mxfp4").precision == "mxfp4"


@given(st.floats(0.01, 5000), st.floats(0.001, 1))
def test_any_parameters_give_a_usable_architecture(total: float, share: float) -> None:
    model = Architecture.from_parameters(total, total * share)
    assert model.expert_parameters_b <= total
    assert model.experts >= model.experts_per_token
    assert 0 < joules_per_completion_token(model) < math.inf
    assert 0 < joules_per_prompt_token(model) < math.inf


@pytest.mark.parametrize(
    ("total", "active"), [(0, None), (-1, None), (8, 9), (8, 0), (math.inf, None), (math.nan, None)]
)
def test_impossible_parameters_are_refused(total: float, active: float | None) -> None:
    with pytest.raises(ConfigError, match="active <= total"):
        Architecture.from_parameters(total, active)


def test_a_wrong_precision_is_refused_before_it_is_used() -> None:
    with pytest.raises(ConfigError, match="precision"):
        Architecture.from_parameters(8, precision="int4")
