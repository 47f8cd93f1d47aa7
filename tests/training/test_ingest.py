import csv
import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.errors import ConfigError, DataError
from router.training.ingest import Runs, load_runs, runs_from_frame, to_matrix
from router.training.schema import Problem, RunsError

Row = dict[str, Any]

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
ROWS: list[Row] = [
    {"prompt": "Why?", "model": "small", "quality": 0.0, "completion_tokens": 12, "task": "a"},
    {"prompt": "Why?", "model": "large", "quality": 1.0, "completion_tokens": None, "task": "a"},
    {"prompt": 'How, "so"?\nNow.', "model": "small", "quality": 0.34, "task": None},
]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        for row in rows:
            as_text = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
            writer.writerow(as_text)
    return path


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    pq.write_table(table, path)
    return path


WRITERS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    ".jsonl": write_jsonl,
    ".csv": write_csv,
    ".parquet": write_parquet,
}


def problems_of(*args: Any, **kwargs: Any) -> tuple[Problem, ...]:
    with pytest.raises(RunsError) as caught:
        load_runs(*args, **kwargs)
    return caught.value.problems


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Sequence[Row]], Path]:
    return lambda rows: WRITERS[request.param](tmp_path / f"runs{request.param}", rows)


# What loads


def test_loads(write: Callable[[Sequence[Row]], Path]) -> None:
    path = write(ROWS)
    runs = load_runs(path)
    assert len(runs) == runs.n_read == 3
    assert runs.files == (str(path),)
    assert runs.models == ("large", "small")
    assert runs.n_repeated == runs.n_set_aside == 0
    assert runs.set_aside is None
    assert runs.problems == ()
    assert set(runs.frame["prompt"]) == {row["prompt"] for row in ROWS}
    assert runs.frame["quality"].dtype == np.float64
    assert "energy_j" not in runs.frame
    assert "3 runs of 2 prompts and 2 models from 1 file" in runs.summary()


def test_same_digest_whatever_the_format_and_order(tmp_path: Path) -> None:
    digests = {
        load_runs(writer(tmp_path / f"{name}{suffix}", rows)).digest
        for suffix, writer in WRITERS.items()
        for name, rows in (("a", ROWS), ("b", ROWS[::-1]))
    }
    assert len(digests) == 1
    narrow = pd.DataFrame(ROWS).astype({"quality": "float32"})
    narrow.to_parquet(tmp_path / "narrow.parquet")
    assert load_runs(tmp_path / "narrow.parquet").digest in digests
    parts = [write_jsonl(tmp_path / f"part{i}.jsonl", [row]) for i, row in enumerate(ROWS)]
    assert load_runs(parts).digest in digests
    empty_column = [{**row, "energy_j": None, "source": ""} for row in ROWS]
    assert load_runs(write_csv(tmp_path / "more.csv", empty_column)).digest in digests


@pytest.mark.parametrize(
    "change", [{"quality": 0.5}, {"model": "x"}, {"task": "b"}, {"completion_tokens": 13}]
)
def test_other_rows_have_another_digest(tmp_path: Path, change: Row) -> None:
    one = load_runs(write_jsonl(tmp_path / "a.jsonl", ROWS))
    two = load_runs(write_jsonl(tmp_path / "b.jsonl", [{**ROWS[0], **change}, *ROWS[1:]]))
    assert one.digest != two.digest


def test_digest_is_the_same_everywhere(tmp_path: Path) -> None:
    runs = load_runs(write_jsonl(tmp_path / "a.jsonl", ROWS))
    code = f"from router.training.ingest import load_runs; print(load_runs({runs.files!r}).digest)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == runs.digest


def test_chat_messages_in_every_format(write: Callable[[Sequence[Row]], Path]) -> None:
    runs = load_runs(write([{**ROWS[0], "prompt": CHAT}, {**ROWS[1], "prompt": CHAT}]))
    matrix = runs.to_matrix()
    assert matrix.prompts == (CHAT,)
    assert matrix.quality.tolist() == [[1.0, 0.0]]


def test_chat_messages_and_text_in_one_file(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{**ROWS[0], "prompt": CHAT}, ROWS[1]])
    assert {type(prompt) for prompt in load_runs(path).to_matrix().prompts} == {list, str}


def test_messages_in_parquet_as_text(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{**ROWS[0], "prompt": json.dumps(CHAT)}])
    assert load_runs(path).to_matrix().prompts == (CHAT,)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".ndjson"])
