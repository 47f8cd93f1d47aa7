"""Make lm_eval/: two invented models on invented tasks, evaluated and written by lm-eval.

Needs lm-eval 0.4.13 (``pip install lm_eval``), no model and no network:
``python make_lm_eval.py OUT``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

SUMS = [
    {"question": f"What is {a} + {b}?", "answer": str(a + b)}
    for a, b in ((2, 3), (10, 7), (40, 2), (9, 9))
]
FRUIT = [
    {"question": "Which of these is yellow?", "options": ["A banana", "A plum"], "label": 0},
    {"question": "Which of these grows on a vine?", "options": ["A pear", "A grape"], "label": 1},
    {
        "question": "Which of these is the \u201cking\u201d of fruit?",
        "options": ["A durian", "A fig"],
        "label": 0,
    },
]
SUMS_TASK = """
task: tiny_sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
filter_list:
  - name: strict-match
    filter:
      - {{function: regex, regex_pattern: "^(\\\\d+)$"}}
      - {{function: take_first}}
  - name: flexible-extract
    filter:
      - {{function: regex, regex_pattern: "(\\\\d+)"}}
      - {{function: take_first}}
"""
FRUIT_TASK = """
task: tiny_fruit
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{options}}}}"
doc_to_target: label
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


class Invented(LM):
    """Adds well or badly, and prefers the first or the longer option."""

    def __init__(self, good: bool) -> None:
        super().__init__()
        self._good = good

    def generate_until(self, requests, disable_tqdm=False):
        answers = []
        for request in requests:
            a, b = (int(w.strip("?")) for w in request.args[0].split() if w.strip("?").isdigit())
            answers.append(
                str(a + b) if self._good else ("It is " if a < 10 else "") + str(a + b - b % 2)
            )
        return answers

    def loglikelihood(self, requests, disable_tqdm=False):
        return [(-float(len(r.args[1])) if self._good else -1.0 - r.idx, True) for r in requests]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, rows, task in (("sums", SUMS, SUMS_TASK), ("fruit", FRUIT, FRUIT_TASK)):
            data = Path(folder, f"{name}.jsonl")
            data.write_text("".join(json.dumps(row) + "\n" for row in rows))
            Path(folder, f"{name}.yaml").write_text(task.format(data=data))
        for name, good in (("invented/adder-7b", True), ("invented/adder-1b", False)):
            tracker = EvaluationTracker(output_path=str(out))
            tracker.general_config_tracker.log_experiment_args(
                "invented", f"pretrained={name}", None, None, False
            )
            results = simple_evaluate(
                Invented(good),
                tasks=["tiny_sums", "tiny_fruit"],
                task_manager=TaskManager(include_path=folder, include_defaults=False),
                log_samples=True,
                bootstrap_iters=0,
            )
            samples = results.pop("samples")
            for config in results["configs"].values():
                config["dataset_kwargs"] = {}  # these have the path of a temporary file
                config["metadata"].pop("config_source", None)
            results["config"] = {"model": "invented"}
            tracker.save_results_aggregated(results=results, samples=samples)
            for task, rows in samples.items():
                tracker.save_results_samples(task, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
