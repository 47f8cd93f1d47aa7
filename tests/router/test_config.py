from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import (
    check_keys,
    get_number,
    get_tables,
    get_text,
    get_texts,
    read_toml,
    suggest,
    toml_value,
)
from router.errors import ConfigError

WHERE = "pool.toml, [[model]] 2"
text = st.text(st.characters(exclude_categories=["Cs"]))


def test_read_toml(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfname = 'x'\r\n[[model]]\r\na = 1\r\n")
    assert read_toml(path) == {"name": "x", "model": [{"a": 1}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \n", "not valid TOML: .*line 1"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"a = '\xff'\n", "not UTF-8"),
        (b"a = " + b"[" * 5000, "not valid TOML"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_toml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            read_toml(path)
        assert str(path) in str(caught.value)


def test_known_keys_pass() -> None:
    check_keys({"a": 1}, ("a", "b"), WHERE)
    check_keys({}, (), WHERE)


def test_an_unknown_key_names_its_place_and_the_nearest_key() -> None:
    with pytest.raises(ConfigError) as caught:
        check_keys({"run_nam": 1}, ("run_name", "basis"), WHERE)
    assert str(caught.value) == (
        "pool.toml, [[model]] 2: unknown key 'run_nam'; did you mean 'run_name'?"
    )
    with pytest.raises(ConfigError, match="known keys: basis, run_name"):
        check_keys({"zzz": 1}, ("run_name", "basis"), WHERE)


def test_suggest_ignores_case_and_keeps_the_known_spelling() -> None:
    assert suggest("LLAMA-3.1-8b", ["Llama-3.1-8B", "x"]) == "; did you mean 'Llama-3.1-8B'?"
    assert suggest("zzz", ["Llama"]) == ""
    assert suggest("x", []) == ""


def test_absent_values() -> None:
    assert get_text({}, "a", WHERE) is None
    assert get_texts({}, "a", WHERE) == ()
    assert get_number({}, "a", WHERE) is None
    assert get_tables({}, "a", WHERE) == []


def test_present_values() -> None:
    table = {"t": "x", "l": ["x", "y"], "n": 2, "f": 0.5, "m": [{"a": 1}]}
    assert get_text(table, "t", WHERE) == "x"
    assert get_texts(table, "t", WHERE) == ("x",)
    assert get_texts(table, "l", WHERE) == ("x", "y")
    assert get_number(table, "n", WHERE) == 2
    assert isinstance(get_number(table, "n", WHERE), float)
    assert get_number(table, "f", WHERE) == 0.5
    assert get_tables(table, "m", WHERE) == [{"a": 1}]


@pytest.mark.parametrize("value", ["", " ", 1, True, ["x"], {}])
def test_wrong_text(value: object) -> None:
    with pytest.raises(ConfigError, match=r"2: 'a' must be text"):
        get_text({"a": value}, "a", WHERE)


@pytest.mark.parametrize("value", ["", " ", 1, [1], ["x", ""], {}])
def test_wrong_texts(value: object) -> None:
    with pytest.raises(ConfigError, match=r"2: 'a' must be text or a list"):
        get_texts({"a": value}, "a", WHERE)


@pytest.mark.parametrize("value", [0, -1, -0.0, math.nan, math.inf, "1", True, [1]])
def test_wrong_numbers(value: object) -> None:
    with pytest.raises(ConfigError, match=r"2: 'a' must be a (finite )?number"):
        get_number({"a": value}, "a", WHERE)


@pytest.mark.parametrize("value", [1, "x", {}, [1], [{}, 1]])
def test_wrong_tables(value: object) -> None:
    with pytest.raises(ConfigError, match=r"'a' must be written as \[\[a\]\] tables"):
        get_tables({"a": value}, "a", WHERE)


@given(
    text
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.lists(text)
)
def test_what_is_written_reads_back(value: str | float | list[str]) -> None:
    back = tomllib.loads(f"a = {toml_value(value)}\n")["a"]
    assert back == value
    assert type(back) is type(value)
