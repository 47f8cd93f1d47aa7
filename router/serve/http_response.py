"""Reading HTTP/1.1 responses as their bytes come in.

A proxy that adds less than a millisecond to a call cannot spend half of it on parsing. This
parser does what a client needs and no more, and is strict: whatever could be read in two ways
(RFC 9112, section 6.3) is an error, because the next response on the connection would be
somebody else's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["BadResponseError", "ResponseHead", "ResponseParser"]

MAX_HEAD_BYTES = 65_536
_MAX_SIZE_LINE = 4_096

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")


class BadResponseError(Exception):
    """The bytes are not a complete HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers of a response.

    Attributes
    ----------
    status : int
        HTTP status, at least 200.
    headers : list of tuple of bytes
        Names in lower case, values without surrounding blanks, in their order.
    """

    status: int
    headers: list[tuple[bytes, bytes]]

    def get(self, name: bytes) -> bytes | None:
        """Return the first header of a name in lower case, or None.

        Parameters
        ----------
        name : bytes
            The name.
        """
        for header, value in self.headers:
            if header == name:
                return value
        return None


class ResponseParser:
    r"""Parses one response.

    Parameters
    ----------
    has_body : bool
        False for the answer to HEAD, which has the headers of a body and no body.

    Attributes
    ----------
    head : ResponseHead or None
        Status and headers, once they are complete.
    done : bool
        Whether the response is complete.
    reusable : bool
        Whether the connection may carry another request, once the response is complete.

    Examples
    --------
    >>> parser = ResponseParser()
    >>> parser.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")
    [b'hel']
    >>> parser.feed(b"lo"), parser.done, parser.reusable
    ([b'lo'], True, True)
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_has_body",
        "_left",
        "_trailer",
        "done",
        "head",
        "reusable",
    )

    def __init__(self, has_body: bool = True) -> None:
        self.head: ResponseHead | None = None
        self.done: bool = False
        self.reusable: bool = False
        self._has_body = has_body
        self._buffer = b""
        self._chunked = False
        self._trailer = False
        # bytes of the body or of the chunk that are to come; -1: up to the end of the connection
        self._left = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes.

        Parameters
        ----------
        data : bytes
            What came in.

        Returns
        -------
        list of bytes
            The pieces of the body in it.

        Raises
        ------
        BadResponseError
            If they are no response, or follow a complete one.
        """
        if self.head is None:
            data = self._read_head(data)
            if self.head is None:
                return []
        if self._chunked and not self.done:
            return self._read_chunks(data)
        if not data:
            return []
        if self.done:
            raise BadResponseError("bytes follow the end of the response")
        if self._left < 0:
            return [data]
        if len(data) > self._left:
            raise BadResponseError("the body is longer than its content-length")
        self._left -= len(data)
        self.done = self._left == 0
        return [data]

    def feed_eof(self) -> None:
        """Take the end of the connection.

        Raises
        ------
        BadResponseError
            If the response is not complete.
        """
        self.reusable = False
        if self.done:
            return
        if self.head is None:
            raise BadResponseError("the connection was closed before the response's headers ended")
        if self._left >= 0:
            raise BadResponseError("the connection was closed before the response's end")
        self.done = True

    def _read_head(self, data: bytes) -> bytes:
        """Parse the headers once they are complete; return what follows them."""
        buffer = self._buffer + data if self._buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(buffer) > MAX_HEAD_BYTES):
                raise BadResponseError(f"the headers are longer than {MAX_HEAD_BYTES:,} bytes")
            if end < 0:
                if len(buffer) >= 5 and not buffer.startswith(b"HTTP/"):
                    raise BadResponseError("the answer is not HTTP")
                self._buffer = buffer
                return b""
            lines = buffer[:end].split(b"\r\n")
            buffer = buffer[end + 4 :]
            status_line = _STATUS_LINE.fullmatch(lines[0])
            if status_line is None:
                raise BadResponseError("the status line is not one of HTTP/1.1")
            status = int(status_line[2])
            if status == 101:
                raise BadResponseError("the server switched to a protocol that was not asked for")
            if status >= 200:
                break
        self._buffer = b""
        headers = [_header(line) for line in lines[1:]]
        self.head = ResponseHead(status, headers)
        self._read_framing(status, headers, persistent=status_line[1] == b"1")
        return buffer

    def _read_framing(
        self, status: int, headers: list[tuple[bytes, bytes]], persistent: bool
    ) -> None:
        """Find out where the body ends and whether the connection goes on."""
        length: bytes | None = None
        for name, value in headers:
            if name == b"content-length":
                if not _DIGITS.fullmatch(value) or length not in (None, value):
                    raise BadResponseError("the content-length is not one number")
                length = value
            elif name == b"transfer-encoding":
                if self._chunked or value.lower() != b"chunked":
                    raise BadResponseError("the only transfer-encoding understood is chunked")
                self._chunked = True
            elif name == b"connection":
                tokens = {token.strip() for token in value.lower().split(b",")}
                persistent = (persistent or b"keep-alive" in tokens) and b"close" not in tokens
        if self._chunked and length is not None:
            raise BadResponseError("both content-length and transfer-encoding are given")
        if not self._has_body or status in (204, 304):
            self._chunked = False
            self.done, self.reusable = True, persistent
        elif self._chunked:
            self.reusable = persistent
        elif length is not None:
            self._left = int(length)
            self.done, self.reusable = self._left == 0, persistent
        else:
            self._left = -1

    def _read_chunks(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        buffer = self._buffer + data if self._buffer else data
        position = 0
        while not self.done:
            if self._left > 2:
                piece = buffer[position : position + self._left - 2]
                if not piece:
                    break
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
            elif self._left:  # the line break that ends a chunk
                ending = buffer[position : position + 2]
                if not b"\r\n".startswith(ending):
                    raise BadResponseError("a chunk is longer than its size")
                if len(ending) < 2:
                    break
                position += 2
                self._left = 0
            else:
                end = buffer.find(b"\r\n", position)
                if end < 0:
                    if len(buffer) - position > _MAX_SIZE_LINE:
                        raise BadResponseError("a chunk's size is too long")
                    break
                self._read_line(buffer[position:end])
                position = end + 2
        self._buffer = buffer[position:]
        if self.done and self._buffer:
            raise BadResponseError("bytes follow the end of the response")
        return pieces

    def _read_line(self, line: bytes) -> None:
        """Read the line with a chunk's size, or one of the trailer."""
        if self._trailer:
            # trailers are dropped: what they say came too late for the client's headers
            self.done = not line
            return
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise BadResponseError("a chunk's size is not a number")
        count = int(size[1], 16)
        self._trailer = count == 0
        self._left = count + 2 if count else 0


def _header(line: bytes) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise BadResponseError("a header is malformed")
    return match[1].lower(), match[2]