def test_compressed_files_and_other_names(tmp_path: Path, suffix: str) -> None:
    writer = write_csv if suffix == ".csv" else write_jsonl
    plain = writer(tmp_path / f"a{suffix}", ROWS)
    packed = tmp_path / f"B{suffix.upper()}.GZ"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_runs(packed).digest == load_runs(plain).digest


def test_folder(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", ROWS[:1])
    write_csv(tmp_path / "a.csv", ROWS[1:2])
    write_parquet(tmp_path / "c.parquet", ROWS[2:])
    (tmp_path / "README.md").write_text("no runs")
    (tmp_path / ".hidden.jsonl").write_text("no runs")
    (tmp_path / "sub").mkdir()
    runs = load_runs(tmp_path)
    assert [Path(file).name for file in runs.files] == ["a.csv", "b.jsonl", "c.parquet"]
    assert len(runs) == 3
    twice = load_runs([tmp_path, tmp_path / "a.csv"])
    assert twice.n_read == 3
    assert len(twice.files) == 3


def test_clumsy_but_clear_text_files(tmp_path: Path) -> None:
    jsonl = tmp_path / "a.jsonl"
    lines = "\r\n\r\n".join(json.dumps(row) for row in ROWS)
    jsonl.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    table = write_csv(tmp_path / "a.csv", ROWS)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes() + b"\r\n\r\n")
    assert load_runs(jsonl).digest == load_runs(table).digest
    assert load_runs(jsonl).n_read == 3


