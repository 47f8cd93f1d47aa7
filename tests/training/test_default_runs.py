import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from router.errors import ConfigError, DataError, MissingExtraError
from router.training import regenerate as regenerate_module
from router.training.default_runs import (
    DATA_DIR,
    RUNS_FILE,
    TASKS_FILE,
    DefaultRuns,
    load_default_runs,
)
from router.training.prepare_default_runs import prepare_default_runs
from router.training.regenerate import NEEDS_PYCOSAT, read_cache, regenerate, write_cache

QUICK = ("easy/gcd", "hard/ab", "easy/leg_counting")


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """The figures of a few quick tasks."""
    folder = tmp_path / "figures"
    folder.mkdir()
    table = pq.read_table(DATA_DIR / RUNS_FILE).to_pandas()
    _write_table(folder, table[table["task"].isin(QUICK)])
    described = json.loads((DATA_DIR / TASKS_FILE).read_text())
    described["tasks"] = [task for task in described["tasks"] if task["task"] in QUICK]
    (folder / TASKS_FILE).write_text(json.dumps(described))
    return folder


def _write_table(folder: Path, table: pd.DataFrame) -> None:
    columns = {name: pa.array(values.tolist()) for name, values in table.items()}
    pq.write_table(pa.table(columns), folder / RUNS_FILE)


def _load(figures: Path, **kwargs: Any) -> DefaultRuns:
    cache = figures.parent / "cache"
    options = {"n_jobs": 1, "progress": False, "cache_dir": cache, "data_dir": figures}
    return load_default_runs(**{**options, **kwargs})


def _add_task(figures: Path, task: dict[str, Any]) -> None:
    table = pq.read_table(figures / RUNS_FILE).to_pandas()
    extra = table[:3].assign(task=task["task"])
    _write_table(figures, pd.concat([table, extra], ignore_index=True))
    described = json.loads((figures / TASKS_FILE).read_text())
    described["tasks"].append(task)
    (figures / TASKS_FILE).write_text(json.dumps(described))


# The shipped figures


def test_shipped_figures_are_small_and_complete() -> None:
    assert (DATA_DIR / RUNS_FILE).stat().st_size < 600_000
    table = pq.read_table(DATA_DIR / RUNS_FILE)
    models = [n.removeprefix("quality:") for n in table.column_names if n.startswith("quality:")]
    assert table.num_rows == 8588
    assert len(models) == 11
    assert table.column_names == [
        "task",
        "index",
        "sha256",
        *(f"{kind}:{model}" for model in models for kind in ("quality", "completion_tokens")),
    ]
    assert table.schema.field("sha256").type == pa.binary(32)
    runs = sum(len(table) - table[f"quality:{model}"].null_count for model in models)
    assert runs == 85780
    for model in models:
        quality = table[f"quality:{model}"].to_numpy()
        assert np.nanmin(quality) >= 0
        assert np.nanmax(quality) <= 1
        hidden = model in ("deepseek-r1", "grok-3-mini-beta", "o3-mini", "qwq-32b")
        tokens = table[f"completion_tokens:{model}"]
        assert (tokens.null_count == len(table)) == hidden
    described = json.loads((DATA_DIR / TASKS_FILE).read_text())
    assert {task["task"] for task in described["tasks"]} == set(table["task"].to_pylist())
    assert sum(task["prompts"] for task in described["tasks"]) == 8588
    source = (DATA_DIR / "SOURCE.md").read_text()
    for words in ("github.com/open-thought/reasoning-gym-eval", "Apache-2.0", described["version"]):
        assert words in source


# Loading


