from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from router.training.importers import zip_members

METRIC = ("includes",)


def log(*samples: Any, **changes: Any) -> dict[str, Any]:
    spec = {"task": "t", "model": "p/m"} | changes.pop("eval", {})
    return {"version": 2, "status": "success", "eval": spec, "samples": list(samples)} | changes


def sample(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "epoch": 1,
        "input": "Why?",
        "messages": [],
        "scores": {"match": {"value": "C"}},
    } | changes


@pytest.fixture
def zipped(tmp_path: Path):
    """Return a function that writes a log as an archive."""

    def written(
        value: dict[str, Any], name: str = "l.eval", method: int = zipfile.ZIP_DEFLATED
    ) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", method) as archive:
            header = {key: item for key, item in value.items() if key != "samples"}
            archive.writestr("header.json", json.dumps(header))
            for number, one in enumerate(value["samples"]):
                archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(one))
        return path

    return written


def test_what_inspect_wrote(importing, data):
    files = [data / "inspect" / name for name in ("zip.eval", "json.json")]
    rows = importing.rows("inspect", *files, metric=METRIC)
    found = {(row["model"], row["prompt_id"]): row for row in rows}
    assert len(found) == 6
    row = found["mockllm/large", "legs_and_sums:q2"]
    assert json.loads(row.pop("prompt")) == [
        {"role": "system", "content": "Answer with a number."},
        {"role": "user", "content": "How many legs has a heron?"},
    ]
    assert 0 <= row.pop("latency_s") < 60
    assert row == {
        "model": "mockllm/large",
        "quality": 1.0,
        "prompt_id": "legs_and_sums:q2",
        "prompt_tokens": 20.0,
        "completion_tokens": 6.0,
        "task": "legs_and_sums",
        "source": "inspect",
    }
    graded = [found["mockllm/small", f"legs_and_sums:q{i}"]["quality"] for i in range(3)]
    assert graded == [1.0, 0.0, 0.0]


def test_letters_and_numbers_are_grades(importing, data):
    path = data / "inspect" / "zip.eval"
    by_letter = importing.rows("inspect", path, metric=("graded.grade",))
    assert [row["quality"] for row in by_letter] == [0.5, 0.5, 0.5]
    by_number = importing.rows("inspect", path, metric=("graded.brevity",))
    assert [row["quality"] for row in by_number] == [0.5, 0.5, 0.5]
    scaled = importing.rows("inspect", path, metric=("graded.grade",), scale="0:10")
    assert [row["quality"] for row in scaled] == [0.5, 0.5, 0.5]


def test_a_score_must_be_told_and_exist(importing, data):
    said = importing.fails("inspect", data / "inspect" / "zip.eval")
    assert "say which score to take with --metric NAME" in said
    assert "there are includes, graded.brevity, graded.grade" in said
    said = importing.fails("inspect", data / "inspect" / "zip.eval", metric=("match",))
    assert "there is no score 'match'; there are includes, graded.brevity" in said


def test_epochs_are_averaged_on_request(importing, data):
    path = data / "inspect" / "epochs.eval"
    said = importing.fails("inspect", path, metric=METRIC)
    assert "epochs.eval:samples/q1_epoch_1.json" in said
    assert "average them with --repeats mean" in said
    rows = importing.rows("inspect", path, metric=METRIC, repeats="mean")
    assert [(row["prompt_id"], row["quality"]) for row in rows] == [
        ("legs_and_sums:q0", 1.0),
        ("legs_and_sums:q1", 0.5),
        ("legs_and_sums:q2", 0.5),
    ]
    assert rows[1]["completion_tokens"] == 2
    result = importing.result("inspect", path, metric=METRIC, repeats="first")
    assert result.left_out == {
        "another grade of the same model and prompt came first (--repeats first)": 2
    }
    assert result.n_repeated == 1


def test_the_prompt_may_be_the_input(importing, data):
    path = data / "inspect" / "zip.eval"
    rows = importing.rows("inspect", path, metric=METRIC, column=("prompt=input",))
    assert rows[0]["prompt"] == "What is 2 + 3?"


