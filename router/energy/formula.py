"""Energy per token of an open model from its architecture.

::

    E_request = n_in * e_in + n_out * e_out
    e_out = S * { [ c_w*W(B) + c_l*L/100 + c_m*moe*L/100 ] / B  +  c_f*A  +  c_kv*KV(ctx) }
    e_in  = S * { c_p*A*(1 + c_pm*moe)  +  c_a*T_attn }
    S     = exp(k0 + k_G ln G + k_moe moe + k_B ln(B/64) + k_moeB moe ln(B/64))

Each term is one function below. The coefficients, where they come from and how well the
formula does are in ``data/README.md`` beside this module. GPU joules on H100 80 GB.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from router.energy.architecture import Architecture
from router.energy.coefficients import Coefficients
from router.energy.interval import Basis, EnergyInterval, weakest_basis
from router.errors import ConfigError

if TYPE_CHECKING:
    from router.energy.entry import CatalogueEntry

__all__ = [
    "REFERENCE_BATCH",
    "REFERENCE_CONTEXT",
    "REFERENCE_PROMPT_TOKENS",
    "attention_tflop_per_prompt_token",
    "completion_terms",
    "gpus_needed",
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "kv_read_gb",
    "prompt_terms",
    "request_energy",
    "serving_factor",
    "weights_read_gb",
]

REFERENCE_BATCH = 64
"""Requests decoded together at the operating point of every shipped figure."""
REFERENCE_PROMPT_TOKENS = 500
"""Prompt tokens of the reference request, which decodes 200 tokens."""
REFERENCE_CONTEXT = 600
"""Mean context of the reference request in tokens: the prompt and half of the answer."""

_KV_BYTES = 2
_GPU_GB = 80
_MEMORY_HEADROOM = 1.2


def gpus_needed(weights_gb: float) -> int:
    """Return G, the smallest power of two of GPUs whose 80 GB each hold 1.2 x the weights."""
    return 1 << max(0, math.ceil(math.log2(_MEMORY_HEADROOM * weights_gb / _GPU_GB)))


def weights_read_gb(architecture: Architecture, batch: float, bytes_per_parameter: float) -> float:
    """Return W(B), GB of weights read in one decode step of `batch` requests.

    Dense weights are read once. Of the experts that part is read which at least one of the
    requests uses, if each request picks its experts at random.
    """
    experts_b = architecture.expert_parameters_b
    touched = 0.0
    if architecture.mixture:
        unused = 1 - architecture.experts_per_token / architecture.experts
        touched = 1 - unused**batch
    dense_b = architecture.total_parameters_b - experts_b
    return bytes_per_parameter * (dense_b + experts_b * touched)


def kv_read_gb(architecture: Architecture, context: float) -> float:
    """Return KV(ctx), GB of key-value cache read for one token at `context` tokens."""
    halves = 1 if architecture.kv_kind == "mla" else 2
    bytes_per_token = halves * architecture.kv_heads * architecture.head_dim * _KV_BYTES
    layers: float = architecture.attention_layers
    if architecture.sliding_window is None:
        return bytes_per_token * layers * context / 1e9
    full = layers / architecture.full_attention_every
    windowed = (layers - full) * min(context, architecture.sliding_window)
    return bytes_per_token * (full * context + windowed) / 1e9


def attention_tflop_per_prompt_token(architecture: Architecture, prompt_tokens: float) -> float:
    """Return T_attn, attention TFLOP per prompt token; a prompt's total is quadratic."""
    mean_context = prompt_tokens / 2
    return 4 * architecture.hidden * architecture.attention_layers * mean_context / 1e12


def serving_factor(gpus: int, mixture: bool, batch: float, coefficients: Coefficients) -> float:
    """Return S, what a serving engine takes on top of the bare kernels."""
    k = coefficients.serving
    growth = math.log(batch / REFERENCE_BATCH)
    exponent = k["k0"] + k["k_G"] * math.log(gpus) + k["k_B"] * growth
    if mixture:
        exponent += k["k_moe"] + k["k_moeB"] * growth
    return math.exp(exponent)


