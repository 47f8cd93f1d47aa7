"""Reading members of zip archives within limits, Zstandard among the compressions.

Inspect compresses its logs with Zstandard (method 93), which `zipfile` learned only with
Python 3.14. Sizes are taken from what is really decompressed, not from what the archive says.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.errors import DataError

__all__ = ["Archive", "open_archive"]

_ZSTANDARD = 93
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_MAX_MEMBERS = 1_000_000
_MAX_MEMBER = 512 * 2**20
_MAX_TOTAL = 8 * 2**30
_PIECE = 2**20


@dataclass(slots=True)
class Archive:
    """An open zip archive.

    Attributes
    ----------
    file : str
        Its name.
    """

    file: str
    _zip: zipfile.ZipFile
    _left: int

    def names(self) -> list[str]:
        """Return the names of its members."""
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        """Return a member, decompressed.

        Raises
        ------
        DataError
            If it is damaged, encrypted, compressed in a way that is not known, or larger
            than any log is.
        """
        where = f"{self.file}:{name}"
        limit = min(_MAX_MEMBER, self._left)
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise DataError("is encrypted", file=where)
        try:
            if info.compress_type == _ZSTANDARD:
                data = _zstandard(self._zip, info, limit, where)
            else:
                with self._zip.open(info) as member:
                    data = member.read(limit + 1)
        except (zipfile.BadZipFile, EOFError, zlib.error, struct.error, ValueError) as error:
            raise DataError(f"is damaged: {error}", file=where) from error
        except NotImplementedError:
            method = info.compress_type
            raise DataError(f"is compressed by method {method}, not known", file=where) from None
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", file=where) from error
        if len(data) > limit:
            raise DataError(
                f"holds more than {limit:,} bytes when decompressed, more than any log does",
                file=where,
            )
        self._left -= len(data)
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip archive.

    Raises
    ------
    DataError
        If it is none, or truncated.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, ValueError, struct.error) as error:
        raise DataError(
            f"is no zip archive, or a truncated one: {error}", file=str(path)
        ) from error
    except NotImplementedError as error:
        raise DataError(f"is a zip archive of another kind: {error}", file=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    with archive:
        if len(archive.namelist()) > _MAX_MEMBERS:
            raise DataError(f"has more than {_MAX_MEMBERS:,} members", file=str(path))
        yield Archive(str(path), archive, _MAX_TOTAL)


def _zstandard(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, where: str) -> bytes:
    """Return a member compressed with Zstandard, at most one byte more than `limit`."""
    import pyarrow as pa

    raw = archive.fp
    if raw is None:
        raise ValueError("the archive is closed")
    raw.seek(info.header_offset)
    header = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
    if header[0] != b"PK\x03\x04":
        raise ValueError("the header of the member is not where it should be")
    raw.seek(header[9] + header[10], 1)
    packed = raw.read(info.compress_size)
    pieces: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            while size <= limit and (piece := stream.read(min(_PIECE, limit + 1 - size))):
                pieces.append(piece)
                size += len(piece)
    except OSError as error:
        raise ValueError(str(error)[:200]) from error
    data = b"".join(pieces)
    if size <= limit and (size != info.file_size or zlib.crc32(data) != info.CRC):
        raise ValueError("size or checksum is wrong")
    return data