def test_quick_tasks_regenerate_and_match(
    figures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default = _load(figures, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "regenerated 3 of 3 tasks" in err
    assert default.n_prompts == default.n_regenerated == default.n_matched == 150
    assert default.n_cached == default.n_mismatched == 0
    assert default.left_out == ()
    assert default.package == "reasoning-gym 0.1.25"
    frame = default.runs.frame
    assert set(frame["task"]) == set(QUICK)
    assert set(frame["source"]) == {"reasoning-gym-eval"}
    assert "prompt_tokens" not in frame
    table = pq.read_table(figures / RUNS_FILE).to_pandas().set_index(["task", "index"])
    assert len(frame) == table.filter(like="quality:").notna().sum().sum()
    for row in frame.sample(20, random_state=0).to_dict("records"):
        name, task, index = row["prompt_id"].split("/", 1)[0], row["task"], row["prompt_id"]
        assert name == "reasoning-gym"
        figure = table.loc[(task, int(index.rsplit("/", 1)[1]))]
        assert hashlib.sha256(row["prompt"].encode()).digest() == figure["sha256"]
        assert row["quality"] == figure[f"quality:{row['model']}"]
        np.testing.assert_equal(
            row["completion_tokens"], figure[f"completion_tokens:{row['model']}"]
        )
    assert default.runs.to_matrix().quality.shape == (150, 11)
    assert "150 of 150 match by SHA-256. None is left out." in default.summary()
    assert "\n" not in default.summary()


def test_in_parallel_and_from_the_cache(figures: Path) -> None:
    first = _load(figures, n_jobs=2)
    assert first.n_regenerated == 150
    second = _load(figures)
    assert (second.n_regenerated, second.n_cached) == (0, 150)
    assert second.runs.digest == first.runs.digest
    assert "150 came from the cache" in second.summary()


def test_limit_tasks(figures: Path) -> None:
    default = _load(figures, limit_tasks=1)
    assert default.n_prompts == 50
    assert default.runs.frame["task"].nunique() == 1
    with pytest.raises(ConfigError, match="at least 1"):
        _load(figures, limit_tasks=0)


def test_prompts_that_do_not_match_are_counted_and_left_out(figures: Path) -> None:
    table = pq.read_table(figures / RUNS_FILE).to_pandas()
    wrong = table["task"].eq("easy/gcd") & table["index"].lt(7)
    table.loc[wrong, "sha256"] = pd.Series([b"\0" * 32] * len(table))[wrong]
    _write_table(figures, table)
    for _ in range(2):  # the second time from the cache
        default = _load(figures)
        assert (default.n_matched, default.n_mismatched) == (143, 7)
        (part,) = default.left_out
        assert (part.task, part.n_prompts) == ("easy/gcd", 7)
        assert "makes another text" in part.reason
        assert not set(default.runs.frame["prompt_id"]) & {
            f"reasoning-gym/easy/gcd/{i}" for i in range(7)
        }
    assert "143 of 150 match" in default.summary()
    assert "Left out: 7 of easy/gcd" in default.summary()


def test_no_prompt_matches(figures: Path) -> None:
    table = pq.read_table(figures / RUNS_FILE).to_pandas()
    _write_table(figures, table.assign(sha256=[b"\0" * 32] * len(table)))
    with pytest.raises(DataError, match="no prompt of the default runs"):
        _load(figures)


def test_a_generator_that_fails_is_counted(figures: Path) -> None:
    _add_task(figures, {"task": "easy/gone", "dataset": "no_such_dataset", "config": {}})
    _add_task(figures, {"task": "easy/odd", "dataset": "gcd", "config": {"nonsense": 1}})
    default = _load(figures)
    assert (default.n_prompts, default.n_matched, default.n_mismatched) == (156, 150, 0)
    assert [(part.task, part.n_prompts) for part in default.left_out] == [
        ("easy/gone", 3),
        ("easy/odd", 3),
    ]
    assert all("the generator failed" in part.reason for part in default.left_out)


def test_broken_figures(figures: Path) -> None:
    (figures / RUNS_FILE).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        _load(figures)
    (figures / TASKS_FILE).write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        _load(figures)
    with pytest.raises(DataError, match="cannot be read"):
        _load(figures / "nowhere")


# The cache


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no JSON"),
        gzip.compress(b"[1]"),
        gzip.compress(b'{"easy/gcd": {"0": 5}}'),
        gzip.compress(b'{"easy/gcd": {"x": "a"}}'),
        gzip.compress(b"{" * 1000)[:-10],
    ],
)
def test_broken_cache_is_made_again(figures: Path, content: bytes) -> None:
    digest = _load(figures).runs.digest
    (cache,) = (figures.parent / "cache").iterdir()
    cache.write_bytes(content)
    default = _load(figures)
    assert (default.n_cached, default.runs.digest) == (0, digest)
    assert _load(figures).n_cached == 150


