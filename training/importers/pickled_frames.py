"""Pickled pandas tables, read without unpickling.

`router.training.importers.pickle_nodes` says what the pickle describes; here the few shapes
that pandas 1.3 to 3 writes are recognised: a frame of blocks of numpy arrays or Arrow strings.
Everything is measured against the bytes that are there before anything is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np

from router.errors import DataError
from router.training.importers.pickle_nodes import Call, Name, read_nodes

__all__ = ["PickledFrame", "read_pickled_frame"]

_FRAME = {"pandas.core.frame.DataFrame", "pandas.DataFrame"}
_MANAGER = {"pandas.core.internals.managers.BlockManager"}
_BLOCK = {"pandas._libs.internals._unpickle_block", "pandas.core.internals.blocks.new_block"}
_NEW_INDEX = {"pandas.core.indexes.base._new_Index"}
_INDEX = {"pandas.core.indexes.base.Index", "pandas.Index"}
_RANGE = {"pandas.core.indexes.range.RangeIndex", "pandas.RangeIndex"}
_RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
_FROM_BUFFER = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
_SCALAR = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
_STRINGS = {
    "pandas.arrays.ArrowStringArray",
    "pandas.core.arrays.string_arrow.ArrowStringArray",
    "pandas.core.arrays.string_arrow.ArrowStringArrayNumpySemantics",
}
_OTHERS = {
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.slice",
    "numpy.dtype",
    "numpy.ndarray",
    "pandas.StringDtype",
    "pandas.core.arrays.string_.StringDtype",
    "pyarrow.lib._restore_array",
    "pyarrow.lib.chunked_array",
    "pyarrow.lib.py_buffer",
    "pyarrow.lib.type_for_alias",
}
_ALLOWED = frozenset(
    (name.rpartition(".")[0], name.rpartition(".")[2])
    for names in (
        _FRAME,
        _MANAGER,
        _BLOCK,
        _NEW_INDEX,
        _INDEX,
        _RANGE,
        _RECONSTRUCT,
        _FROM_BUFFER,
        _SCALAR,
        _STRINGS,
        _OTHERS,
    )
    for name in names
)
_DTYPE = re.compile(r"[biuf][1248]")
_ARROW_OFFSETS = {"string": "<i4", "large_string": "<i8"}


@dataclass(frozen=True, slots=True)
class PickledFrame:
    """A table found in a pickle.

    Attributes
    ----------
    columns : tuple of str
        Its columns.
    n_rows : int
        Its length.
    places : tuple of (node, int)
        For each column the values of its block, and which row of the block it is.
    n_bytes : int
        Size of the pickle, which no column can exceed.
    file : str
        What messages call it.
    """

    columns: tuple[str, ...]
    n_rows: int
    places: tuple[tuple[Any, int], ...]
    n_bytes: int
    file: str

    def cells(self, column: str) -> list[Any]:
        """Return the cells of a column: text, numbers, truth values, lists of them, None.

        Raises
        ------
        DataError
            If the column holds anything else, or not as many cells as the frame has rows.
        """
        values, position = self.places[self.columns.index(column)]
        with _sane(self.file):
            found = _values(values, self.file, self.n_bytes)
            if isinstance(found, np.ndarray):
                if found.ndim == 2 and position < found.shape[0]:
                    found = found[position]
                cells = found.tolist() if found.ndim == 1 else []
            else:
                cells = found if position == 0 else []
            if len(cells) != self.n_rows:
                raise DataError("has not as many cells as rows", file=self.file, field=column)
            return [_cell(cell, self.file, column) for cell in cells]

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield row numbers, from 1, with the cells of some columns."""
        cells = [self.cells(column) for column in columns]
        for row, values in enumerate(zip(*cells, strict=True), 1):
            yield row, dict(zip(columns, values, strict=True))


def read_pickled_frame(data: bytes, file: str) -> PickledFrame:
    """Find the table in a pickle; nothing of the pickle is run.

    Parameters
    ----------
    data : bytes
        What ``DataFrame.to_pickle`` wrote, uncompressed.
    file : str
        What messages call it.

    Raises
    ------
    DataError
        If it is no pickled table, is damaged, or asks for anything that tables do not need.
    """
    frame = read_nodes(data, _ALLOWED, file)
    with _sane(file):
        found = _frame(frame, len(data), file)
    # Parts of a pickle can be shared, so that few bytes stand for very many cells.
    if found.n_rows * len(found.columns) > len(data):
        raise DataError("the pickled table claims more cells than it has bytes", file=file)
    return found


