"""Reading responses: every framing, any division into pieces, nothing ambiguous."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.serve.http_response import MAX_HEAD_BYTES, BadResponseError, ResponseParser


def parse(
    data: bytes, cuts: list[int] | None = None, has_body: bool = True
) -> tuple[ResponseParser, bytes]:
    """Parse `data` in pieces that end at `cuts`."""
    parser = ResponseParser(has_body)
    body = b""
    ends = sorted({min(cut, len(data)) for cut in cuts or []} | {len(data)})
    start = 0
    for end in ends:
        body += b"".join(parser.feed(data[start:end]))
        start = end
    return parser, body


def chunked(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces if p)
    return framed + b"0\r\n" + trailer + b"\r\n"


bodies = st.lists(st.binary(max_size=40), max_size=6)
cuts = st.lists(st.integers(0, 400), max_size=30)


@given(pieces=bodies, cuts=cuts, extension=st.sampled_from([b"", b";a=b"]))
def test_chunks_come_out_as_they_went_in(pieces: list[bytes], cuts: list[int], extension: bytes):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parser, body = parse(head + chunked(pieces, extension, b"x-sum: 1\r\n"), cuts)
    assert body == b"".join(pieces)
    assert parser.done
    assert parser.reusable
    parser.feed_eof()


@given(body=st.binary(max_size=200), cuts=cuts)
def test_a_body_of_known_length(body: bytes, cuts: list[int]):
    head = b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\nX-A:  b \r\n\r\n" % len(body)
    parser, found = parse(head + body, cuts)
    assert found == body
    assert parser.done
    assert parser.head is not None
    assert parser.head.status == 201
    assert parser.head.get(b"x-a") == b"b"
    assert parser.head.get(b"x-b") is None


@given(body=st.binary(max_size=200), cuts=cuts)
def test_a_body_up_to_the_end_of_the_connection(body: bytes, cuts: list[int]):
    parser, found = parse(b"HTTP/1.1 200 OK\r\n\r\n" + body, cuts)
    assert found == body
    assert not parser.done
    parser.feed_eof()
    assert parser.done
    assert not parser.reusable


@given(pieces=bodies, at=st.integers(0, 300))
def test_a_cut_response_is_an_error(pieces: list[bytes], at: int):
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(pieces)
    parser, _ = parse(whole[: min(at, len(whole) - 1)])
    with pytest.raises(BadResponseError):
        parser.feed_eof()


@given(data=st.binary(max_size=300), cuts=cuts)
def test_garbage_is_an_error_and_nothing_else(data: bytes, cuts: list[int]):
    for start in (b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            parse(start + data, cuts)[0].feed_eof()
        except BadResponseError:
            continue


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : blank\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1" * 5_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        b"HTTP/1.1 204 No\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * MAX_HEAD_BYTES,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(response: bytes):
    with pytest.raises(BadResponseError):
        parse(response)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive", True),
        (b"HTTP/1.1 204 No Content", True),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length: 0", True),
    ],
)
def test_whether_the_connection_goes_on(head: bytes, reusable: bool):
    parser, body = parse(head + b"\r\n\r\n")
    assert parser.done
    assert body == b""
    assert parser.reusable is reusable


def test_the_answer_to_head_has_no_body():
    parser, body = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", has_body=False)
    assert parser.done
    assert body == b""
