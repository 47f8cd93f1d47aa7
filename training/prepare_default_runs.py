"""Build the compact table of default runs from the original figures, for the maintainer.

::

    python -m router.training.prepare_default_runs SOURCE_DIR
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import DataError
from router.training.default_runs import DATA_DIR, RUNS_FILE, TASKS_FILE

__all__ = ["main", "prepare_default_runs"]


def prepare_default_runs(source: Path, target: Path) -> None:
    """Write the project's table of default runs.

    Parameters
    ----------
    source : Path
        Folder with ``runs.parquet`` (task, index, prompt_sha256, model, quality,
        completion_tokens) and ``tasks.json``.
    target : Path
        Folder to write to: one row a prompt, its hash as 32 bytes, and two columns for each
        model. No text of a prompt.

    Raises
    ------
    DataError
        If a prompt has two hashes or two runs of one model, or a task is not described.
    """
    long = pd.read_parquet(source / "runs.parquet")
    described = json.loads((source / "tasks.json").read_text(encoding="utf-8"))
    place = {task["task"]: i for i, task in enumerate(described["tasks"])}
    unknown = sorted(set(long["task"].astype(str)) - place.keys())
    if unknown:
        raise DataError(f"tasks.json does not describe {', '.join(unknown)}")
    long["place"] = long["task"].astype(str).map(place).astype(int)
    long["model"] = long["model"].astype(str)
    key = ["place", "index"]
    prompts = long[[*key, "prompt_sha256"]].drop_duplicates().sort_values(key)
    if prompts.duplicated(key).any() or long.duplicated([*key, "model"]).any():
        raise DataError("a prompt has two hashes, or two runs of one model")
    index = pd.MultiIndex.from_frame(prompts[key])
    names = list(place)
    columns = {
        "task": pa.array([names[i] for i in prompts["place"]]).dictionary_encode(),
        "index": pa.array(prompts["index"].to_numpy(), pa.int16()),
        "sha256": pa.array(map(bytes.fromhex, prompts["prompt_sha256"]), pa.binary(32)),
    }
    for model, runs in long.groupby("model"):
        cells = runs.set_index(key).reindex(index)
        for name, kind in (("quality", pa.float32()), ("completion_tokens", pa.int32())):
            values = cells[name].to_numpy(dtype=float, na_value=np.nan)
            columns[f"{name}:{model}"] = pa.array(values, from_pandas=True).cast(kind)
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), target / RUNS_FILE, compression="zstd", compression_level=19)
    lines = ",\n".join(json.dumps(task) for task in described["tasks"])
    head = json.dumps({"package": described["package"], "version": described["version"]})
    text = f'{head[:-1]}, "tasks": [\n{lines}\n]}}\n'
    (target / TASKS_FILE).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line, without the program.
    """
    parser = argparse.ArgumentParser(
        prog="python -m router.training.prepare_default_runs",
        description="Build the compact table of default runs from the original figures.",
    )
    parser.add_argument("source", type=Path, help="folder with runs.parquet and tasks.json")
    parser.add_argument("--out", type=Path, default=DATA_DIR, help="folder to write to")
    options = parser.parse_args(arguments)
    prepare_default_runs(options.source, options.out)
    print(f"wrote {options.out / RUNS_FILE} and {options.out / TASKS_FILE}")


if __name__ == "__main__":
    main()