def test_all_formats_of_a_log_say_the_same(importing, write, zipped):
    value = log(sample(), sample(id=2, input="How?", scores={"match": {"value": 0.25}}))
    files = [
        write("l.json", json.dumps(value)),
        zipped(value),
        zipped(value, "s.eval", zipfile.ZIP_STORED),
        zipped(value, "b.eval", zipfile.ZIP_BZIP2),
    ]
    found = [importing.rows("inspect", path) for path in files]
    assert found[0] == found[1] == found[2] == found[3]
    assert [row["quality"] for row in found[0]] == [1.0, 0.25]


def test_turns_tokens_and_attachments(importing, write):
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "attachment://x"}]},
        {"role": "assistant", "content": "?"},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "4"},
    ]
    usage = {
        "input_tokens": 5,
        "input_tokens_cache_read": 7,
        "output_tokens": 30,
        "total_cost": 0.5,
    }
    value = sample(
        messages=messages,
        attachments={"x": "What is\n2 + 2?"},
        model_usage={"p/m": usage, "p/grader": {"input_tokens": 900, "output_tokens": 900}},
        output={"usage": {"input_tokens": 1, "output_tokens": 2}, "time": 1.5},
    )
    (row,) = importing.rows("inspect", write("l.json", json.dumps(log(value))))
    assert row["prompt"] == "What is\n2 + 2?"
    assert (row["prompt_tokens"], row["completion_tokens"]) == (12, 30)
    assert (row["cost_usd"], row["latency_s"]) == (0.5, 1.5)


def test_examples_in_the_input_belong_to_the_prompt(importing, write):
    messages = [
        {"role": "user", "content": "1 + 1?", "source": "input"},
        {"role": "assistant", "content": "2", "source": "input"},
        {"role": "user", "content": "2 + 2?", "source": "input"},
        {"role": "assistant", "content": "4", "source": "generate"},
    ]
    (row,) = importing.rows("inspect", write("l.json", json.dumps(log(sample(messages=messages)))))
    assert [m["content"] for m in json.loads(row["prompt"])] == ["1 + 1?", "2", "2 + 2?"]


def test_what_has_no_grade_is_left_out_with_its_reason(importing, write):
    value = log(
        sample(),
        sample(id=2, input="a", error={"message": "timeout"}),
        sample(id=3, input="b", scores=None),
        sample(id=4, input="c", scores={"match": {"value": float("nan")}}),
        status="error",
    )
    result = importing.result("inspect", write("l.json", json.dumps(value)))
    assert result.left_out == {
        "the sample ended in an error": 1,
        "the sample was not scored": 1,
        "the scorer gave no score": 1,
    }
    assert (result.n_runs, result.n_read) == (1, 4)
    assert any("did not end (error)" in note for note in result.notes)