def test_cache_that_lacks_prompts_is_completed(figures: Path) -> None:
    _load(figures)
    (cache,) = (figures.parent / "cache").iterdir()
    tasks = read_cache(cache)
    del tasks["easy/gcd"]
    del tasks["hard/ab"][3]
    write_cache(cache, tasks)
    assert _load(figures).n_cached == 50
    assert _load(figures).n_cached == 150
    assert list((figures.parent / "cache").iterdir()) == [cache]


def test_cache_is_of_one_package_and_set_of_tasks(
    figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(figures)
    assert _load(figures, limit_tasks=2).n_cached == 0
    monkeypatch.setattr("router.training.default_runs._installed_version", lambda: "9.9")
    default = _load(figures)
    assert (default.n_cached, default.package) == (0, "reasoning-gym 9.9")


# Without packages


def test_without_reasoning_gym(figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regenerate_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"wattroute\[train\]"):
        _load(figures)


def _without_pycosat(code: str, arguments: Sequence[str]) -> str:
    """Run code in a process where pycosat cannot be imported."""
    block = "import sys; sys.modules['pycosat'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", block + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_pycosat(figures: Path) -> None:
    zebra = {"task": "easy/zebra", "dataset": "zebra_puzzles", "config": {"size": 5, "seed": 1}}
    _add_task(figures, zebra)
    out = _without_pycosat(
        "from router.training.default_runs import load_default_runs\n"
        "default = load_default_runs(\n"
        "    cache_dir=sys.argv[1], data_dir=sys.argv[2], n_jobs=1, progress=False)\n"
        "assert sys.modules['pycosat'] is None\n"
        "print(default.n_matched, default.left_out[0].task, default.left_out[0].n_prompts)\n"
        "print(default.summary())\n",
        [str(figures.parent / "cache"), str(figures)],
    )
    counts, summary = out.splitlines()
    assert counts == "150 easy/zebra 3"
    assert f"3 of easy/zebra ({NEEDS_PYCOSAT})" in summary


def test_stand_in_is_gone_and_the_real_one_kept() -> None:
    jobs = [({"task": "t", "dataset": "gcd", "config": {"size": 2, "seed": 1}}, [0, 1])]
    prompts, failures = regenerate(jobs, n_jobs=1, progress=False)
    assert (set(prompts["t"]), failures) == ({0, 1}, {})
    module = sys.modules.get("pycosat")
    assert module is None or hasattr(module, "itersolve")


# Building the table


def test_prepared_figures_are_those_of_the_source(tmp_path: Path, figures: Path) -> None:
    table = pq.read_table(figures / RUNS_FILE).to_pandas()
    rows = [
        {
            "task": row["task"],
            "index": row["index"],
            "prompt_sha256": row["sha256"].hex(),
            "model": name.removeprefix("quality:"),
            "quality": row[name],
            "completion_tokens": row[name.replace("quality", "completion_tokens")],
        }
        for row in table.to_dict("records")
        for name in row
        if name.startswith("quality:") and not np.isnan(row[name])
    ]
    source = tmp_path / "source"
    source.mkdir()
    long = pd.DataFrame(rows).sample(frac=1, random_state=0)
    long.astype({"completion_tokens": "Int32"}).to_parquet(source / "runs.parquet")
    shutil.copy(figures / TASKS_FILE, source / "tasks.json")
    out = tmp_path / "out"
    prepare_default_runs(source, out)
    assert _load(out).runs.digest == _load(figures).runs.digest
    before = (out / RUNS_FILE).read_bytes()
    long.sample(frac=1, random_state=1).to_parquet(source / "runs.parquet")
    prepare_default_runs(source, out)
    assert (out / RUNS_FILE).read_bytes() == before

    pd.concat([long, long[:1].assign(quality=0.5)]).to_parquet(source / "runs.parquet")
    with pytest.raises(DataError, match="two runs of one model"):
        prepare_default_runs(source, out)
    long[:1].assign(task="easy/unknown").to_parquet(source / "runs.parquet")
    with pytest.raises(DataError, match="does not describe easy/unknown"):
        prepare_default_runs(source, out)
