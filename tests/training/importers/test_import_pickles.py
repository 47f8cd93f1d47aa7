from __future__ import annotations

import builtins
import contextlib
import gzip
import os
import pickle  # noqa: TID251 - hostile pickles are made here; nothing unpickles them
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import DataError
from router.training.importers.pickle_nodes import read_nodes
from router.training.importers.pickled_frames import read_pickled_frame

DATA = Path(__file__).parent / "data" / "routerbench"
WIZARD, GPT = "WizardLM/WizardLM-13B-V1.2", "gpt-4-1106-preview"


@pytest.mark.parametrize("name", ["pandas_1_5", "protocol_2", "pandas_3"])
def test_what_pandas_wrote(importing, name: str):
    rows = importing.rows("routerbench", DATA / f"{name}.pkl")
    found = {(row["model"], row["prompt_id"]): row for row in rows}
    assert len(found) == len(rows) == 8
    assert found[WIZARD, "astro.val.0"] == {
        "prompt": "Which planet of Zed is the largest?\nA) Ab\nB) Cd",
        "model": WIZARD,
        "quality": 0.0,
        "prompt_id": "astro.val.0",
        "task": "astro",
        "source": "routerbench",
        "cost_usd": 1e-5,
    }
    assert found[GPT, "clock.val.0"]["prompt"] == "It's 3 o'clock in Zürich: which hour follows?"
    assert [found[GPT, f"astro.val.{i}"]["quality"] for i in range(2)] == [1.0, 1.0]
    assert found[GPT, "mtbench.0"]["prompt"] == "Write a haiku.\n\nNow in French."
    assert found[WIZARD, "mtbench.0"]["quality"] == 0.1
    assert "cost_usd" not in found[WIZARD, "mtbench.0"]


def test_compressed(importing, write):
    packed = write("t.pkl.gz", gzip.compress((DATA / "pandas_3.pkl").read_bytes()))
    assert len(importing.rows("routerbench", packed)) == 8
    cut = write("c.pkl.gz", packed.read_bytes()[:-30])
    assert "is broken or truncated" in importing.fails("routerbench", cut)


FRAMES = {
    "numbers": pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False]}),
    "mixed": pd.DataFrame({"a": [1, "x"], "b": [None, 0.5]}, dtype=object),
    "one row": pd.DataFrame({"a": ["x"]}),
    "small ints": pd.DataFrame({"a": np.array([1, -2], "i1"), "b": np.array([1, 2], ">u4")}),
    "float32": pd.DataFrame({"a": np.array([0.5, 0.25], "f4")}),
    "texts": pd.DataFrame({"a": ["é", None, "", "日本"], "b": list("wxyz")}),
    "index": pd.DataFrame({"a": [1, 2, 3]}, index=[7, 8, 9]),
    "sliced": pd.DataFrame({"a": [1, 2, 3, 4], "b": ["w", "x", "y", "z"]}).iloc[1:3],
    "reversed": pd.DataFrame({"a": [1, 2, 3]}).iloc[::-1],
    "added": pd.DataFrame({"a": [1.0, 2.0]}).assign(b=[3.0, 4.0], c="x"),
    "lists": pd.DataFrame({"a": [["x", "y"], ["z"]]}),
    "python strings": pd.DataFrame({"a": pd.array(["x", "y"], dtype=object)}),
}


def shown(value: Any) -> Any:
    return None if not isinstance(value, list) and pd.isna(value) else value


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_any_frame_reads_as_pandas_reads_it(tmp_path, name: str, protocol: int):
    frame = FRAMES[name]
    path = tmp_path / "f.pkl"
    frame.to_pickle(path, protocol=protocol)
    found = read_pickled_frame(path.read_bytes(), "f.pkl")
    assert found.columns == tuple(frame.columns)
    for column in frame.columns:
        expected = [shown(value) for value in frame[column].tolist()]
        assert found.cells(column) == expected


@pytest.mark.parametrize("kind", ["category", "datetime64[ns]", "timedelta64[ns]"])
def test_other_kinds_of_columns_are_refused(tmp_path, kind: str):
    path = tmp_path / "f.pkl"
    pd.DataFrame({"a": pd.Series([1, 2]).astype(kind)}).to_pickle(path)
    with pytest.raises(DataError, match=r"to_parquet"):
        read_pickled_frame(path.read_bytes(), "f.pkl").cells("a")


