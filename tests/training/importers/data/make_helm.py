"""Make helm/: two run folders of invented models, written with HELM's own classes.

Needs crfm-helm 0.5.16 (``pip install crfm-helm``), no network: ``python make_helm.py OUT``.
The files are written as ``helm.benchmark.runner`` writes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.augmentations.perturbation_description import PerturbationDescription
from helm.benchmark.metrics.metric import MetricSpec, PerInstanceStats
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.statistic import Stat
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.scenarios.scenario import (
    CORRECT_TAG,
    Input,
    Instance,
    Output,
    Reference,
    ScenarioSpec,
)
from helm.common.general import asdict_without_nones
from helm.common.request import GeneratedOutput, Request, RequestResult

QUESTIONS = (
    ("What is 2 + 3?", "5"),
    ("What is 10 + 7?", "17"),
    ("How many legs has a heron?", "2"),
)


def stats(right: bool, answer: str) -> list[Stat]:
    values = {
        "exact_match": right,
        "num_prompt_tokens": 9,
        "num_output_tokens": len(answer),
        "inference_runtime": 0.25,
    }
    return [Stat(MetricName(name, split="test")).add(value) for name, value in values.items()]


def main(out: Path) -> None:
    for model, answers in (
        ("invented/large", ("5", "17", "two")),
        ("invented/small", ("5", "16", "")),
    ):
        adapter = AdapterSpec(method="generation", model=model, model_deployment=model)
        spec = RunSpec(
            name=f"legs_and_sums:subject=mixed,model={model.replace('/', '_')}",
            scenario_spec=ScenarioSpec("invented.LegsAndSums", {}),
            adapter_spec=adapter,
            metric_specs=[MetricSpec("invented.ExactMatch", {})],
            groups=["legs_and_sums"],
        )
        states, per_instance = [], []
        for i, ((question, right), answer) in enumerate(zip(QUESTIONS, answers, strict=True)):
            for typos in (
                (None, PerturbationDescription("typos", robustness=True)) if i == 0 else (None,)
            ):
                text = question.lower() if typos else question
                instance = Instance(
                    Input(text),
                    [Reference(Output(right), [CORRECT_TAG])],
                    "test",
                    None,
                    f"id{i}",
                    typos,
                )
                request = Request(
                    model, model, prompt=f"Question: {text}\nAnswer:", temperature=0.0, max_tokens=8
                )
                result = RequestResult(
                    bool(answer), [], [GeneratedOutput(answer, 0.0, [])], False, 0.25
                )
                states.append(
                    RequestState(instance, None, None, 0, None, request, result, 0, False)
                )
                if answer:
                    per_instance.append(
                        PerInstanceStats(f"id{i}", typos, 0, stats(answer == right, answer))
                    )
        folder = out / spec.name.replace(":", "_").replace("=", "_")
        folder.mkdir(parents=True)
        for name, value in (
            ("run_spec", asdict_without_nones(spec)),
            ("scenario_state", asdict_without_nones(ScenarioState(adapter, states))),
            ("per_instance_stats", [asdict_without_nones(stat) for stat in per_instance]),
        ):
            (folder / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
