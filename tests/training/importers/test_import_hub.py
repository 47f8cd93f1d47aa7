from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hub_server
from router.errors import ConfigError, DataError, UpstreamError
from router.training.importers import hub, run_import
from router.training.importers.hub import HubSource, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# about",
    "loader.py": b"raise SystemExit('this must not run')",
    "data/test.csv": (
        b"prompt_id,model_id,category_id,label,prompt,model_name,category\n"
        b"0,0,0,1,Why?,org/a,x\n0,1,0,0,Why?,org/b,x\n"
    ),
    "runs.jsonl": b'{"prompt": "How?", "model": "m", "quality": 1}\n',
}


@pytest.fixture
def server() -> Iterator[Any]:
    with hub_server.HubServer({"own/data": FILES}, closed=("own/closed",)) as running:
        yield running


@pytest.fixture
def got(server: Any, tmp_path: Path):
    def fetched(text: str) -> Path:
        return fetch(text, endpoint=server.url, cache_dir=str(tmp_path / "cache"))

    return fetched


def test_only_data_is_fetched(got, server):
    folder = got("hf:own/data")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert names == ["data/test.csv", "runs.jsonl"]
    assert not any("loader.py" in path for path in server.asked)


@pytest.mark.parametrize(
    "text", ["hf:own/data/data/test.csv", f"hf:own/data@{COMMIT}/data/test.csv"]
)
def test_one_file(got, server, text: str):
    path = got(text)
    assert path.name == "test.csv"
    assert path.read_bytes() == FILES["data/test.csv"]
    assert not any("runs.jsonl" in asked for asked in server.asked)


@pytest.mark.parametrize(
    ("form", "source"),
    [
        ("embedllm", "hf:own/data/data"),
        ("hf", "own/data/data/test.csv"),
        ("auto", "hf:own/data/data"),
    ],
)
def test_the_same_code_reads_what_was_fetched(importing, got, monkeypatch, form, source):
    monkeypatch.setattr(run_import, "fetch", got)
    rows = importing.rows(form, source)
    assert [(r["model"], r["quality"]) for r in rows] == [("org/a", 1.0), ("org/b", 0.0)]
    assert {row["source"] for row in rows} == {"embedllm"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hf:own/nothing", "there is no such data set, or you may not see it"),
        ("hf:own/closed", "its owner must admit you first"),
        ("hf:own/data@gone", "there is no revision 'gone'"),
    ],
)
def test_what_the_hub_refuses(got, text: str, reason: str):
    with pytest.raises(UpstreamError) as error:
        got(text)
    assert str(error.value).startswith(f"{text}: {reason}")
    assert "Or fetch the files elsewhere" in str(error.value)


def test_a_file_that_is_not_there(got):
    with pytest.raises(DataError, match=r"no file or folder 'more\.csv'"):
        got("hf:own/data/more.csv")


def test_without_a_network(tmp_path):
    with pytest.raises(UpstreamError) as error:
        fetch("hf:own/data", endpoint="http://127.0.0.1:9", cache_dir=str(tmp_path))
    assert error.value.retryable
    assert str(error.value).startswith("hf:own/data: the hub cannot be reached")


@pytest.mark.parametrize(
    "text", ["hf:", "hf:name", "hf:/name", "hf:own/", "hf:own/data@", "hf:own/data/../x"]
)
def test_names_of_another_form(text: str):
    with pytest.raises(ConfigError, match=r"must be hf:owner/name"):
        HubSource.parse(text)


def test_the_library_may_be_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install"):
        hub.fetch("hf:own/data")