def completion_terms(
    architecture: Architecture,
    batch: float = REFERENCE_BATCH,
    context: float = REFERENCE_CONTEXT,
    *,
    precision: str | None = None,
    gpus: int | None = None,
    coefficients: Coefficients | None = None,
) -> dict[str, float]:
    """Return the terms of e_out, joules of one decoded token by what they go into.

    Parameters
    ----------
    architecture, batch, context, precision, coefficients
        As for `joules_per_completion_token`.
    gpus : int, optional
        GPUs that serve the model; as few as hold its weights when not given.

    Returns
    -------
    dict of str to float
        ``weights``, ``layers`` and ``experts`` are paid once a decode step and shared by the
        batch; ``compute`` and ``cache`` are each token's own. Every term holds the serving
        factor, so they sum to e_out.

    Raises
    ------
    ConfigError
        If batch, context or precision is not valid.
    """
    _check(batch=batch, context=context)
    fitted = coefficients or Coefficients.default()
    c, s = fitted.gpu, _serving(architecture, batch, precision, gpus, fitted)
    width = fitted.bytes_of(precision or architecture.precision)
    shared = s / batch
    return {
        "weights": shared * c["c_w"] * weights_read_gb(architecture, batch, width),
        "layers": shared * c["c_l"] * architecture.layers / 100,
        "experts": shared * c["c_m"] * architecture.mixture * architecture.layers / 100,
        "compute": s * c["c_f"] * architecture.active_parameters_b,
        "cache": s * c["c_kv"] * kv_read_gb(architecture, context),
    }


def prompt_terms(
    architecture: Architecture,
    prompt_tokens: float = REFERENCE_PROMPT_TOKENS,
    batch: float = REFERENCE_BATCH,
    *,
    precision: str | None = None,
    gpus: int | None = None,
    coefficients: Coefficients | None = None,
) -> dict[str, float]:
    """Return the terms of e_in, joules of one prompt token by what they go into.

    Parameters
    ----------
    architecture, prompt_tokens, batch, precision, coefficients
        As for `joules_per_prompt_token`.
    gpus : int, optional
        As for `completion_terms`.

    Returns
    -------
    dict of str to float
        ``compute``, and ``attention``, which makes a prompt's total quadratic in its length.
        Every term holds the serving factor, so they sum to e_in.

    Raises
    ------
    ConfigError
        If batch, prompt length or precision is not valid.
    """
    _check(batch=batch, prompt_tokens=prompt_tokens)
    fitted = coefficients or Coefficients.default()
    c, s = fitted.gpu, _serving(architecture, batch, precision, gpus, fitted)
    mixing = 1 + c["c_pm"] * architecture.mixture
    return {
        "compute": s * c["c_p"] * architecture.active_parameters_b * mixing,
        "attention": s * c["c_a"] * attention_tflop_per_prompt_token(architecture, prompt_tokens),
    }


def _serving(
    architecture: Architecture,
    batch: float,
    precision: str | None,
    gpus: int | None,
    coefficients: Coefficients,
) -> float:
    if gpus is None:
        width = coefficients.bytes_of(precision or architecture.precision)
        gpus = gpus_needed(width * architecture.total_parameters_b)
    return serving_factor(gpus, architecture.mixture, batch, coefficients)


def joules_per_completion_token(
    architecture: Architecture,
    batch: float = REFERENCE_BATCH,
    context: float = REFERENCE_CONTEXT,
    *,
    precision: str | None = None,
    coefficients: Coefficients | None = None,
) -> float:
    """Return e_out, joules of one decoded token.

    Parameters
    ----------
    architecture : Architecture
        The model.
    batch : float
        Requests decoded together, at least 1.
    context : float
        Mean tokens in the context while decoding: the prompt and half of the answer.
    precision : str, optional
        Precision of the weights; the architecture's own when not given.
    coefficients : Coefficients, optional
        Others than the shipped ones.

    Raises
    ------
    ConfigError
        If batch, context or precision is not valid.

    Examples
    --------
    >>> from router.energy import architectures
    >>> round(joules_per_completion_token(architectures()["Llama-3.1-8B"]), 4)
    0.1033
    """
    return sum(
        completion_terms(
            architecture, batch, context, precision=precision, coefficients=coefficients
        ).values()
    )


