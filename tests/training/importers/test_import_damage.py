"""Files of every format with something in them replaced: an error with its file, or runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from router.errors import DataError
from router.training.importers.run_import import ImportJob, run_import

WORSE = (
    None,
    True,
    -1,
    7,
    10**400,
    float("nan"),
    "",
    "x\ud800",
    [],
    {},
    [[]],
    [{}],
    {"a": []},
    "é",
)
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "lm-eval": ("lm_eval", {"metric": ("tiny_sums=exact_match,strict-match", "acc_norm")}),
    "inspect": ("inspect/json.json", {"metric": ("includes",)}),
    "openai-evals": ("openai_evals", {"metric": ("match",)}),
    "helm": ("helm", {}),
}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with every key or index."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in list(members):
        yield value, key
        if isinstance(member, dict | list) and member:
            yield from places(member)


def damage(path: Path, rng: Random) -> str:
    """Replace, remove or rename one thing in a file of JSON or JSON lines."""
    lines = path.suffix == ".jsonl"
    text = path.read_text(encoding="utf-8")
    values = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    where, key = rng.choice(
        [place for place in places(values) if not lines or place[0] is not values]
    )
    action = rng.choice(["replace", "replace", "replace", "remove", "cut"])
    if action == "remove":
        del where[key]
    else:
        where[key] = rng.choice(WORSE)
    text = "\n".join(map(json.dumps, values)) if lines else json.dumps(values)
    path.write_text(text[: rng.randrange(len(text))] if action == "cut" else text, encoding="utf-8")
    return f"{action} {key!r}"


def outcome(job: ImportJob) -> str | None:
    """Return the error of an import; anything but a `DataError` fails the test."""
    try:
        run_import(job)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_json(importing, data, tmp_path, form: str):
    name, options = FORMATS[form]
    outcomes = set()
    for seed in range(60):
        rng = Random(seed)
        copy = tmp_path / f"c{seed}"
        if (data / name).is_dir():
            shutil.copytree(data / name, copy)
            path = rng.choice(sorted(p for p in copy.rglob("*") if p.is_file()))
        else:
            copy.mkdir()
            path = Path(shutil.copy(data / name, copy))
        what = damage(path, rng)
        on_bad = rng.choice(["skip", "error"])
        said = outcome(importing.job(form, copy, on_bad=on_bad, **options))
        assert said is None or str(tmp_path) in said, f"seed {seed}, {what}: {said}"
        outcomes.add("runs" if said is None else "error")
        shutil.rmtree(copy)
    assert outcomes == {"runs", "error"}


def table(form: str) -> pd.DataFrame:
    n = 30
    common = {"prompt": [f"question {i}" for i in range(n)]}
    if form == "embedllm":
        more = {"prompt_id": range(n), "model_id": 1, "label": [i % 2 for i in range(n)]}
        return pd.DataFrame(common | more | {"model_name": "m", "category": "c"})
    if form == "routellm":
        return pd.DataFrame(common | {"weak": [True, False] * 15, "gpt-4-1106-preview": True})
    if form == "routerbench":
        more = {"sample_id": [f"s.{i}" for i in range(n)], "eval_name": "e", "m": 0.5}
        return pd.DataFrame(common | more | {"m|total_cost": 0.25})
    return pd.DataFrame(common | {"model": "m", "quality": 0.5})


@pytest.mark.parametrize(
    ("form", "suffix"),
    [(f, s) for f in ("csv", "embedllm", "routerbench") for s in ("csv", "parquet")]
    + [("routellm", "csv"), ("routerbench", "pkl"), ("csv", "csv.gz")],
)
def test_damaged_tables(importing, tmp_path, form: str, suffix: str):
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        table(form).to_parquet(path)
    elif suffix == "pkl":
        table(form).to_pickle(path)
    else:
        table(form).to_csv(path, index=False)
    whole = path.read_bytes()
    for seed in range(30):
        rng = Random(seed)
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path.write_bytes(broken[: rng.randrange(len(broken))] if seed % 4 == 0 else broken)
        said = outcome(importing.job(form, path, on_bad=rng.choice(["skip", "error"])))
        assert said is None or str(tmp_path) in said, f"seed {seed}: {said}"