class Reduced:
    """Unpickles by calling something."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


HOSTILE = {
    "os.system": Reduced(os.system, ("touch owned",)),
    "builtins.eval": Reduced(builtins.eval, ("__import__('os').system('touch owned')",)),
    "builtins.exec": Reduced(builtins.exec, ("open('owned', 'w')",)),
    "builtins.getattr": Reduced(getattr, ("", "upper")),
    "subprocess.Popen": Reduced(subprocess.Popen, (["touch", "owned"],)),
    "builtins.__import__": Reduced(__import__, ("os",)),
    "builtins.open": Reduced(open, ("owned", "w")),
    "pandas.io.pickle.read_pickle": Reduced(pd.read_pickle, ("other.pkl",)),
    "numpy.load": Reduced(np.load, ("other.npy",)),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("nest", ["bare", "list", "cell", "column"])
def test_hostile_pickles_run_nothing(importing, write, name: str, protocol: int, nest: str):
    hostile = HOSTILE[name]
    whole: Any = {
        "bare": hostile,
        "list": [[{"a": (1, hostile)}]],
        "cell": pd.DataFrame({"sample_id": [hostile], "prompt": ["x"], "eval_name": ["e"]}),
        "column": pd.DataFrame({"prompt": ["x"]}),
    }[nest]
    if nest == "column":
        whole.attrs["x"] = hostile
    path = write("h.pkl", pickle.dumps(whole, protocol))
    said = importing.fails("routerbench", path)
    assert "h.pkl: the pickle asks for " in said or "is no pickle" in said
    assert not (importing.folder / "owned").exists()
    if protocol >= 2 and nest in ("bare", "list"):
        assert "which no table of grades needs. It was not run" in said


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch owned'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch owned\x85R.",
        b"(S'touch owned'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch owned'\no.",  # OBJ
        b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\n\x86R.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",  # looked up only
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02O8\x85R}b\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",  # attributes by dots
        b"\x80\x04\x8c\x06pandas\x8c\x13DataFrame.to_pickle\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93}b.",  # state for a name
        b"\x80\x04]}b.",  # state for a list
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93)R)R.",  # calls what a call returned
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pid\n.",  # PERSID
        b"\x80\x04K\x01Q.",  # BINPERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x05\x8c\x01a\x98.",  # READONLY_BUFFER
        b"\x80\x04\x8f.",  # EMPTY_SET
    ],
)
def test_hostile_programs_run_nothing(importing, write, program: bytes):
    said = importing.fails("routerbench", write("p.pkl", program))
    assert "the pickle asks for " in said
    assert not (importing.folder / "owned").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b".",
        b"\x80\x04N",
        b"not a pickle at all",
        b"\x80\x04h\x07.",  # a memo that is not there
        b"\x80\x04(.",  # a mark as the result
        b"\x80\x04NN.",  # values left over
        b"\x80\x04Na.",  # append to nothing
        b"\x80\x04}K\x01s.",
        b"\x80\x04}]K\x01s.",  # a list as a key
        b"\x80\x04\x85.",
        b"\x80\x04t.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BINUNICODE8 of 8 EiB
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BINBYTES8
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # BYTEARRAY8
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # FRAME
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # LONG4
        b"I" + b"9" * 100_000 + b"\n.",
        b"\x80\x04" + b"(" * 100_000 + b".",
        b"\x80\x04" + b"]" + b"\x85" * 100_000 + b".",
        b"\x80\x04r\xff\xff\xff\xff.",  # LONG_BINPUT of nothing
    ],
)
def test_broken_pickles(importing, write, program: bytes):
    said = importing.fails("routerbench", write("p.pkl", program))
    assert "is no pickle, or a broken or truncated one" in said or "is no pandas table" in said


def test_every_truncation_of_a_real_pickle_is_refused():
    whole = (DATA / "pandas_1_5.pkl").read_bytes()
    for end in range(len(whole) - 1):
        with pytest.raises(DataError):
            read_pickled_frame(whole[:end], "f.pkl")


@settings(max_examples=300)
@given(st.data())
def test_damage_is_an_error_or_another_table(data):
    whole = bytearray(
        (DATA / data.draw(st.sampled_from(["pandas_3.pkl", "pandas_1_5.pkl"]))).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        frame = read_pickled_frame(bytes(whole), "f.pkl")
        for column in frame.columns:
            assert len(frame.cells(column)) == frame.n_rows


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_or_inert(noise: bytes):
    with contextlib.suppress(DataError):
        read_nodes(b"\x80\x04" + noise, (), "x.pkl")


def array(shape: bytes, data: bytes, dtype: bytes = b"\x8c\x02f8") -> bytes:
    """Return a program that reconstructs an array of a shape from bytes."""
    return (
        b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93"
        b"\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R(K\x01"
        + shape
        + b"\x8c\x05numpy\x8c\x05dtype\x93"
        + dtype
        + b"\x89\x88\x87R"
        b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tb."
    )


@pytest.mark.parametrize(
    ("shape", "data", "dtype"),
    [
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", b"C\x08" + bytes(8), b"\x8c\x02f8"),
        (b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"C\x08" + bytes(8), b"\x8c\x02f8"),
        (b"J\xff\xff\xff\xff\x85", b"C\x08" + bytes(8), b"\x8c\x02f8"),
        (b"J\xff\xff\xff\x7f\x85", b"]", b"\x8c\x02O8"),
        (b"K\x01\x85", b"C\x08" + bytes(8), b"\x8c\x0aS100000000"),
        (b"K\x01\x85", b"C\x08" + bytes(8), b"\x8c\x02O8"),
        (b"K\x01\x85", b"C\x08" + bytes(8), b"\x8c\x07f8,f8,O"),
    ],
)
def test_sizes_are_measured_before_anything_is_made(shape: bytes, data: bytes, dtype: bytes):
    from router.training.importers.pickled_frames import _ALLOWED, _values

    node = read_nodes(array(shape, data, dtype), _ALLOWED, "x.pkl")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError):
        _values(node, "x.pkl", 1_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_fitting_array_is_read():
    from router.training.importers.pickled_frames import _ALLOWED, _values

    node = read_nodes(array(b"K\x01\x85", b"C\x08" + np.float64(2.5).tobytes()), _ALLOWED, "x")
    assert _values(node, "x", 1_000).tolist() == [2.5]


def test_shared_nodes_do_not_grow(importing, write):
    """Thirty lists, each holding the one before twice, are 2**30 texts when written out."""
    program = b"\x80\x04]\x94" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e\x94" for i in range(30)
    )
    said = importing.fails("routerbench", write("l.pkl", program + b"."))
    assert "is no pandas table" in said or "values are left over" in said


class Name:
    """A name in a pickle that is put together here."""

    def __init__(self, name: str) -> None:
        self.module, _, self.name = name.rpartition(".")


class Made:
    """A call in a pickle that is put together here."""

    def __init__(self, name: str, *args: Any, state: Any = None) -> None:
        self.name, self.args, self.state = Name(name), args, state


def assembled(value: Any, memo: dict[int, bytes]) -> bytes:
    """Return the instructions that describe a value; the same object twice is shared."""
    if id(value) in memo:
        return memo[id(value)]
    parts: Any = value.values() if isinstance(value, dict) else value
    if isinstance(value, Name):
        code = assembled(value.module, {}) + assembled(value.name, {}) + b"\x93"
    elif isinstance(value, Made):
        code = assembled(value.name, {}) + assembled(value.args, memo) + b"R"
        code += assembled(value.state, memo) + b"b" if value.state is not None else b""
    elif isinstance(value, dict):
        code = b"}(" + b"".join(assembled(k, {}) + assembled(v, memo) for k, v in value.items())
        code += b"u"
    elif isinstance(value, tuple | list):
        inside = b"".join(assembled(part, memo) for part in parts)
        code = b"(" + inside + b"t" if isinstance(value, tuple) else b"](" + inside + b"e"
    else:
        return pickle.dumps(value, 3)[2:-1].replace(b"q\x00", b"")
    if isinstance(value, Made) and value.name.name == "_restore_array":
        number = struct.pack("<I", len(memo))
        memo[id(value)] = b"j" + number
        code += b"r" + number
    return code


def arrow(*values: str, length: int | None = None, offsets: list[int] | None = None) -> Made:
    """Return an array of texts as pyarrow pickles it."""
    data = "".join(values).encode()
    ends = np.cumsum([0, *(len(value.encode()) for value in values)]).tolist()
    buffers = [
        None,
        *(
            Made("pyarrow.lib.py_buffer", part)
            for part in (np.array(offsets or ends, "<i8").tobytes(), data)
        ),
    ]
    kind = Made("pyarrow.lib.type_for_alias", "large_string")
    n = len(values) if length is None else length
    return Made("pyarrow.lib._restore_array", (kind, n, 0, 0, buffers, [], None))


def strings(array: Any) -> Made:
    return Made("pandas.arrays.ArrowStringArray", state={"_pa_array": array})


def counted(stop: Any, step: Any = 1) -> Made:
    members = {"name": None, "start": 0, "stop": stop, "step": step}
    return Made("pandas.core.indexes.base._new_Index", Name("pandas.RangeIndex"), members)


def pickled_frame(names: Any, cells: Any, rows: Any) -> bytes:
    """Return the pickle of a frame of one column of text, put together from its parts."""
    new_index = "pandas.core.indexes.base._new_Index"
    index = Made(new_index, Name("pandas.Index"), {"data": strings(names)})
    where = Made("builtins.slice", 0, 1, 1)
    block = Made("pandas._libs.internals._unpickle_block", strings(cells), where, 2)
    name = "pandas.core.internals.managers.BlockManager"
    whole = Made("pandas.DataFrame", state={"_mgr": Made(name, (block,), [index, rows])})
    return b"\x80\x04" + assembled(whole, {}) + b"."


def test_the_parts_make_a_frame():
    frame = read_pickled_frame(pickled_frame(arrow("a"), arrow("x", "yé"), counted(2)), "f")
    assert frame.cells("a") == ["x", "yé"]


CHUNK = arrow("x" * 1_000)


@pytest.mark.parametrize(
    ("cells", "rows"),
    [
        (arrow("x"), counted(10**30)),
        (arrow("x"), counted(2**62)),
        (arrow("x"), counted(-1)),
        (arrow("x"), counted(1, 0)),
        (arrow("x"), counted("1")),
        (arrow("x"), counted(2)),
        (arrow("x", length=2**62), counted(1)),
        (arrow("x", length=-1), counted(1)),
        (arrow("x", length=5), counted(5)),
        (arrow("x", offsets=[0, 2**40]), counted(1)),
        (arrow("x", offsets=[1, 0]), counted(1)),
        (arrow("x", offsets=[-1, 1]), counted(1)),
        (Made("pyarrow.lib.chunked_array", [CHUNK] * 3_000), counted(3_000)),
        (Made("pyarrow.lib.chunked_array", 3), counted(1)),
        (Made("pyarrow.lib.chunked_array", [[CHUNK]]), counted(1)),
        (Made("pyarrow.lib._restore_array", (1, 2, 3)), counted(1)),
    ],
)
def test_frames_that_claim_more_than_they_hold(cells: Any, rows: Any):
    data = pickled_frame(arrow("a"), cells, rows)
    assert len(data) < 50_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError):
        read_pickled_frame(data, "f").cells("a")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_calls_within_calls_without_end():
    deep: Any = b"x"
    memo: dict[int, bytes] = {}
    buffer = Name("pyarrow.lib.py_buffer")
    head = assembled(buffer, {}) * 1
    nested = b"".join(head for _ in range(20_000)) + b"C\x01x" + b"\x85R" * 20_000
    marked = pickled_frame(arrow("a"), arrow("x"), counted(1))
    one = assembled(Made("pyarrow.lib.py_buffer", deep), memo)
    assert marked.count(b"C\x01x") == 1
    with pytest.raises(DataError):
        read_pickled_frame(marked.replace(one[len(head) :], nested), "f").cells("a")


def test_nothing_is_imported_by_reading(tmp_path):
    """Not even the modules that a table names."""
    code = (
        "import sys\n"
        "from router.training.importers.pickle_nodes import read_nodes\n"
        "before = set(sys.modules)\n"
        "try:\n"
        "    read_nodes(b'cantigravity\\nx\\n.', {('antigravity', 'x')}, 'f')\n"
        "finally:\n"
        "    print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