def _frame(frame: Any, n_bytes: int, file: str) -> PickledFrame:
    if not _is_call(frame, _FRAME) or not isinstance(frame.state, dict):
        raise _unknown("the pickle is no pandas table", file)
    manager = frame.state.get("_mgr", frame.state.get("_data"))
    if not _is_call(manager, _MANAGER) or len(manager.args) < 2:
        raise _unknown("the table is stored in a way that is not known", file)
    blocks, axes = manager.args[:2]
    if not isinstance(blocks, tuple | list) or not isinstance(axes, tuple | list) or len(axes) != 2:
        raise _unknown("the table is stored in a way that is not known", file)
    columns = _labels(axes[0], n_bytes, file)
    places: dict[int, tuple[Any, int]] = {}
    for block in blocks:
        if not _is_call(block, _BLOCK) or len(block.args) < 2:
            raise _unknown("a block of the table is stored in a way that is not known", file)
        for position, column in enumerate(_locations(block.args[1], len(columns), file)):
            if column in places:
                raise DataError("the pickled table has a column twice", file=file)
            places[column] = (block.args[0], position)
    if sorted(places) != list(range(len(columns))):
        raise DataError("the pickled table lacks the cells of some columns", file=file)
    ordered = tuple(places[i] for i in range(len(columns)))
    n_rows = _length(axes[1], n_bytes, file)
    return PickledFrame(tuple(columns), n_rows, ordered, n_bytes, file)


@contextmanager
def _sane(file: str) -> Iterator[None]:
    """Refuse what no table is: nested without end, or of sizes beyond any memory."""
    try:
        yield
    except DataError:
        raise
    except (RecursionError, OverflowError, ValueError, MemoryError):
        raise _unknown("the pickled table is damaged", file) from None


def _is_call(node: Any, names: set[str]) -> TypeGuard[Call]:
    return isinstance(node, Call) and str(node.name) in names


def _labels(node: Any, n_bytes: int, file: str) -> list[str]:
    """Return the names of the columns."""
    if not _is_call(node, _NEW_INDEX) or len(node.args) != 2 or not isinstance(node.args[1], dict):
        raise _unknown("the names of the columns are stored in a way that is not known", file)
    values = _values(node.args[1].get("data"), file, n_bytes)
    cells = values.tolist() if isinstance(values, np.ndarray) else values
    if not all(isinstance(cell, str) for cell in cells) or len(set(cells)) != len(cells):
        raise DataError("the names of the columns are not different texts", file=file)
    return [str(cell) for cell in cells]


def _length(node: Any, n_bytes: int, file: str) -> int:
    """Return the number of rows, from the index."""
    if _is_call(node, _NEW_INDEX) and len(node.args) == 2 and isinstance(node.args[1], dict):
        members = node.args[1]
        if isinstance(node.args[0], Name) and str(node.args[0]) in _RANGE:
            bounds = [members.get(name) for name in ("start", "stop", "step")]
            start, stop, step = (b if isinstance(b, int) else 0 for b in bounds)
            if step:
                return len(range(start, stop, step))
        elif "data" in members:
            return len(_values(members["data"], file, n_bytes))
    raise _unknown("the index of the table is stored in a way that is not known", file)


def _locations(node: Any, n_columns: int, file: str) -> list[int]:
    """Return which columns a block holds."""
    found: list[Any] = []
    if _is_call(node, {"builtins.slice"}) and len(node.args) == 3:
        if all(isinstance(bound, int | None) for bound in node.args) and node.args[2] != 0:
            found = list(range(*slice(*node.args).indices(n_columns)))
    else:
        values = _values(node, file, 0)
        found = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else []
    if not found or not all(isinstance(i, int) and 0 <= i < n_columns for i in found):
        raise _unknown("the place of a block is stored in a way that is not known", file)
    return found


def _values(node: Any, file: str, n_bytes: int) -> Any:
    """Return an array, or a list of texts that together have at most `n_bytes`."""
    if _is_call(node, _RECONSTRUCT):
        return _array(node, file)
    if _is_call(node, _FROM_BUFFER) and len(node.args) == 4:
        data, dtype, shape, order = node.args
        return _from_bytes(_bytes(data, file), dtype, shape, order, file)
    if _is_call(node, _STRINGS) and isinstance(node.state, dict):
        return _arrow_texts(node.state.get("_pa_array", node.state.get("_data")), file, n_bytes)
    raise _unknown("a column is stored in a way that is not known", file)


def _array(node: Call, file: str) -> Any:
    state = node.state
    if not isinstance(state, tuple) or len(state) != 5:
        raise _unknown("an array is stored in a way that is not known", file)
    _, shape, dtype, fortran, data = state
    order: Literal["F", "C"] = "F" if fortran is True else "C"
    if not isinstance(data, list):
        return _from_bytes(_bytes(data, file), dtype, shape, order, file)
    size = _size(shape, file)
    if size != len(data):
        raise DataError("an array has not as many cells as its shape says", file=file)
    cells = np.empty(size, object)
    for i, cell in enumerate(data):
        cells[i] = cell
    return cells.reshape(shape, order=order)


def _from_bytes(data: bytes, dtype: Any, shape: Any, order: Any, file: str) -> Any:
    kind = _dtype(dtype, file)
    if _size(shape, file) * kind.itemsize != len(data):
        raise DataError("an array has not as many bytes as its shape says", file=file)
    return np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")