def joules_per_prompt_token(
    architecture: Architecture,
    prompt_tokens: float = REFERENCE_PROMPT_TOKENS,
    batch: float = REFERENCE_BATCH,
    *,
    precision: str | None = None,
    coefficients: Coefficients | None = None,
) -> float:
    """Return e_in, joules of one token of a prompt of `prompt_tokens`.

    Parameters are those of `joules_per_completion_token`.

    Raises
    ------
    ConfigError
        If batch, prompt length or precision is not valid.

    Examples
    --------
    >>> from router.energy import architectures
    >>> round(joules_per_prompt_token(architectures()["Llama-3.1-8B"]), 4)
    0.023
    """
    return sum(
        prompt_terms(
            architecture, prompt_tokens, batch, precision=precision, coefficients=coefficients
        ).values()
    )


def request_energy(
    model: Architecture | CatalogueEntry,
    prompt_tokens: float,
    completion_tokens: float,
    batch: float = REFERENCE_BATCH,
) -> EnergyInterval:
    """Return the energy of one request.

    Parameters
    ----------
    model : Architecture or CatalogueEntry
        An architecture goes through the formula. A catalogue entry keeps its own joules per
        token, and the formula only adds how they change with context, prompt length and
        batch away from the reference request.
    prompt_tokens, completion_tokens : float
        Tokens of the prompt and of the answer.
    batch : float
        Requests decoded together.

    Returns
    -------
    EnergyInterval
        Joules at the operating point H100 80 GB, `batch` requests together. The interval
        widens with every doubling or halving of the batch away from the reference, where a
        measured model's figure is an estimate.

    Raises
    ------
    ConfigError
        If a number is not valid, or another batch is asked of an entry whose architecture
        is not known.

    Examples
    --------
    >>> from router.energy import architectures
    >>> round(request_energy(architectures()["Qwen3-32B"], 200, 300).value_j)
    125
    """
    _check(batch=batch, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    architecture = model if isinstance(model, Architecture) else model.architecture
    e_in = e_out = 1.0
    if architecture is not None:
        context = prompt_tokens + completion_tokens / 2
        e_out = joules_per_completion_token(architecture, batch, context)
        e_in = joules_per_prompt_token(architecture, prompt_tokens, batch)
    if isinstance(model, Architecture):
        kind = "typical" if model.typical else "estimated"
        low, high = Coefficients.default().uncertainty[kind]
        joules = prompt_tokens * e_in + completion_tokens * e_out
        return _interval(joules, low, high, "estimated", batch)
    if architecture is not None:
        e_out /= joules_per_completion_token(architecture)
        e_in /= joules_per_prompt_token(architecture)
    elif batch != REFERENCE_BATCH:
        raise ConfigError(
            f"{model.name}: its energy at batch {batch:g} needs its parameters in the catalogue"
        )
    joules = prompt_tokens * e_in * model.joules_per_prompt_token
    joules += completion_tokens * e_out * model.joules_per_completion_token
    # a measurement that the formula has moved to another batch is an estimate
    basis = model.basis if batch == REFERENCE_BATCH else weakest_basis(model.basis, "estimated")
    return _interval(joules, model.low_factor, model.high_factor, basis, batch)


def _interval(joules: float, low: float, high: float, basis: Basis, batch: float) -> EnergyInterval:
    """Return the interval, wider the further the batch is from the reference."""
    doublings = abs(math.log2(batch / REFERENCE_BATCH))
    narrow, wide = Coefficients.default().uncertainty["batch_doubling"]
    low, high = low * narrow**doublings, high * wide**doublings
    if not math.isfinite(joules * high):
        raise ConfigError("the energy is too large for a number: check tokens and joules per token")
    return EnergyInterval.from_factor(joules, high, basis, low_factor=low)


def _check(batch: float, **tokens: float) -> None:
    if not (math.isfinite(batch) and batch >= 1):
        raise ConfigError(f"batch must be a finite number of at least 1, got {batch}")
    for name, count in tokens.items():
        if not (math.isfinite(count) and count >= 0):
            raise ConfigError(f"{name} must be finite and not negative, got {count}")