def test_long_prompts_in_csv(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write_csv(tmp_path / "a.csv", [{**ROWS[0], "prompt": "why " * 100_000}])
    assert len(load_runs(path).frame["prompt"][0]) == 400_000
    assert csv.field_size_limit() == limit


def test_parquet_types_of_other_writers(tmp_path: Path) -> None:
    n = 4
    table = pa.table(
        {
            "prompt": pa.array([f"p{i}" for i in range(n)], pa.large_string()),
            "model": pa.array(["m"] * n).dictionary_encode(),
            "quality": pa.array([0, 1, 1, 0], pa.int8()),
            "prompt_id": pa.array(range(n), pa.int64()),
            "prompt_tokens": pa.array([1, None, 3, 4], pa.uint64()),
            "completion_tokens": pa.array([None] * n, pa.null()),
            "energy_j": pa.array([1.5, None, float("nan"), 0.0], pa.float32()),
            "cost_usd": pa.array([1, 2, 3, 4]).cast(pa.decimal128(21, 2)),
            "task": pa.array([None] * n, pa.null()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    runs = load_runs(tmp_path / "a.parquet")
    assert runs.frame["prompt_id"].tolist() == ["0", "1", "2", "3"]
    assert np.isnan(runs.frame["energy_j"]).tolist() == [False, True, True, False]
    assert runs.frame["cost_usd"].tolist() == [1, 2, 3, 4]
    assert "task" not in runs.frame
    assert "completion_tokens" not in runs.frame


def test_nullable_integers_and_the_index_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS).astype({"completion_tokens": "Int32"})[::2]
    frame.to_parquet(tmp_path / "a.parquet")
    runs = load_runs(tmp_path / "a.parquet")
    assert np.nansum(runs.frame["completion_tokens"]) == 12
    assert runs_from_frame(frame).digest == runs.digest


def test_numbers_as_ids_are_the_same_in_every_format(write: Any) -> None:
    runs = load_runs(write([{**row, "prompt_id": hash_ // 2} for hash_, row in enumerate(ROWS)]))
    assert sorted(set(runs.frame["prompt_id"])) == ["0", "1"]


# Prompt ids, repeats, contradictions


def test_id_is_the_hash_of_the_prompt_where_absent(tmp_path: Path) -> None:
    runs = load_runs(write_jsonl(tmp_path / "a.jsonl", ROWS))
    ids = runs.to_matrix().prompt_ids
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in ids)
    assert len(set(ids)) == 2


def test_a_row_without_id_takes_that_of_the_same_prompt(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "a.jsonl", [{**ROWS[0], "prompt_id": "q1"}])
    two = write_csv(tmp_path / "b.csv", ROWS)
    for order in ([one, two], [two, one]):
        runs = load_runs(order)
        assert (runs.n_read, len(runs), runs.n_repeated) == (4, 3, 1)
        assert runs.frame[runs.frame["prompt"] == "Why?"]["prompt_id"].tolist() == ["q1", "q1"]


def test_equal_answers_are_counted_once_and_the_fullest_kept(tmp_path: Path) -> None:
    bare = {key: ROWS[0][key] for key in ("prompt", "model", "quality")}
    one = write_jsonl(tmp_path / "a.jsonl", [bare, ROWS[0], {**ROWS[0], "energy_j": 7}])
    two = write_csv(tmp_path / "b.csv", ROWS[:2])
    digests = set()
    for order in ([one, two], [two, one]):
        runs = load_runs(order)
        assert (runs.n_read, len(runs), runs.n_repeated) == (5, 2, 3)
        assert runs.frame["energy_j"].dropna().tolist() == [7]
        assert "3 repeated rows counted once" in runs.summary()
        digests.add(runs.digest)
    assert len(digests) == 1


def test_single_and_double_precision_are_the_same_grade(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).astype({"quality": "float32"}).to_parquet(tmp_path / "a.parquet")
    write_csv(tmp_path / "b.csv", ROWS)
    assert load_runs(tmp_path).n_repeated == 3


def test_two_grades_of_one_answer(write: Callable[[Sequence[Row]], Path], tmp_path: Path) -> None:
    path = write([*ROWS, {**ROWS[0], "quality": 0.5}])
    first, second = problems_of(path)
    assert (first.row, second.row, first.field) == (1, 4, "quality")
    assert f"is 0 here and 0.5 for the same prompt and model in {path}, row 4" in first.reason
    assert "row 1" in second.reason
    runs = load_runs(path, on_bad="skip", set_aside=tmp_path / "out.jsonl")
    assert (len(runs), runs.n_set_aside) == (2, 2)


def test_one_prompt_under_two_ids_is_two_answers_in_one_group(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "prompt_id": "q1"}, {**ROWS[0], "prompt_id": "q2", "quality": 1.0}]
    matrix = load_runs(write_jsonl(tmp_path / "a.jsonl", rows)).to_matrix()
    assert matrix.prompt_ids == ("q1", "q2")
    assert matrix.groups.tolist() == [0, 0]


def test_one_id_for_two_prompts(write: Callable[[Sequence[Row]], Path]) -> None:
    path = write([{**row, "prompt_id": "q"} for row in ROWS])
    problems = problems_of(path)
    assert [(p.row, p.field, p.kind) for p in problems] == [
        (row, "prompt_id", "the id of two prompts") for row in (1, 2, 3)
    ]
    assert "row 3" in problems[0].reason
    assert "row 1" in problems[2].reason


# Bad cells


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("quality", 1.5, "outside [0, 1]"),
        ("quality", -0.1, "outside [0, 1]"),
        ("quality", float("nan"), "missing"),
        ("quality", float("inf"), "outside [0, 1]"),
        ("quality", None, "missing"),
        ("prompt_tokens", -1, "outside [0, 1e+09]"),
        ("prompt_tokens", 1.1e9, "outside [0, 1e+09]"),
        ("completion_tokens", 10**15, "outside [0, 1e+09]"),
        ("energy_j", 1.5e12, "outside [0, 1e+12]"),
        ("energy_j", float("inf"), "outside [0, 1e+12]"),
        ("latency_s", -0.5, "negative"),
        ("latency_s", float("-inf"), "not finite"),
        ("prompt", "", None),
        ("prompt", " \n ", "is empty"),
        ("prompt", None, "missing"),
        ("prompt", '[{"role": "user"}]', "not valid"),
        ("model", "", None),
        ("model", "  ", "is empty"),
        ("model", None, "missing"),
    ],
)
def test_bad_cells_in_every_format(
    write: Callable[[Sequence[Row]], Path], field: str, value: Any, kind: str | None
) -> None:
    path = write([*ROWS, {**ROWS[0], "model": "x", field: value}])
    (problem,) = problems_of(path)
    assert (problem.file, problem.row, problem.field) == (str(path), 4, field)
    # CSV has no empty text: it is a missing cell there.
    assert problem.kind in ({"is empty", "missing"} if kind is None else {kind})


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("quality", "0.5", 'is "0.5"; must be a number'),
        ("quality", True, "is true; must be a number, 1 for true"),
        ("quality", [1], "is of type list"),
        ("completion_tokens", "many", 'is "many"'),
        ("completion_tokens", 10**400, "a huge number is not finite"),
        ("prompt", 17, "is a number; must be text or a list of chat messages"),
        ("prompt", {"role": "user", "content": "x"}, "an object"),
        ("prompt", [{"role": "robot", "content": "x"}], "the role 'robot'"),
        ("prompt", "\ud83d", "not valid Unicode"),
        ("model", 4, "is 4; must be text"),
        ("model", "\ud83d", "not valid Unicode"),
        ("model", ["x"], "is of type list; must be text"),
        ("task", 4.5, "is 4.5; must be text"),
        ("prompt_id", 4.5, "is 4.5; must be text"),
        ("prompt_id", True, "is true; must be text"),
        ("embedding", "x", 'is "x"; must be a list of numbers'),
        ("embedding", [1, None], "must be a list of numbers"),
        ("embedding", [[1.0]], "must be a list of numbers"),
        ("embedding", [], "finite numbers"),
        ("embedding", [float("nan")], "finite numbers"),
        ("embedding", [1e300], "finite numbers"),
    ],
)
def test_wrong_types_in_jsonl(tmp_path: Path, field: str, value: Any, reason: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], "model": "x", field: value}])
    problem = next(p for p in problems_of(path) if p.kind != "missing")
    assert (problem.row, problem.field) == (4, field)
    assert reason in problem.reason


