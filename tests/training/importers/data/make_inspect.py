"""Make inspect/: an invented task on mock models, evaluated and written by Inspect.

Needs inspect-ai 0.3.285 (``pip install inspect-ai``), no network:
``python make_inspect.py OUT``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, accuracy, includes, scorer
from inspect_ai.solver import generate, system_message

QUESTIONS = (
    ("What is 2 + 3?", "5"),
    ("What is 10 + 7?", "17"),
    ("How many legs has a heron?", "2"),
)


@scorer(metrics={"brevity": [accuracy()], "grade": [accuracy()]})
def graded():
    async def score(state, target):
        right = target.text in state.output.completion
        return Score(value={"brevity": 0.5, "grade": "P" if right else "N"})

    return score


def answers(*texts: str):
    for text in texts:
        output = ModelOutput.from_content(model="model", content=text)
        output.usage = ModelUsage(
            input_tokens=20, output_tokens=len(text), total_tokens=20 + len(text)
        )
        yield output


def task(epochs: int = 1) -> Task:
    samples = [Sample(input=q, target=a, id=f"q{i}") for i, (q, a) in enumerate(QUESTIONS)]
    solver = [system_message("Answer with a number."), generate()]
    return Task(
        samples, solver=solver, scorer=[includes(), graded()], epochs=epochs, name="legs_and_sums"
    )


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    right = ("5", "17", "2 legs")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # Inspect notes the working folder and its git
        for log, form, name, epochs, texts in (
            ("zip", "eval", "large", 1, right),
            ("json", "json", "small", 1, ("5", "16", "four")),
            ("epochs", "eval", "tiny", 2, ("5", "18", "2", "5", "17", "six")),
        ):
            model = get_model("mockllm/" + name, custom_outputs=list(answers(*texts)))
            (found,) = evaluate(
                task(epochs),
                model=model,
                log_dir=log,
                log_format=form,
                max_samples=1,
                display="none",
            )
            Path(found.location.removeprefix("file://")).rename(out / f"{log}.{form}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
