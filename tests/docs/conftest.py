"""Small files under the names that the documentation uses, and a server for its examples."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import docs_text
import fault_server as faults
import hub_server
import small_sources
from router.cli import main
from router.training import fitting

HERE = Path(__file__).parent
POOL = """
name = "mine"
runs = "runs.parquet"
[[model]]
run_name = "gemma-3-27b-it"
api_id = "gemma-3-27b"
catalogue = "Gemma-3-27B"
[[model]]
run_name = "llama-3.3-70b-instruct"
api_id = "llama-3.3-70b"
catalogue = "Llama-3.3-70B"
[[model]]
run_name = "mistral-small-3.1-24b-instruct"
api_id = "mistral-24b"
catalogue = "Mistral-Small-24B"
"""
IDS = {
    "gemma-3-27b-it": "gemma-3-27b",
    "llama-3.3-70b-instruct": "llama-3.3-70b",
    "mistral-small-3.1-24b-instruct": "mistral-24b",
}
MODELS = (*IDS, "my-finetune", "house-model")
NEW_MODEL = "gemma-3-12b"
KINDS = (
    ("math.sums", "Add {a} to {b}, take {c} away and give the number that comes out."),
    ("text.poems", "Describe the {x} and the {y} in a poem with {a} verses."),
    ("math.proofs", "Prove that no {x} of {a} pieces fits a {y} of {b} pieces."),
)
THINGS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "hammer")
# chance of a right answer: rows are kinds, columns are models, the new one last
CHANCE = np.array(
    [
        [0.95, 0.90, 0.30, 0.60, 0.5, 0.9],
        [0.10, 0.90, 0.95, 0.60, 0.5, 0.4],
        [0.05, 0.80, 0.05, 0.10, 0.5, 0.3],
    ]
)
N_PROMPTS = 90


# what mlflow.models.evaluate logs, with one grade
EVAL_TABLE = {
    "columns": ["inputs", "outputs", "correctness/v1/score"],
    "data": [["Why?", "So.", 1], ["How?", "Thus.", 0]],
}


IMPORTERS = HERE.parent / "training" / "importers"
# pages whose commands train, benchmark or serve
SLOW_PAGES = {
    "README.md",
    "docs/add-a-model.md",
    "docs/collect.md",
    "docs/import.md",
    "docs/mlflow.md",
    "docs/own-data.md",
    "docs/report.md",
    "docs/serving.md",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a `page` for each page, one that takes a `block` for each block."""
    runs = "start" in metafunc.fixturenames
    marked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "page" in metafunc.fixturenames and "page" not in marked:
        slow = SLOW_PAGES if runs else set()
        marks = {page: [pytest.mark.slow] if page in slow else [] for page in docs_text.PAGES}
        metafunc.parametrize("page", [pytest.param(p, marks=m) for p, m in marks.items()])
    if "block" in metafunc.fixturenames:
        blocks = [block for page in docs_text.PAGES for block in docs_text.blocks_of(page)]
        metafunc.parametrize("block", blocks, ids=lambda block: block.where)


def _runs(seed: int, n: int = N_PROMPTS) -> pd.DataFrame:
    """Return graded answers of all models to n prompts."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        kind = i % len(KINDS)
        a, b, c = rng.integers(2, 10_000, 3)
        x, y = rng.choice(THINGS, 2, replace=False)
        for j, model in enumerate((*MODELS, NEW_MODEL)):
            rows.append(
                {
                    "prompt": KINDS[kind][1].format(a=a, b=b, c=c, x=x, y=y),
                    "model": model,
                    "quality": float(rng.random() < CHANCE[kind, j]),
                    "prompt_tokens": 20.0,
                    "completion_tokens": float(rng.integers(20, 200) * (kind + 1)),
                    "task": KINDS[kind][0],
                }
            )
    return pd.DataFrame(rows)


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _log(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the log of a proxy that sent every prompt to some model, with grades."""
    lines: list[dict[str, Any]] = []
    for number, row in enumerate(runs[runs["model"].isin(IDS)].to_dict("records")):
        name = f"wr-{number}"
        decided = {
            "kind": "decision",
            "request_id": name,
            "model": IDS[row["model"]],
            "run_name": row["model"],
            "outcome": "answered",
            "probability": 0.7,
            "quality": 0.98,
            "novelty": (number % 50) / 50,
            "usage": {"prompt_tokens": 9, "completion_tokens": 30, "estimated": False},
            "latency_s": 0.25,
            "prompt": row["prompt"],
        }
        lines += [decided, {"kind": "feedback", "request_id": name, "quality": row["quality"]}]
    return lines