def test_wrong_types_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,model,quality,energy_j\nWhy?,m,good,1\nHow?,m,True,x\nIf?,m,1,NaN\n")
    assert [(p.row, p.field) for p in problems_of(path)] == [
        (1, "quality"),
        (2, "quality"),
        (2, "energy_j"),
    ]


@pytest.mark.parametrize(
    ("field", "array"),
    [
        ("quality", pa.array(["0.5"])),
        ("quality", pa.array([True])),
        ("prompt", pa.array([5])),
        ("prompt", pa.array([b"x"])),
        ("model", pa.array([5])),
        ("prompt_id", pa.array([5.0])),
        ("energy_j", pa.array([[1.0]])),
        ("embedding", pa.array([1.0])),
        ("embedding", pa.array([["x"]])),
    ],
)
def test_wrong_types_in_parquet_are_said_once(tmp_path: Path, field: str, array: Any) -> None:
    good = {"prompt": ["Why?"] * 50, "model": ["m"] * 50, "quality": [1.0] * 50}
    table = pa.table({**good, field: pa.concat_arrays([array] * 50)})
    pq.write_table(table, tmp_path / "a.parquet")
    for on_bad in ("error", "skip"):
        (problem,) = problems_of(tmp_path / "a.parquet", on_bad=on_bad)
        assert (problem.row, problem.field, problem.kind) == (None, field, "wrong type")
        assert "the column holds" in problem.reason


def test_wrong_messages_in_parquet(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "prompt": CHAT}, {**ROWS[0], "prompt": [{"role": "x", "content": "y"}]}]
    (problem,) = problems_of(write_parquet(tmp_path / "a.parquet", rows))
    assert (problem.row, problem.field, problem.kind) == (2, "prompt", "not a prompt")


def test_all_problems_at_once(tmp_path: Path) -> None:
    one = write_jsonl(
        tmp_path / "a.jsonl",
        [ROWS[0], {**ROWS[1], "quality": 2, "energy_j": -1}, {**ROWS[0], "quality": 1}],
    )
    two = tmp_path / "b.csv"
    two.write_text("prompt,model,quality,notes\nWhy?,large\n ,large,1,\n")
    three = tmp_path / "c.parquet"
    three.write_bytes(b"PAR1 is not enough")
    problems = problems_of([one, two, three, tmp_path / "d.csv"])
    assert {(Path(p.file).name, p.row, p.field) for p in problems} == {
        ("d.csv", None, None),
        ("a.jsonl", 1, "quality"),
        ("a.jsonl", 2, "quality"),
        ("a.jsonl", 2, "energy_j"),
        ("a.jsonl", 3, "quality"),
        ("b.csv", None, "notes"),
        ("b.csv", 1, None),
        ("b.csv", 2, "prompt"),
        ("c.parquet", None, None),
    }
    with pytest.raises(DataError, match="9 problems in 4 files"):
        load_runs([one, two, three, tmp_path / "d.csv"])


