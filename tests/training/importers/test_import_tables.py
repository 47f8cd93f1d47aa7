from __future__ import annotations

import gzip
import json
from typing import Any

import pandas as pd
import pytest

import small_sources
from router.training.importers.routerbench import prompt_text

LONG = "question,llm,score,n,kind\nWhy?,small,2,10,a\nWhy?,large,10,,a\nHow?,small,7.5,30,b\n"
COLUMNS = ("prompt=question", "model=llm", "quality=score", "completion_tokens=n", "task=kind")


def key(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["prompt"], r["model"], r["quality"]) for r in rows]


def test_a_long_table_with_a_mapping(importing, write):
    rows = importing.rows("csv", write("t.csv", LONG), column=COLUMNS, scale="0:10")
    expected = [("How?", "small", 0.75), ("Why?", "large", 1.0), ("Why?", "small", 0.2)]
    assert sorted(key(rows)) == expected
    (how,) = (row for row in rows if row["prompt"] == "How?")
    assert (how["completion_tokens"], how["task"], how["source"]) == (30, "b", "csv")


def test_every_kind_of_file_says_the_same(importing, write, tmp_path):
    frame = pd.read_csv(write("t.csv", LONG))
    frame.to_parquet(tmp_path / "t.parquet")
    records = json.loads(frame.to_json(orient="records"))
    files = [
        tmp_path / "in" / "t.csv",
        write("t.csv.gz", gzip.compress(b"\xef\xbb\xbf" + LONG.encode())),
        write("t.jsonl", "".join(json.dumps(row) + "\n\n" for row in records)),
        write("t.json", json.dumps(records)),
        write("s.json", frame.to_json(orient="split", index=False)),
        tmp_path / "t.parquet",
    ]
    found = [importing.rows("csv", path, column=COLUMNS, scale="0:10") for path in files]
    assert all(rows == found[0] for rows in found)


def test_a_wide_table(importing, write):
    text = "prompt,topic,gpt-4,mixtral,x\nWhy?,a,True,False,1\nHow?,b,1,,2\n"
    path = write("w.csv", text)
    result = importing.result("csv", path, wide=("gpt-4", "mixtral"), column=("task=topic",))
    assert {n: m["n_runs"] for n, m in result.models.items()} == {"gpt-4": 2, "mixtral": 1}
    assert result.left_out == {"no grade of mixtral": 1}
    assert result.notes == ("columns not used: x",)
    renamed = importing.rows("csv", path, wide=("gpt-4", "mixtral"), model=("gpt-4=big",))
    assert {row["model"] for row in renamed} == {"big", "mixtral"}
    said = importing.fails("csv", path, wide=("gpt-4", "mixtral"), model=("big",))
    assert "--model big is one name, but the rows are of 2 models: gpt-4, mixtral" in said
    assert "there is no column 'gpt4'" in importing.fails("csv", path, wide=("gpt4",))
    said = importing.fails("csv", path, wide=("gpt-4",), column=("quality=x",))
    assert "--column quality does not go with a column for each model" in said


def test_what_belongs_to_one_answer_is_not_told_of_all_models(importing, write):
    path = write("w.csv", "prompt,a,b,energy_j,prompt_tokens\nWhy?,1,0,5.5,3\n")
    for row in importing.rows("csv", path, wide=("a", "b")):
        assert "energy_j" not in row
        assert row["prompt_tokens"] == 3
    assert "columns not used: energy_j" in importing.result("csv", path, wide=("a", "b")).notes
    said = importing.fails("csv", path, wide=("a", "b"), column=("latency_s=energy_j",))
    assert "--column latency_s does not go with a column for each model" in said


def test_an_id_may_read_like_another_prompt(importing, write):
    path = write("t.csv", "prompt_id,prompt,model,quality\nWhy?,How?,m,1\n,Why?,m,0\n")
    assert len(importing.rows("csv", path)) == 2


@pytest.mark.parametrize("field", ["model", "task", "prompt_id", "prompt"])
def test_half_a_surrogate_pair(importing, write, field: str):
    row = {"prompt": "a", "model": "m", "quality": 1, field: "x\ud800"}
    said = importing.fails("csv", write("t.jsonl", json.dumps(row)))
    assert f"row 1, field '{field}': is not valid Unicode" in said


