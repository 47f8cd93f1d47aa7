"""The committed samples against what the installed tools write now.

Where an interpreter with a tool is named (``WATTROUTE_LM_EVAL_PYTHON``,
``WATTROUTE_INSPECT_PYTHON``, ``WATTROUTE_HELM_PYTHON``, ``WATTROUTE_OPENAI_EVALS_PYTHON``,
``WATTROUTE_PICKLES_PYTHON``), its samples are made anew and must import to the same runs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
TOOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lm_eval": (
        "lm-eval",
        {"metric": ("tiny_sums=exact_match,strict-match", "tiny_fruit=acc_norm")},
    ),
    "inspect": ("inspect", {"metric": ("includes",), "repeats": "mean"}),
    "helm": ("helm", {}),
    "openai_evals": ("openai-evals", {"metric": ("match",)}),
    "pickles": ("routerbench", {}),
}
PYTHONS = {
    tool: python for tool in TOOLS if (python := os.environ.get(f"WATTROUTE_{tool.upper()}_PYTHON"))
}


def test_every_sample_has_its_maker():
    made = {path.stem.removeprefix("make_") for path in DATA.glob("make_*.py")}
    assert made == set(TOOLS)
    folders = {path.name for path in DATA.iterdir() if path.is_dir() and "__" not in path.name}
    assert folders == set(TOOLS) - {"pickles"} | {"routerbench"}


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = [{k: v for k, v in row.items() if k != "latency_s"} for row in rows]
    return sorted(kept, key=lambda row: (row["model"], row["prompt_id"]))


if PYTHONS:

    @pytest.mark.slow
    @pytest.mark.parametrize("tool", PYTHONS)
    def test_new_samples_import_to_the_same_runs(importing, tmp_path, tool: str):
        made, kept = tmp_path / "made", DATA / tool
        words = [str(made)]
        if tool == "pickles":
            made, kept = tmp_path / "made.pkl", DATA / "routerbench" / "pandas_3.pkl"
            words = [str(made), "4"]
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path / "hf"),
            "OPENAI_API_KEY": "none",
        }
        subprocess.run(
            [PYTHONS[tool], str(DATA / f"make_{tool}.py"), *words],
            check=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
        )
        form, options = TOOLS[tool]
        new, old = (importing.rows(form, path, **options) for path in (made, kept))
        assert without_time(new) == without_time(old)