# Broken files


def test_truncated_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    whole = path.read_bytes()
    for data in (whole[:-20], whole[: len(whole) // 2], b"", b"PAR1"):
        path.write_bytes(data)
        for on_bad in ("error", "skip"):
            (problem,) = problems_of(path, on_bad=on_bad)
            assert (problem.kind, problem.row) == ("broken file", None)


def test_damaged_pages_of_parquet(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{**ROWS[0], "prompt": "why " * 500}])
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    assert {p.kind for p in problems_of(path)} == {"broken file"}


def test_text_of_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    table = pa.table({"prompt": bad, "model": ["m"], "quality": [1.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    (problem,) = problems_of(tmp_path / "a.parquet")
    assert problem.kind == "broken file"


def test_bad_lines_of_jsonl(tmp_path: Path) -> None:
    good = json.dumps(ROWS[0]).encode()
    bad = [good[:-5], b"nonsense", b'["Why?"]', good + good, b"\xff\xfe", b"[" * 100_000]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good, b"", *bad]))
    problems = problems_of(path)
    assert [p.row for p in problems] == [3, 4, 5, 6, 7, 8]
    assert {p.kind for p in problems} == {"bad JSON"}
    runs = load_runs(path, on_bad="skip", set_aside=tmp_path / "out.jsonl")
    assert (runs.n_read, len(runs), runs.n_set_aside) == (7, 1, 6)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0]["raw"] == bad[0].decode()
    assert lines[2]["raw"] == '["Why?"]'


def test_ragged_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,model,quality\n"two\nlines",m,1\nWhy?,m\nHow?,m,1,2\nIf?,m,0\n')
    assert [(p.row, p.kind) for p in problems_of(path)] == [(2, "ragged row"), (3, "ragged row")]
    runs = load_runs(path, on_bad="skip", set_aside=tmp_path / "out.jsonl")
    assert len(runs) == 2
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["raw"] for line in lines] == [["Why?", "m"], ["How?", "m", "1", "2"]]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b'prompt,model,quality\n"Why?,m,1\n', "broken or truncated"),
        ("a.csv", b"prompt,model,quality\nWhy\xff,m,1\n", "not UTF-8"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"prompt,model,quality\n", "no rows"),
        ("a.jsonl", b"", "no rows"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.jsonl.gz", b"not gzip", "broken or truncated"),
        ("a.csv.gz", gzip.compress(b"prompt,model,quality\nWhy?,m,1\n" * 50)[:-12], "truncated"),
        ("a.txt", b"Why?", "must end in .parquet"),
        ("a.json", b"[]", "must end in .parquet"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    for on_bad in ("error", "skip"):
        problems = problems_of(tmp_path / name, on_bad=on_bad)
        assert any(reason in p.reason and p.row is None for p in problems)


def test_no_files(tmp_path: Path) -> None:
    assert "no file or folder" in problems_of([])[0].reason
    assert "no such file" in problems_of(tmp_path / "nothing.csv")[0].reason
    assert "the folder has no file" in problems_of(tmp_path)[0].reason
    pd.DataFrame(ROWS)[:0].astype({"task": str}).to_parquet(tmp_path / "a.parquet")
    assert "no rows" in problems_of(tmp_path)[-1].reason


def test_columns_missing_or_unknown_in_every_format(
    write: Callable[[Sequence[Row]], Path], tmp_path: Path
) -> None:
    path = write([{"prompt": f"p{i}", "model": "m", "qualty": 1} for i in range(20)])
    for on_bad in ("error", "skip"):
        problems = problems_of(path, on_bad=on_bad, set_aside=tmp_path / "out.jsonl")
        assert [(p.field, p.kind, p.row) for p in problems] == [
            ("qualty", "unknown column", None),
            ("quality", "missing column", None),
        ]
        assert "did you mean 'quality'?" in problems[0].reason
    assert not (tmp_path / "out.jsonl").exists()


def test_a_key_that_one_line_lacks_or_has_too_much(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "model": "m", "quality": 1} for i in range(3_000)]
    del rows[2_500]["quality"]
    rows[2_700]["note"] = "x"
    problems = problems_of(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [(p.row, p.field, p.kind) for p in problems] == [
        (None, "note", "unknown column"),
        (2_501, "quality", "missing"),
    ]
    assert "first in row 2,701" in problems[0].reason


# Setting rows aside


def test_rows_are_set_aside_with_reasons(
    write: Callable[[Sequence[Row]], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write([*ROWS, {**ROWS[0], "model": "x", "quality": 7, "completion_tokens": -2}])
    out = tmp_path / "deep" / "out.jsonl"
    with caplog.at_level(logging.WARNING):
        runs = load_runs(path, on_bad="skip", set_aside=out)
    assert (runs.n_read, len(runs), runs.n_set_aside, runs.set_aside) == (4, 3, 1, out)
    assert f"1 of 4 rows set aside in {out}" in runs.summary()
    assert str(out) in caplog.text
    assert len(runs.problems) == 2
    (line,) = out.read_text().splitlines()
    written = json.loads(line)
    assert (written["file"], written["row"]) == (str(path), 4)
    assert {written["field"], written["also"][0]["field"]} == {"quality", "completion_tokens"}
    assert written["raw"]["prompt"] == "Why?"
    assert float(written["raw"]["quality"]) == 7
    assert runs.digest == load_runs(write(ROWS)).digest


def test_default_place_for_rows_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], "model": ""}])
    for _ in range(2):
        runs = load_runs(".", on_bad="skip")
        assert runs.n_set_aside == 1
        assert runs.set_aside is not None
        assert len(runs.set_aside.read_text().splitlines()) == 1