def test_amounts_beyond_any_number(importing, write):
    row = {"prompt": "a", "model": "m", "quality": 1, "completion_tokens": 10**400}
    said = importing.fails("csv", write("t.jsonl", json.dumps(row)))
    assert "field 'completion_tokens': is 1000" in said


def test_where_a_run_comes_from_is_kept(importing, write):
    path = write("t.csv", "prompt,model,quality,source\na,m,1,lab\nb,m,0,\n")
    assert {r["prompt"]: r["source"] for r in importing.rows("csv", path)} == {
        "a": "lab",
        "b": "csv",
    }


def test_one_model_for_all_rows(importing, write):
    path = write("t.csv", "prompt,quality\nWhy?,1\nHow?,0\n")
    assert {row["model"] for row in importing.rows("csv", path, model=("mine",))} == {"mine"}
    said = importing.fails("csv", path)
    assert "there is no column 'model': say which it is with --column model=NAME" in said
    assert "The columns are 'prompt', 'quality'" in said


def test_missing_columns_are_named_with_what_there_is(importing, write):
    path = write("t.csv", LONG)
    said = importing.fails("csv", path)
    assert said.startswith(f"{path}: there is no column 'model'")
    said = importing.fails("csv", path, column=("prompt=frage",))
    assert "'question', 'llm', 'score'" in said


BAD = {
    "ragged": ("b,m\n", "row 2: the row has 2 cells, the header 3"),
    "no prompt": (",m,1\n", "row 2, field 'prompt': is null"),
    "blank prompt": ('" ",m,1\n', "row 2, field 'prompt': is null"),
    "no model": ("b,,1\n", "row 2, field 'model': is missing"),
    "grade": ("b,m,7\n", "row 2, field 'quality': is 7, outside 0 to 1: say the range"),
    "negative": ("b,m,-0.1\n", "row 2, field 'quality': is -0.1, outside 0 to 1"),
    "text": ("b,m,good\n", "row 2, field 'quality': is 'good', which is no grade"),
    "infinite": ("b,m,inf\n", "row 2, field 'quality': is inf, which is no grade"),
    "nan": ("b,m,nan\n", "row 2, field 'quality': is nan, which is no grade"),
    "contradiction": ("a,m,0\n", "field 'quality': is 1 here and 0 in"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named_or_left_out(importing, write, name: str):
    line, reason = BAD[name]
    path = write("t.csv", f"prompt,model,quality\na,m,1\n{line}c,m,1\n")
    said = importing.fails("csv", path)
    assert str(path) in said
    assert reason in said
    result = importing.result("csv", path, on_bad="skip")
    assert result.n_runs == (1 if name == "contradiction" else 2)
    listed = [json.loads(line) for line in result.left_out_file.read_text().splitlines()]
    assert {line["file"] for line in listed} == {str(path)}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("completion_tokens", "-1", "is -1; must be from 0 to 1e+30"),
        ("energy_j", "many", "is 'many'; must be a number"),
        ("cost_usd", "1e300", "is 1e+300; must be from 0 to 1e+30"),
        ("latency_s", "inf", "is inf; must be from 0"),
    ],
)
def test_bad_amounts(importing, write, column: str, value: str, reason: str):
    path = write("t.csv", f"prompt,model,quality,{column}\na,m,1,{value}\n")
    assert f"row 1, field '{column}': {reason}" in importing.fails("csv", path)


def test_repeats(importing, write):
    text = "prompt,model,quality,completion_tokens\na,m,1,\na,m,1,20\na,m,0,40\nb,m,0,1\nb,m,0,1\n"
    path = write("t.csv", text)
    assert "2 x quality: two grades of one answer" in importing.fails("csv", path)
    rows = importing.rows("csv", path, repeats="mean")
    assert sorted((r["quality"], r["completion_tokens"]) for r in rows) == [
        (0, 1),
        (pytest.approx(2 / 3), 30),
    ]
    result = importing.result("csv", path, repeats="first")
    assert (result.n_runs, result.n_repeated) == (2, 2)
    assert sum(result.left_out.values()) == 1
    assert result.n_read == 5
    first = importing.rows("csv", path, repeats="first")
    assert sorted((r["quality"], r["completion_tokens"]) for r in first) == [(0, 1), (1, 20)]


