"""The contents of a pickle as inert nodes: nothing is imported, called or built.

A pickle is a program for a stack machine. Its dangerous instructions are those that look up
a name, call it, or set its state. Here these only make nodes that say so, so a pickle can do
nothing but describe data. Names that no table needs end the reading.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from router.errors import DataError

__all__ = ["Call", "Name", "read_nodes"]

_MAX_OPCODES = 50_000_000
_MALFORMED = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the pickle asks for; it is never looked up.

    Attributes
    ----------
    module, name : str
        What it asks for.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """A call that the pickle asks for; it is never made.

    Attributes
    ----------
    name : Name
        What is to be called.
    args : tuple
        With what.
    state : object
        What is to be set on the result.
    """

    name: Name
    args: tuple[Any, ...]
    state: Any = None


# protocol 2 has the names of Python 2
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Mark:
    __slots__ = ()


_MARK = _Mark()


@dataclass(slots=True)
class _Machine:
    allowed: Collection[tuple[str, str]]
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value is needed")
        return value

    def top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise ValueError("a mark where a value is needed")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is not text")
        module = _RENAMED.get(module, module)
        if (module, name) not in self.allowed:
            raise _ForbiddenError(f"{module}.{name}"[:120])
        self.stack.append(Name(module, name))

    def call(self, target: Any, args: Any) -> None:
        if not isinstance(target, Name):
            raise _ForbiddenError("a call of something that is not a name")
        if not isinstance(args, tuple):
            raise ValueError("arguments that are not a tuple")
        self.stack.append(Call(target, args))

    def build(self, state: Any) -> None:
        target = self.top()
        if not isinstance(target, Call) or target.state is not None:
            raise _ForbiddenError("a state for something that has none")
        target.state = state

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError("items for something that is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("pairs for something that is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | bool | None):
                raise ValueError("a key that is neither text nor a number")
            target[key] = value


class _ForbiddenError(Exception):
    """Something that tables never ask for."""


def _pairs(values: list[Any]) -> dict[Any, Any]:
    machine = _Machine(allowed=(), stack=[{}])
    machine.set_items(values)
    return dict(machine.stack[0])


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    }
)
_STEPS: dict[str, Callable[[_Machine], Any]] = {
    "PROTO": lambda m: None,
    "FRAME": lambda m: None,
    "MARK": lambda m: m.stack.append(_MARK),
    "POP": lambda m: m.stack.pop(),
    "POP_MARK": lambda m: m.pop_to_mark(),
    "DUP": lambda m: m.stack.append(m.top()),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "EMPTY_TUPLE": lambda m: m.stack.append(()),
    "EMPTY_DICT": lambda m: m.stack.append({}),
    "LIST": lambda m: m.stack.append(m.pop_to_mark()),
    "TUPLE": lambda m: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m: m.stack.append((m.pop(),)),
    "TUPLE2": lambda m: m.stack.append(tuple(reversed((m.pop(), m.pop())))),
    "TUPLE3": lambda m: m.stack.append(tuple(reversed((m.pop(), m.pop(), m.pop())))),
    "DICT": lambda m: m.stack.append(_pairs(m.pop_to_mark())),
    "APPEND": lambda m: m.extend([m.pop()]),
    "APPENDS": lambda m: m.extend(m.pop_to_mark()),
    "SETITEM": lambda m: m.set_items(list(reversed((m.pop(), m.pop())))),
    "SETITEMS": lambda m: m.set_items(m.pop_to_mark()),
    "MEMOIZE": lambda m: m.memo.__setitem__(len(m.memo), m.top()),
    "STACK_GLOBAL": lambda m: m.name(*reversed((m.pop(), m.pop()))),
    "REDUCE": lambda m: m.call(*reversed((m.pop(), m.pop()))),
    "NEWOBJ": lambda m: m.call(*reversed((m.pop(), m.pop()))),
    "BUILD": lambda m: m.build(m.pop()),
}


def read_nodes(data: bytes, allowed: Collection[tuple[str, str]], file: str) -> Any:
    r"""Return what a pickle describes, without doing what it says.

    Parameters
    ----------
    data : bytes
        The pickle, protocol 2 or newer.
    allowed : collection of (str, str)
        Modules and names that it may ask for.
    file : str
        What messages call it.

    Returns
    -------
    object
        None, numbers, text, bytes, lists, tuples, dicts, `Name` and `Call`, which may refer
        to each other in any way.

    Raises
    ------
    DataError
        If it is damaged, or asks for a name that is not allowed or for an instruction that
        tables do not need.

    Examples
    --------
    >>> read_nodes(b"\x80\x02]K\x01a.", (), "x.pkl")
    [1]
    >>> read_nodes(b"cos\nsystem\n(S'true'\ntR.", (), "x.pkl")
    Traceback (most recent call last):
    router.errors.DataError: x.pkl: the pickle asks for os.system at byte 0, ...
    """
    machine = _Machine(allowed)
    position = 0
    try:
        for number, (opcode, arg, place) in enumerate(pickletools.genops(data)):
            position = place or 0
            if number >= _MAX_OPCODES:
                raise _ForbiddenError(f"more than {_MAX_OPCODES:,} instructions")
            name = opcode.name
            if name == "STOP":
                result = machine.pop()
                if machine.stack:
                    raise ValueError("values are left over")
                return result
            _step(machine, name, arg)
    except _ForbiddenError as error:
        raise DataError(
            f"the pickle asks for {error} at byte {position:,}, which no table of grades needs. "
            "It was not run. If you trust the file, save it as Parquet where it was made: "
            "pandas.read_pickle(...).to_parquet(...)",
            file=file,
        ) from None
    except _MALFORMED as error:
        detail = str(error)[:120] or type(error).__name__
        raise DataError(
            f"is no pickle, or a broken or truncated one, at byte {position:,}: {detail}", file=file
        ) from None
    raise DataError("the pickle is truncated", file=file)


def _step(machine: _Machine, name: str, arg: Any) -> None:
    if name in _LITERALS:
        machine.stack.append(arg)
    elif name in _CONSTANTS:
        machine.stack.append(_CONSTANTS[name])
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        machine.stack.append(machine.memo[int(arg)])
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        machine.memo[int(arg)] = machine.top()
    elif name == "GLOBAL":
        machine.name(*str(arg).split(" ", 1))
    elif name in _STEPS:
        _STEPS[name](machine)
    else:
        raise _ForbiddenError(f"the instruction {name}")