def test_nothing_is_written_if_all_is_good(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    runs = load_runs(write_csv(tmp_path / "a.csv", ROWS), on_bad="skip", set_aside=out)
    assert runs.set_aside is None
    assert not out.exists()


def test_no_good_row_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    path = write_jsonl(tmp_path / "a.jsonl", [{**row, "quality": 2} for row in ROWS])
    assert len(problems_of(path, on_bad="skip", set_aside=out)) == 3
    assert len(out.read_text().splitlines()) == 3


def test_a_file_to_read_is_not_written_to(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {**ROWS[0], "model": ""}])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="set_aside"):
        load_runs(path, on_bad="skip", set_aside=path)
    assert path.read_bytes() == before


def test_on_bad_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="on_bad"):
        load_runs(tmp_path, on_bad="ignore")  # type: ignore[arg-type]


# Embeddings


def _embedded(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "embedding": [float(len(row["prompt"])), 0.5]} for row in rows]


def test_embeddings_in_every_format(write: Callable[[Sequence[Row]], Path]) -> None:
    runs = load_runs(write(_embedded(ROWS)))
    matrix = runs.to_matrix()
    assert matrix.embeddings is not None
    assert matrix.embeddings.dtype == np.float32
    assert matrix.embeddings[:, 0].tolist() == [len(prompt) for prompt in matrix.prompts]
    assert "embedding" not in runs.frame
    assert runs.digest != load_runs(write(ROWS)).digest


