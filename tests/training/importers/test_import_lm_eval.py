from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

CHOICE = ("tiny_sums=exact_match,strict-match", "tiny_fruit=acc_norm")


def sample(**changes: Any) -> dict[str, Any]:
    return {
        "doc_id": 0,
        "doc": {"question": "Why?", "hint": "Because."},
        "target": "x",
        "arguments": {"gen_args_0": {"arg_0": "Q: Why?", "arg_1": {"until": []}}},
        "filter": "none",
        "metrics": ["acc"],
        "acc": 1.0,
    } | changes


@pytest.fixture
def samples(write):
    """Return a function that writes results and samples of one run."""

    def written(
        *rows: Any, folder: str = "m", stamp: str = "2026-01-02T03-04-05.6", **results: Any
    ):
        results = {"model_name": "org/m"} | results
        write(f"{folder}/results_{stamp}.json", json.dumps(results))
        text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        return write(f"{folder}/samples_my_task_{stamp}.jsonl", text)

    return written


def test_what_lm_eval_wrote(importing, data):
    rows = importing.rows("lm-eval", data / "lm_eval", metric=CHOICE)
    found = {(row["model"], row["prompt_id"]): row for row in rows}
    assert len(found) == len(rows) == 14
    assert found["invented/adder-1b", "tiny_sums:0"] == {
        "prompt": "Q: What is 2 + 3?\nA:",
        "model": "invented/adder-1b",
        "quality": 0.0,
        "prompt_id": "tiny_sums:0",
        "task": "tiny_sums",
        "source": "lm-eval",
    }
    graded = [found["invented/adder-1b", f"tiny_sums:{i}"]["quality"] for i in range(4)]
    assert graded == [0.0, 0.0, 1.0, 0.0]
    assert found["invented/adder-7b", "tiny_fruit:0"]["prompt"] == "Which of these is yellow?"
    assert "\u201cking\u201d" in found["invented/adder-7b", "tiny_fruit:2"]["prompt"]


def test_the_metric_decides(importing, data):
    (folder,) = (data / "lm_eval").glob("*7b")
    (fruit,) = folder.glob("samples_tiny_fruit*")
    assert {r["quality"] for r in importing.rows("lm-eval", fruit, metric=("acc_norm",))} == {1.0}
    assert {r["quality"] for r in importing.rows("lm-eval", fruit, metric=("acc,none",))} == {0.0}


def test_a_metric_must_be_told_and_exist(importing, data):
    said = importing.fails("lm-eval", data / "lm_eval")
    assert "say which grade of 'tiny_fruit' to take with --metric NAME" in said
    assert "there are acc,none, acc_norm,none" in said
    said = importing.fails("lm-eval", data / "lm_eval", metric=("tiny_fruit=acc", "exact_match"))
    assert "'exact_match' of 'tiny_sums' is there under several filters" in said
    assert "exact_match,strict-match, exact_match,flexible-extract" in said
    said = importing.fails("lm-eval", data / "lm_eval", metric=("accuracy",))
    assert "'accuracy' of 'tiny_fruit' is not there; there are acc,none, acc_norm,none" in said


def test_rows_of_other_filters_are_counted(importing, data):
    result = importing.result("lm-eval", data / "lm_eval", metric=CHOICE)
    assert result.left_out == {"another filter than strict-match": 8}
    assert result.n_read == 22 == result.n_runs + 8
    assert "tiny_fruit: the grade is acc_norm,none" in result.notes
    listed = [json.loads(line) for line in result.left_out_file.read_text().splitlines()]
    assert len(listed) == 8
    assert {line["row"] for line in listed} == {5, 6, 7, 8}


def test_the_prompt_may_be_a_field_of_the_document(importing, data):
    rows = importing.rows("lm-eval", data / "lm_eval", metric=CHOICE, column=("prompt=question",))
    assert {row["prompt"] for row in rows} >= {"What is 2 + 3?", "Which of these is yellow?"}
    path = next((data / "lm_eval").rglob("samples_tiny_sums*"))
    said = importing.fails("lm-eval", path, metric=CHOICE, column=("prompt=query",))
    assert "row 1, field 'query': the document has no such field; it has question, answer" in said
    said = importing.fails("lm-eval", path, metric=CHOICE, column=("task=x",))
    assert "--column takes the prompt alone" in said


def test_prompts_that_a_chat_template_made_differ(importing, samples):
    for name in ("a", "b"):
        arguments = {"gen_args_0": {"arg_0": f"<{name}>Why?", "arg_1": {}}}
        samples(sample(arguments=arguments), folder=f"out/{name}", model_name=name)
    folder = importing.folder.parent / "in" / "out"
    said = importing.fails("lm-eval", folder)
    assert "'my_task:0' is also the id of another prompt" in said
    assert "--apply_chat_template" in said
    assert "--column prompt=FIELD" in said
    rows = importing.rows("lm-eval", folder, column=("prompt=question",))
    assert [(row["model"], row["prompt"]) for row in rows] == [("a", "Why?"), ("b", "Why?")]


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [text]])
def test_chats_of_api_models_stay_chats(importing, samples, wrap):
    chat = [
        {"role": "system", "content": "Be brief.", "type": "text"},
        {"role": "user", "content": "Why?", "type": "text"},
    ]
    arguments = {"gen_args_0": {"arg_0": wrap(json.dumps(chat)), "arg_1": {}}}
    (row,) = importing.rows("lm-eval", samples(sample(arguments=arguments)))
    assert json.loads(row["prompt"]) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]


