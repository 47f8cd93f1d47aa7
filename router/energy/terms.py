"""What the energy of one request is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from router.energy.architecture import Architecture
from router.energy.coefficients import Coefficients
from router.energy.entry import CatalogueEntry
from router.energy.formula import (
    REFERENCE_BATCH,
    completion_terms,
    gpus_needed,
    joules_per_completion_token,
    joules_per_prompt_token,
    prompt_terms,
    request_energy,
    serving_factor,
)
from router.energy.interval import EnergyInterval

__all__ = ["EnergyTerm", "Phase", "RequestBreakdown", "explain_request"]

Phase: TypeAlias = Literal["prefill", "decode"]
"""Reading the prompt, or writing the answer."""

_MEANING: Mapping[tuple[Phase, str], tuple[str, str]] = MappingProxyType(
    {
        ("prefill", "compute"): (
            "c_p A (1 + c_pm moe) n_in",
            "active parameters, a prompt token",
        ),
        ("prefill", "attention"): (
            "c_a 4 hidden layers n_in^2 / 2",
            "attention, quadratic in the prompt's length",
        ),
        ("decode", "weights"): ("c_w W(B) / B n_out", "reading the weights, shared by the batch"),
        ("decode", "layers"): ("c_l L / B n_out", "overhead of each layer, shared by the batch"),
        ("decode", "experts"): ("c_m L / B n_out", "overhead of experts, shared by the batch"),
        ("decode", "compute"): ("c_f A n_out", "active parameters, a completion token"),
        ("decode", "cache"): (
            "c_kv KV(ctx) n_out",
            "reading the key-value cache, grows with the context",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class EnergyTerm:
    """One part of a request's energy.

    Attributes
    ----------
    phase : {"prefill", "decode"}
        Reading the prompt, or writing the answer.
    name : str
        ``compute``, ``attention``, ``weights``, ``layers``, ``experts`` or ``cache``;
        ``tokens`` where only the joules per token are known.
    energy_j : float
        Joules of the request that it accounts for.
    formula : str
        The part of the formula; the serving factor and, for a measured model, the ratio of
        measurement to formula multiply it.
    meaning : str
        The same in words.
    """

    phase: Phase
    name: str
    energy_j: float
    formula: str
    meaning: str


@dataclass(frozen=True, slots=True)
class RequestBreakdown:
    """The energy of one request and what it is made of.

    Attributes
    ----------
    energy : EnergyInterval
        Joules of the request.
    terms : tuple of EnergyTerm
        Parts that sum to ``energy.value_j``; parts of no joules are left out.
    serving_factor : float or None
        S, what a serving engine takes on top of the bare kernels; contained in every term.
        None where the architecture is not known.
    gpus : int or None
        GPUs that the weights need.
    over_formula_prompt, over_formula_completion : float or None
        The catalogue's own joules per token over those of the formula at the reference
        request; contained in every term of its phase.
    """

    energy: EnergyInterval
    terms: tuple[EnergyTerm, ...]
    serving_factor: float | None
    gpus: int | None
    over_formula_prompt: float | None
    over_formula_completion: float | None


def explain_request(
    model: Architecture | CatalogueEntry,
    prompt_tokens: float,
    completion_tokens: float,
    batch: float = REFERENCE_BATCH,
) -> RequestBreakdown:
    """Return the energy of one request with the terms that it is made of.

    Parameters
    ----------
    model : Architecture or CatalogueEntry
        As for `request_energy`.
    prompt_tokens, completion_tokens : float
        Tokens of the prompt and of the answer.
    batch : float
        Requests decoded together.

    Raises
    ------
    ConfigError
        As `request_energy`.

    Examples
    --------
    >>> from router.energy import Catalogue
    >>> found = explain_request(Catalogue.default().find("Qwen3-32B"), 200, 300)
    >>> max(found.terms, key=lambda term: term.energy_j).name
    'weights'
    """
    energy = request_energy(model, prompt_tokens, completion_tokens, batch)
    architecture = model if isinstance(model, Architecture) else model.architecture
    if architecture is None:
        assert isinstance(model, CatalogueEntry)
        return RequestBreakdown(
            energy=energy,
            terms=_known_terms(model, prompt_tokens, completion_tokens),
            serving_factor=None,
            gpus=None,
            over_formula_prompt=None,
            over_formula_completion=None,
        )
    over_in = over_out = 1.0
    if isinstance(model, CatalogueEntry):
        over_in = model.joules_per_prompt_token / joules_per_prompt_token(architecture)
        over_out = model.joules_per_completion_token / joules_per_completion_token(architecture)
    parts: dict[Phase, tuple[dict[str, float], float]] = {
        "prefill": (prompt_terms(architecture, prompt_tokens, batch), prompt_tokens * over_in),
        "decode": (
            completion_terms(architecture, batch, prompt_tokens + completion_tokens / 2),
            completion_tokens * over_out,
        ),
    }
    fitted = Coefficients.default()
    weights_gb = fitted.bytes_of(architecture.precision) * architecture.total_parameters_b
    gpus = gpus_needed(weights_gb)
    return RequestBreakdown(
        energy=energy,
        terms=tuple(
            EnergyTerm(phase, name, joules * count, *_MEANING[phase, name])
            for phase, (terms, count) in parts.items()
            for name, joules in terms.items()
            if joules * count > 0
        ),
        serving_factor=serving_factor(gpus, architecture.mixture, batch, fitted),
        gpus=gpus,
        over_formula_prompt=over_in,
        over_formula_completion=over_out,
    )


def _known_terms(
    entry: CatalogueEntry, prompt_tokens: float, completion_tokens: float
) -> tuple[EnergyTerm, ...]:
    """Return the two terms of a model of which only the joules per token are known."""
    found: tuple[tuple[Phase, float, str], ...] = (
        ("prefill", prompt_tokens * entry.joules_per_prompt_token, "n_in e_in"),
        ("decode", completion_tokens * entry.joules_per_completion_token, "n_out e_out"),
    )
    return tuple(
        EnergyTerm(phase, "tokens", joules, formula, "joules per token as given")
        for phase, joules, formula in found
        if joules > 0
    )