def test_one_embedding_a_prompt_is_enough(tmp_path: Path) -> None:
    rows = _embedded(ROWS)
    del rows[1]["embedding"]
    assert load_runs(write_jsonl(tmp_path / "a.jsonl", rows)).embeddings is not None
    del rows[0]["embedding"]
    problems = problems_of(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [(p.row, p.field) for p in problems] == [(1, "embedding"), (2, "embedding")]


def test_embeddings_must_agree(tmp_path: Path) -> None:
    rows = _embedded(ROWS)
    rows[1]["embedding"] = [0.0, 0.0]
    rows[2]["embedding"] = [1.0]
    problems = problems_of(write_parquet(tmp_path / "a.parquet", rows))
    assert [(p.row, p.kind) for p in problems[:2]] == [
        (2, "two embeddings"),
        (3, "of another length"),
    ]


# Tables in memory and the answer matrix


def test_frame_in_memory(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    assert runs_from_frame(frame).digest == load_runs(write_csv(tmp_path / "a.csv", ROWS)).digest
    assert runs_from_frame(frame.astype({"model": "category"})).models == ("large", "small")
    with pytest.raises(RunsError, match="my table, row 2, field 'quality'"):
        runs_from_frame(frame.assign(quality=[1, None, 1]), name="my table")
    with pytest.raises(RunsError, match="did you mean 'quality'"):
        runs_from_frame(frame.rename(columns={"quality": "qualiti"}))
    with pytest.raises(RunsError, match="no rows"):
        runs_from_frame(frame[:0])


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    rows = [
        {"prompt_id": "b", "prompt": "Why  NOT?", "model": "s", "quality": 0.25, "task": "z"},
        {"prompt_id": "b", "prompt": "Why  NOT?", "model": "l", "quality": 1, "task": "y"},
        {"prompt_id": "a", "prompt": " why not?", "model": "s", "quality": 0, "energy_j": 3},
        {"prompt_id": "c", "prompt": "How?", "model": "x", "quality": 1, "prompt_tokens": 2},
    ]
    return load_runs(write_jsonl(tmp_path / "runs.jsonl", rows))


def test_matrix(runs: Runs) -> None:
    matrix = to_matrix(runs)
    assert matrix.prompt_ids == ("a", "b", "c")
    assert matrix.prompts == (" why not?", "Why  NOT?", "How?")
    assert matrix.models == ("l", "s", "x")
    assert matrix.groups.tolist() == [0, 0, 1]
    assert matrix.tasks == ("", "y", "")
    nan = np.nan
    np.testing.assert_array_equal(matrix.quality, [[nan, 0, nan], [1, 0.25, nan], [nan, nan, 1]])
    np.testing.assert_array_equal(matrix.energy_j[0], [nan, 3, nan])
    assert matrix.prompt_tokens[2, 2] == 2
    assert np.isnan(matrix.completion_tokens).all()
    assert matrix.embeddings is None


def test_matrix_of_some_models(runs: Runs) -> None:
    matrix = runs.to_matrix(["s", "l"])
    assert matrix.models == ("s", "l")
    assert matrix.prompt_ids == ("a", "b")
    np.testing.assert_array_equal(matrix.quality, [[0, np.nan], [0.25, 1]])
    assert matrix.tasks == ("", "y")


def test_matrix_asks_for_models_that_are_there(runs: Runs) -> None:
    with pytest.raises(ConfigError, match="no model 'S': they have l, s, x"):
        runs.to_matrix(["S"])
    with pytest.raises(ConfigError, match="twice"):
        runs.to_matrix(["s", "s"])
    with pytest.raises(ConfigError, match="at least one"):
        runs.to_matrix([])


_CELLS = st.fixed_dictionaries(
    {
        "prompt": st.text("ab \n\"',;[{é", min_size=1).filter(str.strip),
        "model": st.sampled_from(["m1", "m,2", 'm"3']),
        "quality": st.floats(0, 1, width=32),
        "completion_tokens": st.none() | st.integers(0, 10**6),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(_CELLS, min_size=1, max_size=12, unique_by=lambda r: (r["prompt"], r["model"]))
)
def test_every_format_gives_the_same_matrix(tmp_path: Path, rows: list[Row]) -> None:
    loaded = [
        load_runs(writer(tmp_path / f"any{suffix}", rows)) for suffix, writer in WRITERS.items()
    ]
    assert len({runs.digest for runs in loaded}) == 1
    for runs in loaded:
        matrix = runs.to_matrix()
        place = {prompt: i for i, prompt in enumerate(matrix.prompts)}
        assert (~np.isnan(matrix.quality)).sum() == len(rows)
        for row in rows:
            i, j = place[row["prompt"]], matrix.models.index(row["model"])
            assert matrix.quality[i, j] == row["quality"]
            np.testing.assert_equal(
                matrix.completion_tokens[i, j],
                np.nan if row["completion_tokens"] is None else row["completion_tokens"],
            )


# Size


def test_a_hundred_thousand_rows_in_bounds(tmp_path: Path) -> None:
    """A tenth of the million rows that must load in 10 s and 2 GiB."""
    i, j = np.divmod(np.arange(100_000), 10)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {k} " * 20 for k in i.tolist()],
            "model": [f"model {k}" for k in j.tolist()],
            "quality": (i + j) % 2 / 1,
            "completion_tokens": i + j,
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    code = (
        "import re, sys, time\n"
        "from pathlib import Path\n"
        "from router.training.ingest import load_runs\n"
        "start = time.process_time()\n"
        "runs = load_runs(sys.argv[1])\n"
        "took = time.process_time() - start\n"
        # getrusage would begin at what the process that started this one held
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())\n"
        "print(len(runs), took, int(peak[1]) / 2**20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.parquet")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    n_rows, seconds, gib = map(float, done.stdout.split())
    assert n_rows == 100_000
    assert seconds < 2
    assert gib < 0.8
