from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from router.errors import DataError
from router.eval.collect.answers import Answer
from router.eval.collect.log_file import encode_line
from router.training.described_runs import prompt_labels, read_as_found, truncated_answers
from router.training.schema import RunsError


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def row(prompt: str, model: str, quality: object, **more: object) -> dict[str, object]:
    return {"prompt": prompt, "model": model, "quality": quality, **more}


def test_bad_and_contradictory_rows_are_counted_apart(tmp_path: Path):
    path = write(
        tmp_path / "runs.csv",
        [
            row("a", "small", 1),
            row("a", "small", 0),  # contradicts
            row("a", "large", 1),
            row("b", "large", 1),
            row("b", "large", 1),  # repeats
            row("b", "small", 7),  # out of range
            row("", "small", 1),  # no prompt
        ],
    )
    runs, grading = read_as_found([path])
    assert len(runs) == 2
    assert (grading.n_rows, grading.n_repeated) == (7, 1)
    assert (grading.n_contradictory, grading.n_bad) == (2, 2)
    assert "row 1, field 'quality': is 1 here and 0" in grading.examples[0]
    assert grading.truncated is None
    assert not (tmp_path / ".wattroute").exists()


def test_good_runs(tmp_path: Path):
    runs, grading = read_as_found([write(tmp_path / "runs.csv", [row("a", "small", 1)])])
    assert (grading.n_bad, grading.n_contradictory, grading.examples) == (0, 0, ())
    assert (len(runs), runs.files) == (1, grading.files)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.csv", "", "no rows"),
        ("bad.csv", "prompt,model\na,b\n", "no column 'quality'"),
        ("rows.csv", "prompt,model,quality\na,b,9\n", "quality"),
        ("broken.jsonl", '{"prompt": "a"', "not JSON"),
        ("notes.txt", "hello", "must end in"),
    ],
)
def test_what_cannot_be_described(tmp_path: Path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RunsError, match=message):
        read_as_found([path])


def test_labels_of_prompts(tmp_path: Path):
    path = write(
        tmp_path / "runs.csv",
        [
            row("a", "small", 1, prompt_id="p1", split="train", source=None),
            row("a", "large", 1, prompt_id="p1", split="test", source=None),
            row("b", "small", 1, prompt_id="p2", split=None, source=None),
        ],
    )
    runs, _ = read_as_found([path])
    assert prompt_labels(runs, "split") == [("test", "train"), ()]
    assert prompt_labels(runs, "source") is None


def answer(model: str, key: str, reason: str | None) -> bytes:
    stored = Answer(model, key, key, "text", finish_reason=reason)
    return encode_line({"kind": "answer", **stored.to_dict()})


def test_truncated_answers_of_a_collection(tmp_path: Path):
    folder = tmp_path / "runs" / "collect"
    folder.mkdir(parents=True)
    lines = [
        encode_line({"kind": "model", "model": "small", "settings": {}}),
        answer("small", "a", "length"),
        answer("small", "b", "length"),
        answer("small", "b", "stop"),  # asked again: the later one counts
        answer("large", "a", None),
    ]
    (folder / "answers.jsonl").write_bytes(b"".join(lines))
    assert truncated_answers([tmp_path / "runs", tmp_path]) == {"small": 1}
    assert truncated_answers([tmp_path]) is None
    (folder / "answers.jsonl").write_bytes(lines[1][:-9] + b"\n" + lines[2])
    with pytest.raises(DataError):
        truncated_answers([tmp_path / "runs"])


def test_examples_are_few(tmp_path: Path):
    rows = [row(f"prompt {i}", "small", 9) for i in range(50)] + [row("good", "small", 1)]
    _, grading = read_as_found([write(tmp_path / "runs.csv", rows)])
    assert (grading.n_bad, len(grading.examples)) == (50, 5)
    assert json.dumps(grading.examples)