def test_an_id_of_two_prompts(importing, write):
    path = write("t.csv", "prompt_id,prompt,model,quality\n1,a,m,1\n1,b,n,1\n")
    said = importing.fails("csv", path)
    assert f"row 2, field 'prompt_id': '1' is also the id of another prompt, in {path}" in said


def test_the_limit_counts_prompts(importing, write):
    text = "prompt,model,quality\n" + "".join(f"p{i},{m},1\n" for m in ("a", "b") for i in range(5))
    result = importing.result("csv", write("t.csv", text), limit=2)
    assert (result.n_runs, result.n_prompts, result.n_read) == (4, 2, 10)
    assert result.left_out == {"beyond the first 2 prompts (--limit)": 6}


def test_chats_in_cells(importing, write):
    chat = [{"role": "user", "content": "Why?"}]
    row = {"prompt": chat, "model": "m", "quality": 1}
    (found,) = importing.rows("csv", write("t.jsonl", json.dumps(row)))
    assert json.loads(found["prompt"]) == chat
    bad = {**row, "prompt": [{"role": "robot", "content": "x"}]}
    said = importing.fails("csv", write("b.jsonl", json.dumps(bad)))
    assert "row 1, field 'prompt': message 1 has the role 'robot'" in said


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("e.csv", b"", "the file is empty"),
        ("h.csv", b"prompt,model,quality\n", "the table has no rows"),
        ("u.csv", b"prompt,model,quality\n\xff\xfe,m,1\n", "the file is not UTF-8 at byte 21"),
        ("q.csv", b'prompt,model,quality\n"a,m,1\n', "the file is broken or truncated"),
        ("d.csv", b"prompt,prompt,quality\na,b,1\n", "several columns are called 'prompt'"),
        ("t.jsonl", b'{"prompt": "a"', "broken or truncated JSON"),
        ("t.json", b'[{"prompt": "a"}', "broken or truncated JSON"),
        ("o.json", b'{"a": 1}', "it needs an array of objects"),
        ("n.json", b"[1]", "the row does not fit the columns"),
        ("t.parquet", b"PAR1 and then nothing", "the file is broken or truncated"),
        ("t.csv.gz", b"\x1f\x8b\x08\x00", "the file is broken or truncated"),
        ("t.xlsx", b"PK", "the name must end in"),
    ],
)
def test_files_that_are_no_tables(importing, write, name: str, content: bytes, reason: str):
    path = write(name, content)
    said = importing.fails("csv", path, model=("m",))
    assert str(path) in said
    assert reason in said


def test_embedllm(importing, write):
    path = write("train.csv", small_sources.EMBEDLLM)
    rows = importing.rows("embedllm", path)
    assert [(r["prompt_id"], r["model"], r["quality"], r["task"]) for r in rows] == [
        ("0", "org/a", 1.0, "mmlu"),
        ("0", "org/b", 0.0, "mmlu"),
        ("7", "org/a", 1.0, "gsm8k"),
    ]
    assert rows[0]["prompt"] == "A?\nB?"
    said = importing.fails("embedllm", write("x.csv", LONG))
    assert "there is no column 'prompt_id': a table of EmbedLLM has it" in said


def test_routellm(importing, write):
    strong, weak = small_sources.STRONG, small_sources.WEAK
    for name, text in small_sources.ROUTELLM.items():
        write(f"r/{name}", text)
    folder = importing.folder.parent / "in" / "r"
    result = importing.result("routellm", folder)
    assert {n: m["n_runs"] for n, m in result.models.items()} == {strong: 3, weak: 3}
    assert result.models[weak]["quality"] == pytest.approx(1 / 3)
    assert result.notes == ()
    rows = importing.rows("routellm", folder)
    assert {row["task"] for row in rows} == {"mmlu_anatomy", "gsm8k"}
    said = importing.fails("routellm", write("x.csv", LONG.replace("question", "prompt")))
    assert "the correctness of two models, this one has 4" in said


