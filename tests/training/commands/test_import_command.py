from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from router.training.ingest import load_runs

DATA = Path(__file__).resolve().parent.parent / "importers" / "data"


def test_imported_runs_train_a_router(here):
    """From a table of another shape to a router that chooses."""
    frame = here.frame
    wide = frame.pivot(index=["prompt", "task"], columns="model", values="quality").reset_index()
    wide["small"] *= 10
    wide["middle"] *= 10
    wide["large"] *= 10
    wide.rename(columns={"prompt": "question"}).to_csv(here.folder / "wide.csv", index=False)
    models = [word for name in ("small", "middle", "large") for word in ("--wide", name)]
    words = ("import", "csv", "wide.csv", *models, "--column", "prompt=question")
    result = here.run(*words, "--scale", "0:10", "--out", "imported.parquet")
    assert "imported.parquet: 180 runs of 60 prompts and 3 models, from 180 rows" in result.stdout
    runs = load_runs(here.folder / "imported.parquet")
    assert runs.to_matrix().quality.mean() == pytest.approx(frame["quality"].mean())
    found = here.train("imported.parquet", "--pool", "pool.toml", "--out", "from-import", "--json")
    assert json.loads(found.stdout)["n_prompts"] == 60
    routed = here.run("route", "What is 2 + 2?", "--router", "from-import", "--json")
    assert json.loads(routed.stdout)


def test_the_result_as_text_and_json(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("import", "lm-eval", DATA / "lm_eval", "--metric", "acc_norm")
    words = (*words, "--metric", "tiny_sums=exact_match,flexible-extract", "--out", "r.jsonl")
    result = here.run(*words)
    assert result.stdout.splitlines() == [
        "r.jsonl: 14 runs of 7 prompts and 2 models, from 22 rows (lm-eval)",
        "  tiny_fruit: the grade is acc_norm,none",
        "  tiny_sums: the grade is exact_match,flexible-extract",
        "model              runs  mean quality  with tokens",
        "-----------------  ----  ------------  -----------",
        "invented/adder-1b     7         0.429            0",
        "invented/adder-7b     7         1.000            0",
        "Left out, listed in .wattroute/left_out.jsonl:",
        "  8 x another filter than flexible-extract",
    ]
    assert "format: samples of lm-evaluation-harness (lm-eval)" in result.stderr
    shown = json.loads(here.run(*words, "--overwrite", "--json").stdout)
    assert shown["n_runs"] == 14
    assert shown["models"]["invented/adder-7b"] == {"n_runs": 7, "quality": 1.0, "n_with_tokens": 0}
    assert shown["left_out"] == {"another filter than flexible-extract": 8}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_every_format_of_the_output_reads_the_same(here, tmp_path, monkeypatch, suffix: str):
    monkeypatch.chdir(tmp_path)
    here.run("import", DATA / "routerbench" / "pandas_3.pkl", "--out", f"r.{suffix}")
    here.run("import", "auto", DATA / "routerbench" / "pandas_3.pkl", "--out", "other.parquet")
    frame = load_runs(tmp_path / f"r.{suffix}").frame
    pd.testing.assert_frame_equal(frame, load_runs(tmp_path / "other.parquet").frame)


def test_usage_errors_are_one_line(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("prompt,model,quality\na,b,1\n")
    (tmp_path / "folder").mkdir()
    out = ("--out", "r.parquet")
    for words, reason in [
        (("lmeval", "t.csv", *out), "'lmeval' is neither a format nor a file or folder: did you"),
        (("nonsense", *out), "formats are csv, embedllm, helm"),
        (("csv", *out), "give at least one file or folder to import"),
        (("csv", "t.csv", "--out", "r.txt"), "the name must end in .parquet, .jsonl, .csv"),
        (("csv", "t.csv", "--out", "t.csv"), "is one of the files to import"),
        (("csv", "t.csv", "--out", "no/r.parquet"), "there is no folder no"),
        (("csv", "t.csv", "--scale", "x", *out), "must be LOW:HIGH"),
        (("csv", "t.csv", "--column", "x", *out), "must be FIELD=NAME"),
        (("csv", "t.csv", "--model", "a=b=", *out), "must be NAME or OLD=NEW"),
        (("csv", "gone.csv", *out), "gone.csv: there is no such file or folder"),
        (("csv", "folder", *out), "the folder has no file"),
        (("hf", "name", *out), "must be hf:owner/name"),
    ]:
        assert reason in here.fails("import", *words)
    here.run("import", "t.csv", *out)
    assert "exists: name another file, or add --overwrite" in here.fails("import", "t.csv", *out)
    here.run("import", "t.csv", *out, "--overwrite")
    here.run("import", code=2)


def test_a_failed_import_leaves_what_was_there(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("prompt,model,quality\na,b,1\n")
    (tmp_path / "bad.csv").write_text("prompt,model,quality\na,b,9\n")
    here.run("import", "good.csv", "--out", "r.parquet")
    before = (tmp_path / "r.parquet").read_bytes()
    result = here.run("import", "bad.csv", "--out", "r.parquet", "--overwrite", code=2)
    assert "bad.csv, row 1, field 'quality': is 9, outside 0 to 1" in result.stderr
    assert (tmp_path / "r.parquet").read_bytes() == before
    result = here.run("import", "bad.csv", "--out", "n.parquet", "--on-bad", "skip", code=2)
    assert "is 9, outside 0 to 1" in result.stderr
    assert not (tmp_path / "n.parquet").exists()


def test_names_of_files_that_are_no_unicode(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = {"version": 2, "status": "error", "eval": {"task": "t", "model": "m"}}
    scored = {"id": 1, "input": "Why?", "scores": {"s": {"value": "C"}}}
    name = os.fsdecode(b"\xff \n.json")
    (tmp_path / name).write_text(json.dumps(log | {"samples": [scored]}))
    (tmp_path / os.fsdecode(b"\xff.parquet")).write_bytes(b"PAR1")
    result = here.run("import", "inspect", name, "--out", "r.parquet")
    assert "\\udcff" in result.stdout
    assert "the evaluation did not end (error)" in result.stdout
    here.run("import", "inspect", name, "--out", "s.parquet", "--json")
    result = here.run("import", "csv", os.fsdecode(b"\xff.parquet"), "--out", "t.parquet", code=2)
    assert "the file is broken or truncated" in result.stderr


def test_skipped_rows_are_counted_and_listed(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("prompt,model,quality\na,b,9\nc,b,1\n,b,1\n")
    result = here.run("import", "t.csv", "--out", "r.parquet", "--on-bad", "skip")
    assert "1 x bad: quality: not a grade" in result.stdout
    assert "1 x bad: prompt: not valid" in result.stdout
    listed = [
        json.loads(line)
        for line in (tmp_path / ".wattroute/left_out.jsonl").read_text().splitlines()
    ]
    assert [(line["row"], line["field"]) for line in listed] == [(1, "quality"), (3, "prompt")]
