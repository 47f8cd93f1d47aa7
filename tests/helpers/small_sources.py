"""Files of published releases, written by hand: as small as they can be."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["EMBEDLLM", "ROUTELLM", "STRONG", "WEAK", "llmrouterbench_file"]

EMBEDLLM = (
    "prompt_id,model_id,category_id,label,prompt,model_name,category\n"
    '0,3,1,1,"A?\nB?",org/a,mmlu\n0,4,1,0,"A?\nB?",org/b,mmlu\n7,3,2,1,C?,org/a,gsm8k\n'
)

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"
ROUTELLM = {
    "mmlu_anatomy.csv": f"prompt,{WEAK},{STRONG}\nWhat?,False,True\nWho?,True,True\n",
    "gsm8k_responses.csv": (
        f"prompt,{WEAK},{STRONG},{WEAK}_response,{STRONG}_response\nHow many?,False,True,x,y\n"
    ),
}


def llmrouterbench_file(**changes: Any) -> str:
    """Return a result file with three records, the last one without a score."""
    records = [
        {
            "index": i,
            "origin_query": f"q{i}",
            "prompt": f"Solve q{i}",
            "prompt_tokens": 12 if i else 0,
            "completion_tokens": 30 if i else 0,
            "cost": 0.25,
            "score": [0.0, 1.0, None][i],
            "prediction": "x",
            "ground_truth": "y",
            "raw_output": "",
        }
        for i in range(3)
    ]
    return json.dumps(
        {
            "performance": 0.5,
            "model_name": "org-m",
            "dataset_name": "aime",
            "split": "test",
            "demo": False,
            "records": records,
        }
        | changes
    )
