from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError, DataError
from router.eval.collect.log_file import LogFile, decode_line, encode_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def write(path: Path, *records: Any) -> None:
    log = LogFile(path)
    for record in records:
        log.add(record)
    log.close()


@given(st.dictionaries(st.text().filter(lambda key: key != "checksum"), VALUES, min_size=1))
def test_a_record_survives_its_line(record: dict[str, Any]):
    line = encode_line(record)
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == record
    assert json.loads(line)["checksum"]


@given(st.data())
def test_no_changed_byte_goes_unseen(data: st.DataObject):
    line = encode_line({"model": "m", "text": "forty-two", "n": 3})[:-1]
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != line[place]))
    with pytest.raises(ValueError, match="checksum"):
        decode_line(line[:place] + bytes([byte]) + line[place + 1 :])


def test_a_file_cut_off_at_any_byte_keeps_its_whole_lines(tmp_path: Path):
    records = [{"n": 0}, {"n": 1}]
    path = tmp_path / "log.jsonl"
    write(path, *records)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        n_whole = sum(end <= cut for end in ends)
        log = LogFile(path)
        assert (log.torn is None) == (cut in (0, *ends))
        log.add({"n": "new"})
        log.close()
        assert list(LogFile.records(path)) == [*records[:n_whole], {"n": "new"}]
    aside = path.with_name("log.jsonl.torn").read_bytes()
    assert whole[ends[0] : ends[0] + 9] in aside


def test_a_last_line_of_zeros_after_a_power_cut_is_set_aside(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    write(path, {"n": 1})
    with path.open("ab") as file:
        file.write(b"\0" * 4096)
    log = LogFile(path)
    assert log.torn is not None
    assert (log.torn.row, log.torn.n_bytes) == (2, 4096)
    assert "4096 bytes set aside" in str(log.torn)
    log.close()
    assert list(LogFile.records(path)) == [{"n": 1}]


@pytest.mark.parametrize("row", [1, 2])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, row: int):
    path = tmp_path / "log.jsonl"
    write(path, {"n": 1}, {"n": 2}, {"n": 3})
    lines = path.read_bytes().splitlines(keepends=True)
    lines[row - 1] = lines[row - 1].replace(b'"n"', b'"m"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=rf"log\.jsonl, row {row}: the line is damaged") as caught:
        LogFile(path)
    assert caught.value.row == row
    assert path.read_bytes() == b"".join(lines), "nothing is repaired on its own"


def test_at_most_twenty_records_or_a_second_are_unsynced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]
    log = LogFile(tmp_path / "log.jsonl", clock=lambda: now[0])
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: syncs.append(fd))
    for i in range(45):
        log.add({"n": i})
    assert len(syncs) == 2
    log.sync(due=True)
    assert len(syncs) == 2
    now[0] = 1.0
    log.sync(due=True)
    assert len(syncs) == 3
    log.sync()
    log.close()
    assert len(syncs) == 3, "there was nothing left to sync"


def test_a_record_is_in_the_file_before_it_is_synced(tmp_path: Path):
    log = LogFile(tmp_path / "log.jsonl")
    log.add({"n": 1})
    assert list(LogFile.records(tmp_path / "log.jsonl")) == [{"n": 1}]
    log.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log.jsonl"
    log = LogFile(path)
    log.add({"n": 1})
    write_through = os.write

    def full(fd: int, data: bytes) -> int:
        if data.startswith(b"{"):
            return write_through(fd, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ConfigError, match=r"log\.jsonl cannot be written \(No space left"):
        log.add({"n": 2, "text": "y" * 50})
    monkeypatch.undo()
    log.add({"n": 3})
    log.close()
    assert list(LogFile.records(path)) == [{"n": 1}, {"n": 3}]


def test_a_file_that_cannot_be_made_is_said(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be written"):
        LogFile(tmp_path / "missing" / "log.jsonl")
