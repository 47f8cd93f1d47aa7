"""The measurements that the formula was fitted to and is validated with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from router.energy.architecture import Architecture, architectures
from router.energy.coefficients import Coefficients
from router.energy.csv_rows import read_csv_rows
from router.energy.formula import completion_terms, prompt_terms

__all__ = ["KernelMeasurement", "Measurement", "kernel_measurements", "measurements"]

_NUMBERS = (
    "gpus",
    "batch",
    "joules_per_completion_token",
    "completion_tokens",
    "inter_token_ms",
)
_KERNEL_NUMBERS = (
    "layers",
    "batch",
    "context",
    "joules_per_token",
    "total_parameters_b",
    "active_parameters_b",
)
_PROMPT_TOKENS = 300.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One configuration of a serving engine, measured under load.

    Attributes
    ----------
    model, hf_id : str
        Name in the catalogue and on Hugging Face.
    gpu : str
        Kind of GPU.
    gpus : float
        Number of them.
    task : str
        What was asked: ``chat``, ``gpqa`` or ``code-completion``.
    precision : str
        Precision of the weights.
    batch : float
        Requests decoded together at most.
    joules_per_completion_token : float
        GPU joules of the whole run over its completion tokens, prompts included.
    completion_tokens : float
        Mean tokens of an answer.
    inter_token_ms : float
        Median time between two tokens of an answer, milliseconds.
    date, source : str
        When it was published, and where.
    """

    model: str
    hf_id: str
    gpu: str
    gpus: float
    task: str
    precision: str
    batch: float
    joules_per_completion_token: float
    completion_tokens: float
    inter_token_ms: float
    date: str
    source: str

    def predict(self, coefficients: Coefficients | None = None) -> float:
        """Return the formula's joules per completion token for this configuration.

        The benchmark does not publish the length of its prompts: 300 tokens are assumed.
        """
        architecture = architectures()[self.model]
        completion = completion_terms(
            architecture,
            self.batch,
            _PROMPT_TOKENS + self.completion_tokens / 2,
            precision=self.precision,
            gpus=int(self.gpus),
            coefficients=coefficients,
        )
        prompt = prompt_terms(
            architecture,
            _PROMPT_TOKENS,
            self.batch,
            precision=self.precision,
            gpus=int(self.gpus),
            coefficients=coefficients,
        )
        shared = sum(prompt.values()) * _PROMPT_TOKENS / self.completion_tokens
        return sum(completion.values()) + shared


@dataclass(frozen=True, slots=True)
class KernelMeasurement:
    """One window of bare kernels, without a serving engine.

    Attributes
    ----------
    model : str
        Name in the catalogue of the architecture; its weights were random.
    layers : float
        Layers that were run: fewer than the model has where all would not fit.
    phase : {"prefill", "decode"}
        What was run.
    batch : float
        Sequences at once.
    context : float
        Tokens of the cache while decoding, tokens of each prompt in prefill.
    joules_per_token : float
        GPU joules a token.
    total_parameters_b, active_parameters_b : float
        Billions of parameters of the layers that were run.
    note : str
        How the kernels were started: ``graph`` or ``eager``.
    gpu, date, source : str
        Where, when and how it was measured.
    """

    model: str
    layers: float
    phase: str
    batch: float
    context: float
    joules_per_token: float
    total_parameters_b: float
    active_parameters_b: float
    note: str
    gpu: str
    date: str
    source: str

    def predict(self, coefficients: Coefficients | None = None) -> float:
        """Return the joules per token of the formula's inner terms, serving factor 1."""
        fitted = (coefficients or Coefficients.default()).without_serving()
        architecture = self._architecture()
        if self.phase == "decode":
            terms = completion_terms(
                architecture, self.batch, self.context, gpus=1, coefficients=fitted
            )
        else:
            terms = prompt_terms(
                architecture, self.context, self.batch, gpus=1, coefficients=fitted
            )
        return sum(terms.values())

    def _architecture(self) -> Architecture:
        whole = architectures()[self.model]
        share = self.layers / whole.layers
        return replace(
            whole,
            total_parameters_b=self.total_parameters_b,
            active_parameters_b=self.active_parameters_b,
            expert_parameters_b=whole.expert_parameters_b * share,
            layers=round(self.layers),
            attention_layers=round(whole.attention_layers * share),
            precision="bfloat16",
        )


@cache
def measurements() -> tuple[Measurement, ...]:
    """Return the measurements of serving engines, read once."""
    rows = read_csv_rows(_data("measurements.csv"), _NUMBERS)
    return tuple(Measurement(**row) for _, row in rows)  # type: ignore[arg-type]


@cache
def kernel_measurements() -> tuple[KernelMeasurement, ...]:
    """Return the measurements of bare kernels, read once."""
    rows = read_csv_rows(_data("kernel_measurements.csv"), _KERNEL_NUMBERS)
    return tuple(KernelMeasurement(**row) for _, row in rows)  # type: ignore[arg-type]


def _data(name: str) -> Path:
    return Path(__file__).with_name("data") / name