def _size(shape: Any, file: str) -> int:
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 2:
        raise _unknown("an array is stored in a way that is not known", file)
    size = 1
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise _unknown("an array is stored in a way that is not known", file)
        size *= length
    return size


def _dtype(node: Any, file: str) -> np.dtype[Any]:
    """Return a number type; every other is refused."""
    if _is_call(node, {"numpy.dtype"}) and node.args and isinstance(node.args[0], str):
        order = node.state[1] if isinstance(node.state, tuple) and len(node.state) > 1 else "<"
        text = node.args[0]
        if _DTYPE.fullmatch(text) and order in ("<", ">", "|", "=") and text != "f1":
            try:
                return np.dtype(f"{order}{text}")
            except TypeError:
                pass
    raise _unknown("a column holds something other than text, numbers and truth values", file)


def _bytes(node: Any, file: str) -> bytes:
    if isinstance(node, bytes | bytearray):
        return bytes(node)
    if _is_call(node, {"builtins.bytearray", "pyarrow.lib.py_buffer"}) and len(node.args) == 1:
        return _bytes(node.args[0], file)
    if _is_call(node, {"_codecs.encode"}) and len(node.args) == 2:
        text, codec = node.args
        if isinstance(text, str) and codec == "latin1":
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                pass
    raise _unknown("bytes are stored in a way that is not known", file)


def _arrow_texts(node: Any, file: str, n_bytes: int) -> list[str | None]:
    """Return the texts of an Arrow array or of one in chunks."""
    chunks: Any = [node]
    if _is_call(node, {"pyarrow.lib.chunked_array"}) and node.args:
        chunks = node.args[0]
    if not isinstance(chunks, list | tuple):
        raise _unknown("a column is stored in a way that is not known", file)
    texts: list[str | None] = []
    for chunk in chunks:
        found, size = _arrow_chunk(chunk, file)
        texts += found
        n_bytes -= size
        # Chunks can be shared as well, and each text has an offset of at least four bytes.
        if n_bytes < 0:
            raise DataError("a column of text claims more than the pickle holds", file=file)
    return texts


def _arrow_chunk(node: Any, file: str) -> tuple[list[str | None], int]:
    """Return the texts of an Arrow array, and the bytes that they and their offsets take."""
    if not _is_call(node, {"pyarrow.lib._restore_array"}) or len(node.args) != 1:
        raise _unknown("a column is stored in a way that is not known", file)
    state = node.args[0]
    if not isinstance(state, tuple) or len(state) != 7:
        raise _unknown("a column is stored in a way that is not known", file)
    kind, length, _, first, buffers, *_ = state
    alias = kind.args[0] if _is_call(kind, {"pyarrow.lib.type_for_alias"}) and kind.args else None
    whole = isinstance(length, int) and isinstance(first, int) and length >= 0 and first >= 0
    if alias not in _ARROW_OFFSETS or not whole or not isinstance(buffers, list | tuple):
        raise _unknown("a column holds something other than text, numbers and truth values", file)
    if len(buffers) != 3:
        raise _unknown("a column is stored in a way that is not known", file)
    if length == 0:
        return [], 0
    valid, offsets, text = (b"" if part is None else _bytes(part, file) for part in buffers)
    kind_of_offset = np.dtype(_ARROW_OFFSETS[alias])
    if len(offsets) < (first + length + 1) * kind_of_offset.itemsize:
        raise DataError("a column of text is truncated", file=file)
    bounds = np.frombuffer(offsets, kind_of_offset, length + 1, first * kind_of_offset.itemsize)
    if bounds[0] < 0 or bounds[-1] > len(text) or (np.diff(bounds) < 0).any():
        raise DataError("a column of text is damaged", file=file)
    known = np.ones(length, bool)
    if valid:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        if len(bits) < first + length:
            raise DataError("a column of text is truncated", file=file)
        known = bits[first : first + length].astype(bool)
    try:
        texts = [
            text[start:end].decode() if there else None
            for start, end, there in zip(
                bounds[:-1].tolist(), bounds[1:].tolist(), known.tolist(), strict=True
            )
        ]
    except UnicodeDecodeError:
        raise DataError("a column of text is not UTF-8", file=file) from None
    return texts, int(bounds[-1] - bounds[0]) + length * kind_of_offset.itemsize


def _cell(value: Any, file: str, column: str, depth: int = 0) -> Any:
    """Return a cell, or a list of cells; everything else is refused."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else value
    if _is_call(value, _SCALAR) and len(value.args) == 2:
        found = _from_bytes(_bytes(value.args[1], file), value.args[0], (1,), "C", file).tolist()
        return _cell(found[0], file, column)
    if isinstance(value, list | tuple) and depth == 0 and len(value) <= 1_000:
        return [_cell(item, file, column, depth + 1) for item in value]
    raise DataError(
        "holds something other than text, numbers, truth values and short lists of them",
        file=file,
        field=column,
    )


def _unknown(problem: str, file: str) -> DataError:
    return DataError(
        f"{problem}. Save it as Parquet where it was made: pandas.read_pickle(...).to_parquet(...)",
        file=file,
    )
