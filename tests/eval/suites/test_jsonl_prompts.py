from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from router.errors import ConfigError, DataError
from router.eval.suites import load_suite, read_prompts


def write(path: Path, *rows: object) -> Path:
    file = path / "prompts.jsonl"
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return file


def test_fields_are_read(tmp_path: Path):
    messages = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Why?"}]
    file = write(
        tmp_path,
        {"prompt": "6 * 7?", "reference": [42, "42"], "task": "sums", "level": 3},
        "",
        {"messages": messages, "prompt_id": 17, "grader": "f1"},
    )
    first, second = load_suite(f"jsonl:{file}")
    assert first.prompt_id == hashlib.sha256(b"6 * 7?").hexdigest()[:16]
    assert (first.reference, first.task, first.metadata) == ([42, "42"], "sums", {"level": 3})
    assert first.messages == [{"role": "user", "content": "6 * 7?"}]
    assert (second.prompt, second.prompt_id, second.grader, second.row) == (
        messages, "17", "f1", 3,
    )  # fmt: skip


def test_what_is_written_is_read_back(tmp_path: Path):
    row = {"prompt": "Why? 為什麼", "reference": {"a": 1}, "task": "t", "x": [1], "prompt_id": "p"}
    [prompt] = read_prompts(write(tmp_path, row))
    [again] = read_prompts(write(tmp_path, prompt.to_dict()))
    assert (again.key, again.grading_key) == (prompt.key, prompt.grading_key)


def test_keys_tell_what_is_asked_from_what_is_graded(tmp_path: Path):
    rows = [
        {"prompt": "Why?", "prompt_id": "a", "reference": 1},
        {"prompt": "Why?", "prompt_id": "b", "reference": 1},
        {"prompt": "How?", "prompt_id": "c", "reference": 1},
    ]
    prompts = read_prompts(write(tmp_path, *rows))
    assert len({p.key for p in prompts}) == 3
    [other] = read_prompts(write(tmp_path, {**rows[0], "reference": 2}))
    assert other.key == prompts[0].key
    assert other.grading_key != prompts[0].grading_key


def test_repeated_lines_count_once_and_a_byte_order_mark_is_no_text(tmp_path: Path):
    file = write(tmp_path, {"prompt": "Why?"}, {"prompt": "Why?"})
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_prompts(file)) == 1


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ("{oops", None, "the line is not JSON"),
        ("[1]", None, "the line is no JSON object"),
        ({"reference": 1}, "prompt", "there is no prompt"),
        ({"promt": "Why?"}, "prompt", "did you mean 'promt'"),
        ({"prompt": "Why?", "refrence": 1}, "refrence", "did you mean 'reference'"),
        ({"prompt": "Why?", "Task": "x"}, "Task", "did you mean 'task'"),
        ({"prompt": "  "}, "prompt", "is empty"),
        ({"prompt": []}, "prompt", "has no messages"),
        ({"prompt": 7}, "prompt", "must be a string or a list"),
        ({"prompt": [{"role": "boss", "content": "x"}]}, "prompt", "role"),
        ('{"prompt": "half \\ud800"}', "prompt", "surrogate"),
        ({"prompt": "a", "messages": []}, None, "both prompt and messages"),
        ({"prompt": "a", "task": 3}, "task", "give a text"),
        ({"prompt": "a", "prompt_id": " "}, "prompt_id", "give a text"),
        ({"prompt": "How?", "prompt_id": "same"}, "prompt_id", "also the id of row 1"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(
    tmp_path: Path, row: object, field: str | None, message: str
):
    file = write(tmp_path, {"prompt": "Why?", "prompt_id": "same"}, row)
    with pytest.raises(DataError, match=message) as caught:
        read_prompts(file)
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(file), 2, field)


def test_all_problems_come_together(tmp_path: Path):
    file = write(tmp_path, *["{oops"] * 30)
    with pytest.raises(DataError, match=r"(?s)30 lines cannot be used.*and 20 more") as caught:
        read_prompts(file)
    assert caught.value.row == 1


def test_not_utf8_is_named(tmp_path: Path):
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'{"prompt": "Why?"}\n{"prompt": "\xff"}\n')
    with pytest.raises(DataError, match="row 2: the line is not UTF-8"):
        read_prompts(file)


def test_files_that_hold_no_prompts(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ends in \.jsonl"):
        read_prompts(tmp_path / "prompts.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prompts(tmp_path / "prompts.jsonl")
    with pytest.raises(DataError, match="no prompts"):
        read_prompts(write(tmp_path, ""))
    with pytest.raises(ConfigError, match="no suite 'gsm8k'"):
        load_suite("gsm8k:test")