BAD = {
    "no sample": ([1], "is no sample of Inspect"),
    "image": (
        sample(input=[{"role": "user", "content": [{"type": "image", "image": "x"}]}]),
        "has a part of type 'image'",
    ),
    "role": (sample(input=[{"role": "robot", "content": "x"}]), "with the role 'robot'"),
    "content": (sample(input=[{"role": "user"}]), "has a message without content"),
    "attachment": (sample(input="attachment://no"), "refers to an attachment that is not there"),
    "input": (sample(input=7), "is of type int; must be text or messages"),
    "letter": (
        sample(scores={"match": {"value": "X"}}),
        "field 'match': is 'X', which is no grade",
    ),
    "range": (sample(scores={"match": {"value": 9}}), "is 9, outside 0 to 1"),
    "list": (sample(scores={"match": {"value": [1, 2]}}), "is [1, 2], which is no grade"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sample_is_named_or_left_out(importing, write, name: str):
    bad, reason = BAD[name]
    good = sample(id=9, input="fine")
    path = write("l.json", json.dumps(log(good, bad)))
    said = importing.fails("inspect", path)
    assert f"{path}, row 2" in said
    assert reason in said
    assert importing.result("inspect", path, on_bad="skip").n_runs == 1


def test_files_that_are_no_logs(importing, write, data, zipped, tmp_path):
    whole = (data / "inspect" / "zip.eval").read_bytes()
    said = importing.fails("inspect", write("t.eval", whole[:5000]), metric=METRIC)
    assert "t.eval: is no zip archive, or a truncated one" in said
    assert "is no zip archive" in importing.fails("inspect", write("e.eval", b""))
    assert "broken or truncated JSON" in importing.fails("inspect", write("a.json", '{"eval": {'))
    assert "is not UTF-8 at byte 0" in importing.fails("inspect", write("u.json", b"\xff\xfe{}"))
    assert "it needs 'eval'" in importing.fails("inspect", write("b.json", "{}"))
    deep = write("d.json", "[" * 100_000)
    assert "nested too deeply" in importing.fails("inspect", deep)
    said = importing.fails("inspect", write("n.json", json.dumps(log())))
    assert "the log has no samples" in said
    said = importing.fails("inspect", zipped({"samples": []}))
    assert "it has no header.json with 'eval'" in said


def test_other_json_beside_logs_is_left_out(importing, write):
    write("logs/listing.json", '{"l.json": {}}')
    folder = write("logs/l.json", json.dumps(log(sample()))).parent
    result = importing.result("inspect", folder)
    assert result.left_out == {"a JSON file that is no log of Inspect": 1}
    assert result.n_runs == 1


def test_a_log_cut_short_counts_as_far_as_it_goes(importing, tmp_path):
    path = tmp_path / "cut.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_journal/start.json", json.dumps({"eval": {"task": "t", "model": "m"}}))
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample()))
        archive.writestr("samples/../../../etc/x_epoch_1.json", json.dumps(sample(id=2, input="b")))
    assert len(importing.rows("inspect", path)) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.eval", "work"]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def test_a_damaged_member_is_named(importing, data, write):
    whole = (data / "inspect" / "zip.eval").read_bytes()
    start = whole.index(b"samples/q1_epoch_1.json") + 60
    for at in range(start, start + 2000, 97):
        said = importing.fails("inspect", write("x.eval", flipped(whole, at)), metric=METRIC)
        assert "samples/q1_epoch_1.json: is damaged" in said


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_refused(importing, zipped, monkeypatch, method: int):
    monkeypatch.setattr(zip_members, "_MAX_MEMBER", 2**20)
    path = zipped(log(sample(input="x" * 2**24)), method=method)
    assert path.stat().st_size < 2**18
    said = importing.fails("inspect", path)
    assert "samples/0_epoch_1.json: holds more than 1,048,576 bytes when decompressed" in said


def test_a_zstandard_bomb_that_lies_about_its_size_is_refused(importing, tmp_path, monkeypatch):
    import pyarrow as pa

    monkeypatch.setattr(zip_members, "_MAX_MEMBER", 2**20)
    packed = pa.compress(b" " * 2**26, "zstd", asbytes=True)
    name = b"header.json"
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 93, 0, 0, 0, len(packed), 9, 11, 0)
    central = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 93, 0, 0, 0, len(packed), 9, 11, 0, 0, 0, 0, 0, 0
    )
    start = len(local) + 11 + len(packed)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central) + 11, start, 0)
    path = tmp_path / "bomb.eval"
    path.write_bytes(local + name + packed + central + name + end)
    assert path.stat().st_size < 2**18
    said = importing.fails("inspect", path)
    assert "bomb.eval:header.json: holds more than 1,048,576 bytes" in said


def test_many_members_together_are_bounded(importing, zipped, monkeypatch):
    monkeypatch.setattr(zip_members, "_MAX_TOTAL", 2**20)
    samples = [sample(id=i, input=str(i) + "x" * 2**18) for i in range(8)]
    assert "holds more than" in importing.fails("inspect", zipped(log(*samples)))


def test_encrypted_and_unknown_compression_are_refused(importing, zipped):
    path = zipped(log(sample()), method=zipfile.ZIP_STORED)
    whole = bytearray(path.read_bytes())
    for at in (i for i in range(len(whole)) if whole[i : i + 4] == b"PK\x01\x02"):
        whole[at + 8] |= 1
    path.write_bytes(whole)
    assert "header.json: is encrypted" in importing.fails("inspect", path)
    for at in (i for i in range(len(whole)) if whole[i : i + 4] == b"PK\x01\x02"):
        whole[at + 8] &= 0xFE
        whole[at + 10] = 77
    path.write_bytes(whole)
    assert "is compressed by method 77" in importing.fails("inspect", path)


def test_checksums_of_zstandard_members_are_checked(data):
    with zip_members.open_archive(data / "inspect" / "zip.eval") as archive:
        for name in archive.names():
            content = archive.read(name)
            assert zlib.crc32(content) == archive._zip.getinfo(name).CRC
            json.loads(content)
