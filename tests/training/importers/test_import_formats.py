from __future__ import annotations

import json

import pytest

from router.errors import DataError
from router.training.importers.formats import FORMATS, detect


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("lm_eval", "lm-eval"),
        ("inspect/zip.eval", "inspect"),
        ("inspect/json.json", "inspect"),
        ("inspect", "inspect"),
        ("openai_evals", "openai-evals"),
        ("openai_evals/invented-large.jsonl", "openai-evals"),
        ("helm", "helm"),
        ("routerbench", "routerbench"),
        ("routerbench/pandas_3.pkl", "routerbench"),
    ],
)
def test_what_tools_wrote_is_recognised(data, path: str, form: str):
    assert detect(data / path) == form


STRONG = "gpt-4-1106-preview"


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("t.csv", "prompt,model,quality\na,b,1\n", "csv"),
        ("t.jsonl", '{"prompt": "a", "model": "b", "quality": 1}\n', "csv"),
        (
            "e.csv",
            "prompt_id,model_id,category_id,label,prompt,model_name\n1,1,1,1,a,b\n",
            "embedllm",
        ),
        ("r.csv", f"prompt,weak,{STRONG}\na,True,True\n", "routellm"),
        ("b.csv", "sample_id,prompt,eval_name,m,m|total_cost\n1,a,e,1,1\n", "routerbench"),
        ("eval_results_table.json", '{"columns": ["inputs"], "data": [["a"]]}', "mlflow"),
        ("o.json", '{"records": [], "model_name": "m", "dataset_name": "d"}', "llmrouterbench"),
        ("samples_x_1.jsonl", '{"doc_id": 0, "doc": {}, "arguments": {}}\n', "lm-eval"),
    ],
)
def test_files_are_recognised_by_what_is_in_them(write, name: str, content: str, form: str):
    path = write(f"f/{name}", content)
    assert detect(path) == form
    assert detect(path.parent) == form
    assert form in FORMATS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "a,b\n1,2\n"),
        ("x.csv", ""),
        ("x.json", "{"),
        ("x.bin", "\0"),
        ("x.jsonl", "nothing\n"),
    ],
)
def test_what_is_not_recognised_must_be_named(write, name: str, content: str):
    path = write(name, content)
    with pytest.raises(DataError, match=r"is of no format that is known: say which it is") as error:
        detect(path)
    assert ", ".join(FORMATS) in str(error.value)


def test_what_could_be_several_must_be_named(write, data):
    write("f/a.csv", "prompt,model,quality\na,b,1\n")
    folder = write("f/b.jsonl", json.dumps({"spec": {}}) + "\n").parent
    with pytest.raises(DataError, match=r"could be csv or openai-evals: say which it is"):
        detect(folder)


def test_sources_of_several_formats(importing, data):
    said = importing.fails("auto", data / "helm", data / "inspect")
    assert said == "the sources are of several formats: helm, inspect"


def test_a_run_of_mlflow():
    from pathlib import Path

    assert detect(Path("run:abc")) == "mlflow"


@pytest.mark.parametrize(
    ("form", "words", "reason"),
    [
        ("helm", {"column": ("prompt=x",)}, "--column does not go with helm; it is for csv"),
        ("csv", {"metric": ("x",)}, "--metric does not go with csv"),
        (
            "inspect",
            {"wide": ("x",)},
            "--wide does not go with inspect; it is for csv, routerbench",
        ),
        ("csv", {"tracking_uri": "x"}, "--tracking-uri does not go with csv; it is for mlflow"),
    ],
)
def test_options_that_do_not_fit(importing, data, form: str, words: dict, reason: str):
    assert reason in importing.fails(form, data / "helm", **words)
