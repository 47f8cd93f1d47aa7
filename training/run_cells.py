"""Turning the cells of one column into an array, and finding those that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from router.training.prompts import encode_prompt
from router.training.schema import Column, Problem

__all__ = ["ABSENT", "Cells", "Chunk", "Fault", "TextCells", "numbers", "vectors"]

ABSENT = -1
"""Code of a cell without text."""

Cells: TypeAlias = "list[Any] | pa.Array"
"""The cells of one column: Python objects, None where absent, or an Arrow array."""

Fault: TypeAlias = tuple[int, str, str]
"""What is wrong with one cell: its position, the kind of problem, the reason."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of one file, by column, not yet checked.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Number of each row in the file, from 1.
    columns : dict of str to list or Arrow array
        The cells of each known column that the file has.
    problems : list of Problem
        What could not be read: rows that are not among `rows`, or the whole file.
    """

    rows: npt.NDArray[np.int64]
    columns: dict[str, Cells]
    problems: list[Problem] = field(default_factory=list)


class TextCells:
    """The cells of one text or prompt column as codes of its distinct texts.

    Parameters
    ----------
    column : Column
        The column.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self._codes = _Codes()

    def add(self, values: Cells) -> tuple[npt.NDArray[np.int32], list[Fault]]:
        """Return the codes of more cells.

        Parameters
        ----------
        values : list or Arrow array of length n_rows
            The cells.

        Returns
        -------
        codes : ndarray of shape (n_rows,)
            A number for each distinct text, `ABSENT` for none.
        faults : list of Fault
            Cells of the wrong type, coded as absent, and those that are missing but
            required.
        """
        faults: list[Fault] = []
        if isinstance(values, pa.Array) and pa.types.is_nested(values.type):
            values = values.to_pylist()
        if isinstance(values, pa.Array):
            codes = self._arrow_codes(values)
        else:
            if not set(map(type, values)) <= {str, type(None)}:
                values = [self._as_text(i, value, faults) for i, value in enumerate(values)]
            codes = self._codes.of(values)
        if self._column.required:
            wrong = {position for position, *_ in faults}
            faults.extend(
                (i, "missing", "is missing")
                for i in np.flatnonzero(codes == ABSENT).tolist()
                if i not in wrong
            )
        return codes, faults

    def distinct(self) -> tuple[list[str], npt.NDArray[np.int32], dict[int, str]]:
        """Check the distinct texts, once all cells were added.

        Returns
        -------
        texts : list of str
            The distinct texts in sorted order, prompts in the form of `encode_prompt`.
        place : ndarray of shape (n_codes + 1,)
            Place of each code in `texts`, `ABSENT` for blank text and, last, for `ABSENT`
            itself.
        reasons : dict of int to str
            What is wrong with the texts of some codes.
        """
        check: Callable[[str], str | None] = (
            encode_prompt if self._column.kind == "prompt" else self._checked
        )
        clean: list[str | None] = []
        reasons = {}
        for code, text in enumerate(self._codes.texts()):
            try:
                clean.append(check(text))
            except ValueError as error:
                clean.append(None)
                reasons[code] = str(error)
        texts = sorted({text for text in clean if text is not None})
        rank: dict[str | None, int] = {text: i for i, text in enumerate(texts)}
        rank[None] = ABSENT
        place = np.array([*(rank[text] for text in clean), ABSENT], np.int32)
        return texts, place, reasons

    def _checked(self, text: str) -> str | None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("is not valid Unicode: it has half a surrogate pair") from None
        if not text or text.isspace():
            if self._column.required:
                raise ValueError("is empty")
            return None
        return text

    def _as_text(self, position: int, value: Any, faults: list[Fault]) -> str | None:
        """Return a cell's text, None and one more fault if it is of the wrong type."""
        if value is None or isinstance(value, str):
            return value
        if self._column.kind == "prompt":
            try:
                return encode_prompt(value)
            except ValueError as error:
                faults.append((position, "not a prompt", str(error)))
                return None
        if self._column.name == "prompt_id" and type(value) is int:
            return str(value)
        faults.append((position, "wrong type", f"is {_shown(value)}; must be text"))
        return None

    def _arrow_codes(self, values: pa.Array) -> npt.NDArray[np.int32]:
        if pa.types.is_null(values.type):
            return np.full(len(values), ABSENT, np.int32)
        if pa.types.is_integer(values.type):
            values = values.cast(pa.string())
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        code_of = self._codes.of([*values.dictionary.to_pylist(), None])
        index = pc.fill_null(values.indices.cast(pa.int64()), len(code_of) - 1)
        return np.asarray(code_of[index.to_numpy(zero_copy_only=False)])


