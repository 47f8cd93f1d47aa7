from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.monitor.feedback import Feedback, FeedbackLog, _parsed, read_feedback


@pytest.fixture
def read(tmp_path: Path):
    def reader(*files: list[Any]) -> FeedbackLog:
        paths = []
        for n, lines in enumerate(files):
            path = tmp_path / f"{n}.jsonl"
            texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
            paths.append(path)
        return read_feedback(paths)

    return reader


def wrong(log: FeedbackLog) -> list[tuple[str, int | None, str | None]]:
    return [(Path(p.file or "").name, p.row, p.field) for p in log.problems]


GRADED = {"model": "small", "probability": 0.9, "quality": 1}


def test_a_graded_row_alone_is_enough(read):
    log = read([GRADED | {"request_id": 7, "time": "noon", "quality_bar": 0.95, "more": [1]}])
    (row,) = log.graded
    assert (row.model, row.probability, row.quality) == ("small", 0.9, 1.0)
    assert (row.request_id, row.time, row.bar, row.row) == ("7", "noon", 0.95, 1)
    assert (log.n_rows, log.prompts, log.problems) == (1, (), ())


def test_the_decision_log_of_the_proxy_is_read_as_it_is(read):
    def decision(name: str, **more: Any) -> dict[str, Any]:
        return {
            "kind": "decision",
            "request_id": name,
            "time": 1764000000.5,
            "model": "api/small",
            "chosen": "api/small",
            "probability": 0.93,
            "novelty": None,
            "quality_bar": 0.98,
            "usage": None,
            "prompt_sha256": "00",
            **more,
        }

    grade = {"kind": "feedback", "request_id": "b", "time": 1764000100.0, "quality": 0.0}
    log = read(
        [
            decision("a"),
            decision("b", novelty=1.25),
            decision("c", prompt=[{"role": "user", "content": "Hi"}]),
            decision("d", probability=None),
            decision("e", model=None, chosen=None, probability=None),
            {"kind": "started", "version": 1},
            grade,
        ],
        [grade | {"request_id": "d", "quality": 0.5}],
    )
    assert log.problems == ()
    assert log.n_rows == 7
    assert [(r.request_id, r.probability, r.quality) for r in log.graded] == [
        ("b", 0.93, 0.0),
        ("d", None, 0.5),
    ]
    assert [r.time for r in log.graded] == [1764000100.0] * 2
    assert [(r.request_id, r.novelty, r.prompt is None) for r in log.prompts] == [
        ("b", 1.25, True),
        ("c", None, False),
    ]


def test_a_grade_may_come_before_its_decision_and_in_another_file(read):
    log = read(
        [{"request_id": "a", "quality": 0.25}],
        [{"request_id": "a", "model": "small", "probability": 0.5, "time": 3}],
    )
    (row,) = log.graded
    assert (row.model, row.probability, row.quality, row.time) == ("small", 0.5, 0.25, 3.0)
    assert Path(row.file).name == "0.jsonl"


def test_a_grade_with_a_model_takes_the_probability_of_its_decision(read):
    log = read(
        [
            {"request_id": "a", "model": "small", "probability": 0.5},
            {"request_id": "a", "model": "small", "quality": 1},
        ]
    )
    assert [(r.probability, r.quality) for r in log.graded] == [(0.5, 1.0)]


def test_the_last_grade_of_a_request_counts_in_the_place_of_the_first(read):
    first, other = GRADED | {"request_id": "a"}, GRADED | {"request_id": "b"}
    log = read([first, other, {"request_id": "a", "quality": 0.0}])
    assert [(r.request_id, r.quality) for r in log.graded] == [("a", 0.0), ("b", 1.0)]
    # rows without an id are answers of their own
    assert len(read([GRADED, GRADED]).graded) == 2


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("{", None),
        ("[1]", None),
        ("null", None),
        ('{"model": "\\ud800", "quality": 2}', "quality"),
        ({}, None),
        ({"request_id": "a", "probability": 0.5}, None),
        ({"quality": 1}, "model"),
        ({"quality": 1, "request_id": "nobody"}, "request_id"),
        ({"quality": 1, "model": "small"}, "probability"),
        (GRADED | {"quality": 1.5}, "quality"),
        (GRADED | {"quality": True}, "quality"),
        (GRADED | {"quality": "1"}, "quality"),
        ('{"model": "small", "probability": NaN, "quality": 1}', "probability"),
        (GRADED | {"probability": -0.1}, "probability"),
        (GRADED | {"probability": 10**400}, "probability"),
        (GRADED | {"model": 3}, "model"),
        (GRADED | {"model": " "}, "model"),
        (GRADED | {"request_id": ["a"]}, "request_id"),
        (GRADED | {"request_id": True}, "request_id"),
        (GRADED | {"quality_bar": 7}, "quality_bar"),
        (GRADED | {"time": []}, "time"),
        ({"novelty": "high"}, "novelty"),
        ('{"novelty": Infinity}', "novelty"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"role": "user"}}, "prompt"),
        ({"messages": [{"role": "user"}, 5]}, "messages"),
        ({"messages": [], "prompt": "Hi"}, "messages"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_kept(read, row, field):
    log = read([GRADED, row, GRADED])
    assert wrong(log) == [("0.jsonl", 2, field)]
    assert len(log.graded) == 2
    assert log.n_rows == 3


def test_all_bad_rows_are_named(read):
    log = read([{}, GRADED, "x"], [GRADED | {"quality": 2}])
    assert wrong(log) == [("0.jsonl", 1, None), ("0.jsonl", 3, None), ("1.jsonl", 1, "quality")]


def test_blank_lines_a_byte_order_mark_and_a_line_still_being_written(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    line = json.dumps(GRADED).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\n\n  \r\n" + line + b"\r\n" + line[:-9])
    log = read_feedback([path])
    assert (len(log.graded), log.n_rows, log.problems) == (2, 2, ())
    path.write_bytes(b"\xff\xfe\n" + line + b"\n")
    assert wrong(read_feedback([path])) == [("log.jsonl", 1, None)]


def test_a_file_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.jsonl cannot be read: No such file"):
        read_feedback([tmp_path / "nothing.jsonl"])
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_feedback([tmp_path])


def test_a_prompt_is_kept_only_where_it_is_needed():
    row = {"model": "small", "prompt": "Hi", "probability": 0.5, "novelty": 1.0}

    def prompt(**changes: Any) -> object:
        found = _parsed(json.dumps(row | changes).encode() + b"\n", "f", 1)
        assert isinstance(found, Feedback)
        return found.prompt

    assert prompt() is None
    assert prompt(prompt=5) is None
    assert prompt(novelty=None) == "Hi"
    assert prompt(probability=None) == "Hi"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "request_id",
        "model",
        "probability",
        "quality",
        "novelty",
        "time",
        "prompt",
        "messages",
        "kind",
        "quality_bar",
    ]
)


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=6) | JSON, max_size=5))
def test_whatever_is_in_a_file_is_read_or_named(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("fuzz") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    log = read_feedback([path])
    assert log.n_rows <= len(rows)
    assert len(log.problems) <= log.n_rows
    for row in log.graded:
        assert row.model is not None
        assert row.quality is not None