def test_layouts_of_older_versions(importing, samples):
    old = sample(arguments=[["Why?", " A"], ["Why?", " B"]], acc=False)
    for name in ("filter", "metrics"):
        del old[name]
    path = samples(old, model_name=None, config={"model_args": "dtype=float,pretrained=org/old"})
    (row,) = importing.rows("lm-eval", path)
    assert (row["model"], row["prompt"], row["quality"]) == ("org/old", "Why?", 0.0)


def test_options_with_prompts_of_their_own_need_a_field(importing, samples):
    arguments = {"gen_args_0": {"arg_0": "He A"}, "gen_args_1": {"arg_0": "He B"}}
    path = samples(sample(arguments=arguments))
    said = importing.fails("lm-eval", path)
    assert "row 1, field 'arguments': differ between the options" in said
    assert "it has question, hint" in said
    assert importing.rows("lm-eval", path, column=("prompt=question",))[0]["prompt"] == "Why?"


def test_the_newest_run_of_a_task_counts(importing, samples):
    samples(sample(acc=0.0), sample(doc_id=1, acc=0.0), stamp="2026-01-01T00-00-00.0")
    path = samples(sample(acc=1.0), stamp="2026-01-02T00-00-00.0")
    result = importing.result("lm-eval", path.parent)
    assert result.n_runs == 1
    assert result.models["org/m"]["quality"] == 1.0
    assert result.left_out == {"an older run of the same task and model": 2}


def test_without_results_the_model_must_be_told(importing, data, tmp_path):
    path = next((data / "lm_eval").rglob("samples_tiny_fruit*"))
    alone = Path(shutil.copy(path, tmp_path))
    said = importing.fails("lm-eval", alone, metric=CHOICE)
    assert "field 'model_name': there is no results_*.json beside it" in said
    rows = importing.rows("lm-eval", alone, metric=CHOICE, model=("mine",))
    assert {row["model"] for row in rows} == {"mine"}


BAD = {
    "truncated": (
        json.dumps(sample(doc_id=1))[:40] + "\n",
        "row 2: the line is broken or truncated JSON",
    ),
    "array": ("[1]\n", "row 2: the line is not a JSON object"),
    "no sample": ('{"a": 1}\n', "row 2: is no sample of lm-eval"),
    "grade": (sample(doc_id=1, acc=7), "row 2, field 'acc,none': is 7, outside 0 to 1"),
    "nan": (
        sample(doc_id=1, acc=float("nan")),
        "row 2, field 'acc,none': is nan, which is no grade",
    ),
    "text": (sample(doc_id=1, acc="good"), "row 2, field 'acc,none': is 'good', which is no grade"),
    "no request": (sample(doc_id=1, arguments={}), "row 2, field 'arguments': has no request"),
    "no grade": ({k: v for k, v in sample(doc_id=1).items() if k != "acc"}, "row 2, field 'acc'"),
    "empty": (
        sample(doc_id=1, arguments={"a": {"arg_0": " "}}),
        "row 2, field 'prompt': is empty",
    ),
    "contradiction": (sample(acc=0), "is 1 here and 0 in"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_or_left_out(importing, samples, name: str):
    line, reason = BAD[name]
    path = samples(sample(), line, sample(doc_id=2))
    said = importing.fails("lm-eval", path)
    assert str(path) in said
    assert reason in said
    result = importing.result("lm-eval", path, on_bad="skip")
    assert result.n_runs == (1 if name == "contradiction" else 2)
    assert sum(result.bad.values()) == (2 if name == "contradiction" else 1)
    assert result.left_out_file.is_file()


def test_files_that_are_no_samples(importing, samples, write):
    folder = samples(sample()).parent
    empty = write("e/samples_x_1.jsonl", "")
    assert importing.fails("lm-eval", empty) == f"{empty}: the file is empty"
    odd = write("o/samples_x_1.jsonl", b'\xff\xfe{"a": 1}\n')
    assert "row 1: the line is not UTF-8" in importing.fails("lm-eval", odd, model=("m",))
    (folder / "results_2026-01-02T03-04-05.6.json").write_text('{"model_name": "x"')
    said = importing.fails("lm-eval", folder)
    assert "results_2026-01-02T03-04-05.6.json: is broken or truncated JSON" in said
    assert "there is no such file or folder" in importing.fails("lm-eval", folder / "nowhere")
    (folder / "empty").mkdir()
    said = importing.fails("lm-eval", folder / "empty")
    assert "the folder has no file samples_*.jsonl" in said


def test_odd_names_of_folders(importing, data, tmp_path):
    odd = tmp_path / "a b" / "ü%20 [x]\n'\"$(touch no)"
    shutil.copytree(data / "lm_eval", odd)
    assert importing.result("lm-eval", odd, metric=CHOICE).n_runs == 14
