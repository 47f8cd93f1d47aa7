"""Make routerbench/*.pkl: a small invented table in RouterBench's layout, pickled by pandas.

``python make_pickles.py OUT PROTOCOL`` with pandas 1.5.3 and numpy 1.26 for the old layout,
with pandas 3.1 and numpy 2.4 for the new one.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

WIZARD, GPT = "WizardLM/WizardLM-13B-V1.2", "gpt-4-1106-preview"


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": ["astro.val.0", "astro.val.1", "clock.val.0", "mtbench.0"],
            "prompt": [
                "['Which planet of Zed is the largest?\\nA) Ab\\nB) Cd']",
                "['How far is \"Foo\" from Bar?']",
                "[\"It's 3 o'clock in Zürich: which hour follows?\"]",
                "['Write a haiku.', 'Now in French.']",
            ],
            "eval_name": ["astro", "astro", "clock", "mtbench"],
            WIZARD: [0.0, 1.0, 0.5, 0.1],
            GPT: [True, True, False, 1.0],
            f"{WIZARD}|model_response": ["['A']", "B", "\u00e9", "x"],
            f"{GPT}|model_response": ["['A']", "B", None, "y"],
            f"{WIZARD}|total_cost": [1e-5, 2e-5, 3e-5, np.nan],
            f"{GPT}|total_cost": [1e-3, 2e-3, 3e-3, 4e-3],
            "oracle_model_to_route_to": [GPT, GPT, WIZARD, "no_model_correct"],
        }
    )


if __name__ == "__main__":
    table().to_pickle(sys.argv[1], protocol=int(sys.argv[2]))