class _Codes(dict[str | None, int]):
    """Numbers distinct texts in the order they come."""

    def __init__(self) -> None:
        super().__init__({None: ABSENT})

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self) - 1
        return code

    def of(self, values: Iterable[str | None]) -> npt.NDArray[np.int32]:
        return np.fromiter(map(self.__getitem__, values), np.int32)

    def texts(self) -> Iterable[str]:
        return (text for text in self if text is not None)


def numbers(values: Cells, column: Column) -> tuple[npt.NDArray[np.float64], list[Fault]]:
    """Return the cells of a number column.

    Parameters
    ----------
    values : list or Arrow array of length n_rows
        The cells.
    column : Column
        The column.

    Returns
    -------
    numbers : ndarray of shape (n_rows,)
        The numbers, NaN where there is none.
    faults : list of Fault
        Cells of the wrong type or out of range, and those that are missing but required.
    """
    faults: list[Fault] = []
    if isinstance(values, pa.Array):
        array = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        array = _as_numbers(values, faults)
    wrong = {position for position, *_ in faults}
    if column.required:
        missing = np.flatnonzero(np.isnan(array)).tolist()
        faults.extend((i, "missing", "is missing") for i in missing if i not in wrong)
    high = np.finfo(float).max if column.high is None else column.high
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero((array < 0) | (array > high))
    for i in outside.tolist():
        if column.high is not None:
            kind = reason = f"outside [0, {column.high:g}]"
        elif np.isinf(array[i]):
            kind, reason = "not finite", "not finite"
        else:
            kind, reason = "negative", "negative"
        faults.append((i, kind, f"{array[i]:.17g} is {reason}"))
    return array, faults


def _as_numbers(values: list[Any], faults: list[Fault]) -> npt.NDArray[np.float64]:
    if set(map(type, values)) <= {int, float, type(None)}:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:  # an int beyond the range of floats; found below
            pass
    array = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        is_bool = isinstance(value, bool)
        if isinstance(value, Real) and not is_bool:
            try:
                array[i] = float(value)
            except OverflowError:
                faults.append((i, "not finite", f"{_shown(value)} is not finite"))
        elif value is not None:
            hint = ", 1 for true and 0 for false" if is_bool else ""
            faults.append((i, "wrong type", f"is {_shown(value)}; must be a number{hint}"))
    return array


def vectors(values: Cells) -> tuple[list[npt.NDArray[np.float32] | None], list[Fault]]:
    """Return the cells of a column of vectors.

    Parameters
    ----------
    values : list or Arrow array of length n_rows
        The cells, each a list of numbers.

    Returns
    -------
    vectors : list of ndarray of shape (n_dimensions,)
        The vectors, None where there is none or a wrong one.
    faults : list of Fault
        Cells that are not lists of finite numbers.
    """
    faults: list[Fault] = []
    found: list[npt.NDArray[np.float32] | None] = []
    if isinstance(values, pa.Array):
        # The scalars of a list array give their numbers as one array, without objects.
        rows = (value.values for value in values)
        values = [None if row is None else row.to_numpy(zero_copy_only=False) for row in rows]
    for i, value in enumerate(values):
        vector = None
        if value is not None:
            vector = _as_vector(value)
            if vector is None:
                faults.append((i, "wrong type", f"is {_shown(value)}; must be a list of numbers"))
            elif not (len(vector) and np.isfinite(vector).all()):
                faults.append((i, "not finite", "must be a list of finite numbers"))
                vector = None
        found.append(vector)
    return found, faults


def _as_vector(value: Any) -> npt.NDArray[np.float32] | None:
    if isinstance(value, list | tuple) and not {type(item) for item in value} <= {int, float}:
        return None
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if vector.ndim == 1 else None


def _shown(value: Any) -> str:
    """Show a value of the wrong type as JSON has it, shortened."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"
    if isinstance(value, str | int | float):
        text = json.dumps(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    return f"of type {type(value).__name__}"