def _files_of_other_tools(folder: Path) -> None:
    """Put what other tools wrote where the page on importing has it."""
    samples = IMPORTERS / "data"
    for file in sorted((samples / "lm_eval").rglob("*")):
        if file.is_file() and "fruit" not in file.name:
            target = folder / "results" / file.parent.name / file.name.replace("tiny_sums", "gsm8k")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8")
            target.write_text(text.replace("tiny_sums", "gsm8k"), encoding="utf-8")
    once = shutil.ignore_patterns("epochs*")
    shutil.copytree(samples / "inspect", folder / "logs", ignore=once)
    shutil.copytree(samples / "openai_evals", folder / "evallogs")
    shutil.copytree(samples / "helm", folder / "benchmark_output" / "runs" / "my-suite")
    shutil.copy(samples / "routerbench" / "pandas_3.pkl", folder / "routerbench_0shot.pkl")
    texts = {
        f"RouteLLM/routellm/evals/mmlu/responses/{n}": t for n, t in small_sources.ROUTELLM.items()
    }
    texts["results/bench/aime-test-org-m.json"] = small_sources.llmrouterbench_file()
    texts["artifacts/eval_results_table.json"] = json.dumps(EVAL_TABLE)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "graded.csv").write_text("question,llm,score\nWhy?,small,4\nWhy?,large,9\n")
    (folder / "wide.csv").write_text("question,gpt-4,mixtral-8x7b\nWhy?,1,0\nHow?,1,1\n")


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs, pools, prompts, a log and a router trained on the runs."""
    folder = tmp_path_factory.mktemp("documentation")
    runs, new = _runs(0), _runs(1)
    known, new_model = runs["model"] != NEW_MODEL, runs["model"] == NEW_MODEL
    for name in ("runs", "fresh-runs"):
        (folder / name).mkdir()
    _runs(2).to_parquet(folder / "fresh-runs" / "graded.parquet", index=False)
    runs[known].to_parquet(folder / "runs.parquet", index=False)
    runs[known].to_json(folder / "runs" / "part.jsonl", orient="records", lines=True)
    runs[new_model].to_json(folder / "new-model.jsonl", orient="records", lines=True)
    for name in ("new-runs", "held-out"):
        new.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "pool.toml").write_text(POOL, encoding="utf-8")
    for name in ("zeroeval", "reasoning_gym_hard"):
        named = POOL.replace('"mine"', f'"{name}"')
        (folder / f"{name}.toml").write_text(named, encoding="utf-8")
    _files_of_other_tools(folder)
    sums = [(31 * i + 7, 3 * i + 1) for i in range(24)]
    _jsonl(
        folder / "prompts.jsonl",
        [{"prompt": f"What is {a} plus {b}?", "reference": a + b, "task": "sums"} for a, b in sums],
    )
    _jsonl(folder / "decisions.jsonl", _log(new))
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    (folder / "chat.json").write_text(json.dumps(chat), encoding="utf-8")
    (folder / "prompt.txt").write_text("What is 17 * 23?\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "_MAX_REPEATS", 1)
        words = "train runs.parquet --pool pool.toml --out my-router --splits 0 --no-tracking"
        done = CliRunner().invoke(main, [*words.split(), "--no-forecast"])
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def hub() -> Iterator[str]:
    """The address of a hub with the data sets that the pages name."""
    pickled = (IMPORTERS / "data" / "routerbench" / "pandas_3.pkl").read_bytes()
    data_sets = {
        "RZ412/EmbedLLM": {"test.csv": small_sources.EMBEDLLM.encode()},
        "withmartian/routerbench": {"routerbench_0shot.pkl": pickled},
    }
    with hub_server.HubServer(data_sets) as running:
        yield running.url


@pytest.fixture(scope="session")
def eval_table() -> Any:
    """The table that a run of an evaluation with MLflow has among its artifacts."""
    return EVAL_TABLE


@pytest.fixture
def upstream() -> Iterator[Any]:
    """A server that adds two numbers, wrong now and then, and answers JSON if asked to."""

    def reply(connection: Any, request: Any) -> None:
        numbers = re.findall(r"\d+", faults.last_text(request.body))
        text = f"The answer is {sum(map(int, numbers[:2])) + (len(request.body['model']) % 2)}."
        if "response_format" in request.body:
            text = '{"name": "Ulm"}'
        faults.answer(text)(connection, request)

    with faults.FaultServer(default=reply) as running:
        yield running