def test_routerbench_as_csv_and_parquet(importing, write, tmp_path):
    text = (
        "sample_id,prompt,eval_name,small,large,small|model_response,large|model_response,"
        "small|total_cost,large|total_cost,oracle_model_to_route_to\n"
        "a.1,\"['Why?', 'And now?']\",a,0.0,1.0,x,y,0.001,0.01,large\n"
    )
    path = write("t.csv", text)
    pd.read_csv(path).to_parquet(tmp_path / "t.parquet")
    for source in (path, tmp_path / "t.parquet"):
        rows = importing.rows("routerbench", source)
        assert [(r["model"], r["quality"], r["cost_usd"]) for r in rows] == [
            ("large", 1.0, 0.01),
            ("small", 0.0, 0.001),
        ]
        assert {row["prompt"] for row in rows} == {"Why?\n\nAnd now?"}


def test_routerbench_without_costs(importing, write):
    path = write("t.csv", "sample_id,prompt,eval_name,a,b,note\n1,x,e,1,0,hm\n")
    assert "field 'note': is 'hm', which is no grade" in importing.fails("routerbench", path)
    assert len(importing.rows("routerbench", path, wide=("a", "b"))) == 2


@pytest.mark.parametrize(
    ("cell", "prompt"),
    [
        ("['a']", "a"),
        ('["it\'s"]', "it's"),
        ("['a', 'b']", "a\n\nb"),
        (["a", "b"], "a\n\nb"),
        ("plain", "plain"),
        ("[not a list]", "[not a list]"),
        ("['open", "['open"),
        ("['a', 1]", "['a', 1]"),
        ("['a' + 'b']", "['a' + 'b']"),
        ("[" * 200 + "]" * 200, "[" * 200 + "]" * 200),
        ("['" + "(" * 5_000 + "]", "['" + "(" * 5_000 + "]"),
    ],
)
def test_prompts_of_routerbench(cell: Any, prompt: str):
    assert prompt_text(cell) == prompt


def test_llmrouterbench(importing, write):
    result_file = small_sources.llmrouterbench_file
    folder = write("bench/aime/test/m/aime-test-m-20260102_000000.json", result_file()).parent
    write("bench/aime/test/m/aime-test-m-20260101_000000.json", result_file(records=[{}, {}]))
    write("bench/aime/test/m/aime-test-m-20260103_000000.json", result_file(demo=True))
    result = importing.result("llmrouterbench", folder)
    assert result.left_out == {
        "a demo run": 3,
        "an older run of the same dataset and model": 2,
        "the record has no score": 1,
    }
    first, second = importing.rows("llmrouterbench", folder)
    assert first == {
        "prompt": "Solve q0",
        "model": "org-m",
        "quality": 0.0,
        "prompt_id": "aime:test:0",
        "task": "aime",
        "source": "llmrouterbench",
        "cost_usd": 0.25,
    }
    assert (second["prompt_tokens"], second["completion_tokens"]) == (12, 30)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"records": 3}, "field 'records': is of type int"),
        ({"records": [3]}, "row 1, field 'records': the record is not an object"),
        ({"records": [{"prompt": "a", "score": 3}]}, "row 1, field 'score': is 3, outside"),
        ({"records": [{"score": 1}]}, "row 1, field 'prompt': is null"),
        ({"model_name": ""}, "row 1, field 'model': is missing"),
        ({"records": []}, "there is no graded answer to import"),
    ],
)
def test_bad_result_files(importing, write, changes: dict[str, Any], reason: str):
    path = write("aime-test-m.json", small_sources.llmrouterbench_file(**changes))
    assert reason in importing.fails("llmrouterbench", path)


def test_files_that_are_no_result_files(importing, write):
    said = importing.fails("llmrouterbench", write("aime-test-m.json", "{}"))
    assert "it needs model_name, dataset_name and records" in said
    cut = write("aime-test-m.json", small_sources.llmrouterbench_file()[:-9])
    assert "broken or truncated JSON" in importing.fails("llmrouterbench", cut)
