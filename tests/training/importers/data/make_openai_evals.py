"""Make openai_evals/: event logs of an invented eval, written by OpenAI evals' own recorder.

Needs evals 3.0.1.post1 (``pip install evals``), no network:
``OPENAI_API_KEY=none python make_openai_evals.py OUT``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evals.base import RunSpec
from evals.record import LocalRecorder, record_error, record_match, record_metrics, record_sampling

QUESTIONS = (
    ("What is 2 + 3?", "5"),
    ("What is 10 + 7?", "17"),
    ("How many legs has a heron?", "2"),
)


def main(out: Path) -> None:
    out.mkdir(parents=True)
    for model, answers in (
        ("invented-large", ("5", "17", None)),
        ("invented-small", ("5", "16", "four")),
    ):
        spec = RunSpec([model], "legs.dev.v0", "legs", "dev", {"max_samples": None}, "")
        recorder = LocalRecorder(str(out / f"{model}.jsonl"), spec)
        for i, ((question, right), answer) in enumerate(zip(QUESTIONS, answers, strict=True)):
            with recorder.as_default_recorder(f"legs.dev.{i}"):
                if answer is None:
                    record_error("the server is gone", RuntimeError("503"))
                    continue
                prompt = [
                    {"role": "system", "content": "Answer with a number."},
                    {"role": "user", "content": question},
                ]
                usage = {
                    "prompt_tokens": 21,
                    "completion_tokens": len(answer),
                    "total_tokens": 21 + len(answer),
                }
                record_sampling(
                    prompt=prompt, sampled=[answer], model=f"{model}-2026-01-01", usage=usage
                )
                record_match(answer == right, expected=right, picked=answer, sampled=answer)
                record_metrics(closeness=1.0 if answer == right else 0.25)
        recorder.flush_events()
        recorder.record_final_report({"accuracy": 0.5})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
