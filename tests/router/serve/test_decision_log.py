"""The decision log: appended by many, moved away, read back as graded runs."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError, DataError
from router.monitor.feedback import read_feedback
from router.serve.decision_log import DecisionLog, graded_runs, read_log


def decision(request_id: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "decision",
        "request_id": request_id,
        "model": "api/small",
        "run_name": "small",
        "outcome": "answered",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "estimated": False},
        "latency_s": 0.5,
        "prompt": [{"role": "user", "content": f"Question {request_id}?"}],
    } | fields


def grade(request_id: str, quality: float) -> dict[str, Any]:
    return {"kind": "feedback", "request_id": request_id, "quality": quality}


def write(path: Path, *records: dict[str, Any]) -> Path:
    log = DecisionLog(path)
    assert all(log.append(record) for record in records)
    log.close()
    return path


def test_records_come_back(tmp_path: Path):
    records = [decision("a", note="ü\n\ud800"), grade("a", 1.0)]
    path = write(tmp_path / "log.jsonl", *records)
    assert list(read_log([path])) == records
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write(path, grade("b", 0.0))
    assert len(list(read_log([path]))) == 3


def test_numbers_that_json_lacks_are_null(tmp_path: Path):
    path = write(tmp_path / "log.jsonl", {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert list(read_log([path])) == [{"a": None, "b": [None, 1.5]}]


def test_processes_do_not_tear_each_others_lines(tmp_path: Path, run_python: Callable[..., str]):
    path = tmp_path / "log.jsonl"
    code = """
        import os, sys
        from router.serve.decision_log import DecisionLog
        children = []
        for worker in range(4):
            process = os.fork()
            if process == 0:
                log = DecisionLog(sys.argv[1])
                for i in range(200):
                    log.append({"worker": worker, "i": i, "text": "x" * 3_000})
                os._exit(0)
            children.append(process)
        assert all(os.waitpid(process, 0)[1] == 0 for process in children)
    """
    run_python(code, str(path))
    found = [(record["worker"], record["i"]) for record in read_log([path])]
    assert sorted(found) == [(worker, i) for worker in range(4) for i in range(200)]


def test_a_moved_file_is_followed_by_a_new_one(tmp_path: Path):
    path, moved = tmp_path / "log.jsonl", tmp_path / "log.1.jsonl"
    log = DecisionLog(path)
    log.append(grade("a", 0.0))
    log.follow()
    path.rename(moved)
    log.append(grade("b", 0.0))  # still to the file that was moved
    log.follow()
    log.append(grade("c", 0.0))
    log.close()
    assert [record["request_id"] for record in read_log([moved])] == ["a", "b"]
    assert [record["request_id"] for record in read_log([path])] == ["c"]


def test_a_folder_that_goes_away_loses_no_request(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = DecisionLog(folder / "log.jsonl")
    (folder / "log.jsonl").unlink()
    folder.rmdir()
    log.follow()
    assert log.append(grade("a", 0.0))
    folder.mkdir()
    log.follow()
    assert log.append(grade("b", 0.0))
    log.close()
    assert len(list(read_log([folder / "log.jsonl"]))) == 1


def test_a_full_disk_is_counted(caplog: pytest.LogCaptureFixture):
    log = DecisionLog("/dev/full")
    assert not log.append(grade("a", 0.0))
    assert not log.append(grade("b", 0.0))
    assert log.n_lost == 2
    assert len(caplog.records) == 1
    log.close()


def test_a_line_cut_off_by_a_full_disk_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log.jsonl"
    log = DecisionLog(path)
    log.append(grade("a", 0.0))
    write_all = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: write_all(file, data[:30]))
        assert not log.append(grade("b", 0.0))
    assert log.append(grade("c", 0.0))
    assert log.append(grade("d", 0.0))
    log.close()
    assert log.n_lost == 1
    assert [record["request_id"] for record in read_log([path])] == ["a", "c", "d"]
    read = read_feedback([path])
    assert read.n_rows == 4
    # a bad row for the stump, and three grades that no decision belongs to
    assert [problem.row for problem in read.problems] == [2, 1, 3, 4]


def test_a_log_that_ends_in_a_stump_is_continued_on_a_line_of_its_own(tmp_path: Path):
    path = write(tmp_path / "log.jsonl", grade("a", 1.0))
    with path.open("a") as file:
        file.write('{"kind":"decision","request_id":"b","mo')
    write(path, grade("c", 1.0), grade("d", 1.0))
    assert [record["request_id"] for record in read_log([path])] == ["a", "c", "d"]
    assert path.read_text().count("\n\n") == 0


def test_blank_lines_are_passed_over(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text(f"\n{json.dumps(grade('a', 1.0))}\n\n")
    assert list(read_log([path])) == [grade("a", 1.0)]


def test_no_log_takes_everything():
    log = DecisionLog()
    assert log.append(grade("a", 0.0))
    log.follow()
    log.close()


def test_a_log_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be written"):
        DecisionLog(tmp_path / "missing" / "log.jsonl")


def test_a_cut_off_last_line_is_left_out(tmp_path: Path):
    path = write(tmp_path / "log.jsonl", grade("a", 1.0))
    with path.open("a") as file:
        file.write('{"kind": "deci')
    assert list(read_log([path])) == [grade("a", 1.0)]


@pytest.mark.parametrize("line", ["no json", "[1]", "\xff"])
def test_another_file_is_refused(tmp_path: Path, line: str):
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(grade("a", 1.0)).encode() + b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=r"log\.jsonl, row 2"):
        list(read_log([path]))


def test_graded_runs_have_a_prompt_an_answer_and_a_grade(tmp_path: Path):
    path = write(
        tmp_path / "log.jsonl",
        grade("early", 0.25),
        decision("early"),
        decision("twice"),
        grade("twice", 0.0),
        grade("twice", 1.0),
        decision("ungraded"),
        decision("failed", outcome="failed"),
        grade("failed", 1.0),
        decision("no prompt", prompt=None),
        grade("no prompt", 1.0),
        grade("unheard of", 1.0),
        decision("bare", usage=None, latency_s=None, run_name=None),
        grade("bare", 0.5),
        {"kind": "something new"},
    )
    runs = list(graded_runs([path]))
    assert [(run["model"], run["quality"]) for run in runs] == [
        ("small", 0.25),
        ("small", 1.0),
        ("api/small", 0.5),
    ]
    assert runs[0] == {
        "prompt": [{"role": "user", "content": "Question early?"}],
        "model": "small",
        "quality": 0.25,
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "latency_s": 0.5,
        "source": "decision log",
    }
    assert runs[2].keys() == {"prompt", "model", "quality", "source"}


def test_grades_may_be_in_another_file(tmp_path: Path):
    old = write(tmp_path / "old.jsonl", decision("a"))
    new = write(tmp_path / "new.jsonl", grade("a", 1.0))
    assert len(list(graded_runs([old, new]))) == 1
    assert list(graded_runs([old])) == []
