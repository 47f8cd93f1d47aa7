"""A file that records are only ever added to, and that says which of them can be trusted.

One JSON object a line; its last member is a checksum of the rest of the line. A record goes to
the operating system at once, so that a killed process loses none of those that were added, and to
the disk after at most twenty records or one second, so that a power cut loses no more than that.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError

__all__ = ["SYNC_RECORDS", "SYNC_S", "LogFile", "TornTail", "decode_line", "encode_line"]

SYNC_RECORDS = 20
"""Records that may be unsynced."""

SYNC_S = 1.0
"""Seconds after which records are synced."""

_MARK = b',"checksum":"'
_DIGEST = 16
_TAIL = len(_MARK) + _DIGEST + 2


@dataclass(frozen=True, slots=True)
class TornTail:
    """The end of a file that was cut off in the middle of a record.

    Attributes
    ----------
    file : Path
        Where it was set aside.
    row : int
        The line that it was, counted from 1.
    n_bytes : int
        Its length.
    """

    file: Path
    row: int
    n_bytes: int

    def __str__(self) -> str:
        return (
            f"line {self.row} was cut off in the middle: {self.n_bytes} bytes set aside in "
            f"{self.file}; what it recorded is done again"
        )


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as its line.

    Examples
    --------
    >>> decode_line(encode_line({"a": 1})[:-1])
    {'a': 1}
    """
    body = json.dumps(record, separators=(",", ":")).encode("ascii")
    return body[:-1] + _MARK + _checksum(body) + b'"}\n'


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the record of a line without its line break.

    Raises
    ------
    ValueError
        If the checksum is missing or wrong.
    """
    head, tail = line[:-_TAIL], line[-_TAIL:]
    body = head + b"}"
    if not tail.startswith(_MARK) or tail != _MARK + _checksum(body) + b'"}':
        raise ValueError("the checksum is missing or wrong")
    record = json.loads(body)
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    return record


class LogFile:
    """Adds records to a file. One process at a time: the caller holds a lock.

    Parameters
    ----------
    path : Path
        The file; made where it does not exist.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    torn : TornTail or None
        What was cut off at the end of the file when it was opened.

    Raises
    ------
    DataError
        If a line before the last is damaged.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self.torn: TornTail | None = _repair(path)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
        self._size = os.fstat(self._fd).st_size
        self._unsynced = 0
        self._since = 0.0
        _sync_folder(path.parent)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record.

        Raises
        ------
        ConfigError
            If it cannot be written whole, as on a full disk; nothing of it is left then.
        """
        line = encode_line(record)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise ConfigError(
                f"{self.path} cannot be written ({error.strerror}): what was stored before is "
                "kept; make room and run the command again"
            ) from error
        self._size += len(line)
        if not self._unsynced:
            self._since = self._clock()
        self._unsynced += 1
        self.sync(due=True)

    def sync(self, *, due: bool = False) -> None:
        """Bring all records to the disk; with `due` only if it is time to."""
        if not self._unsynced:
            return
        late = self._unsynced >= SYNC_RECORDS or self._clock() - self._since >= SYNC_S
        if late or not due:
            os.fsync(self._fd)
            self._unsynced = 0

    def close(self) -> None:
        """Bring all records to the disk and close the file."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def records(path: Path) -> Iterator[dict[str, Any]]:
        """Yield the records of a file; none where there is no file.

        A last line that was cut off is left out.

        Raises
        ------
        DataError
            With file and line, if a line before the last is damaged.
        """
        for _, record in _records(path):
            if record is not None:
                yield record


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield where each line begins and its record; None as the record of a damaged last line."""
    if not path.exists():
        return
    with path.open("rb") as file:
        start = 0
        damaged: tuple[int, int] | None = None
        for row, line in enumerate(file, 1):
            if damaged is not None:
                raise DataError(
                    "the line is damaged: its checksum is missing or wrong. Restore the file from "
                    "a copy, or delete this line; what it recorded is done again",
                    file=str(path),
                    row=damaged[1],
                )
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("it has no end")
                yield start, decode_line(line[:-1])
            except ValueError:
                damaged = start, row
            start += len(line)
        if damaged is not None:
            yield damaged[0], None


def _repair(path: Path) -> TornTail | None:
    """Move a last line that was cut off out of the file."""
    row, start, torn = 0, 0, False
    for at, record in _records(path):
        row, start, torn = row + 1, at, record is None
    if not torn:
        return None
    aside = path.with_name(f"{path.name}.torn")
    with path.open("r+b") as file, aside.open("ab") as kept:
        file.seek(start)
        tail = file.read()
        kept.write(tail + b"\n")
        kept.flush()
        os.fsync(kept.fileno())
        file.truncate(start)
        os.fsync(file.fileno())
    return TornTail(aside, row, len(tail))


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGEST].encode()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable; systems that cannot open folders need not."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
