from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch import StreamWatch, Usage


def event(index: int = 0, text: str | None = None, reason: str | None = None, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'choices': [choice], **more})}\n\n".encode()


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b": ping\n\n" + event(text="a") + event(text="b") + event(reason="stop") + USAGE + DONE


def watched(data: bytes, n: int = 1) -> StreamWatch:
    watch = StreamWatch(n)
    watch.feed(data)
    watch.end()
    return watch


def test_whole_stream():
    watch = watched(WHOLE)
    assert watch.complete
    assert (watch.deltas, watch.usage) == (2, Usage(3, 2))
    assert (watch.finish_reason, watch.error) == ("stop", None)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12).map(sorted), st.booleans())
def test_any_cut_into_chunks_and_any_line_end(cuts: list[int], carriage: bool):
    data = WHOLE.replace(b"\n", b"\r\n") if carriage else WHOLE
    watch = StreamWatch()
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        watch.feed(data[start:stop])
    assert watch.complete
    assert (watch.deltas, watch.usage) == (2, Usage(3, 2))


@given(st.integers(0, len(WHOLE)))
def test_a_cut_off_stream_is_never_complete(stop: int):
    finished = WHOLE.index(b'"stop"') + len(b'"stop"}]}')
    watch = watched(WHOLE[:stop])
    assert watch.complete == (stop >= finished)
    assert watch.began or stop <= len(b": ping\n\ndata")


def test_comments_do_not_begin_an_answer():
    assert not watched(b": ping\n\n: ping\n\nretry: 5\n\n").began
    assert watched(b"data:{}\n\n").began


def test_each_answer_needs_its_end():
    two = event(0, "a") + event(1, "b") + event(0, reason="stop")
    assert not watched(two, 2).complete
    assert watched(two + event(1, reason="length"), 2).complete
    assert watched(two + event(1, reason="length"), 2).finish_reason == "length"
    assert watched(two + DONE, 2).complete


def test_an_error_event_is_no_end():
    error = b'data: {"error": {"message": "worker died", "code": 503}}\n\n'
    watch = watched(event(text="a") + error + DONE)
    assert not watch.complete
    assert watch.error == {"message": "worker died", "code": 503}


def test_the_last_line_may_lack_its_end():
    assert watched(event(text="a") + b"data: [DONE]").complete


@pytest.mark.parametrize(
    "data",
    [
        b"data: {not json\n\n",
        b"data: [1, 2]\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [null, {"delta": 3, "finish_reason": 4}]}\n\n',
        b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": true}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"\xff\xfe\n\n",
    ],
)
def test_odd_events_do_not_fail(data: bytes):
    watch = watched(data)
    assert not watch.complete
    assert watch.usage is None


@given(st.lists(st.binary(max_size=50)))
def test_any_bytes(chunks: list[bytes]):
    watch = StreamWatch()
    for chunk in chunks:
        watch.feed(chunk)
    watch.end()


def test_tool_calls_and_reasoning_count_as_pieces():
    for delta in ({"tool_calls": [{"index": 0}]}, {"reasoning_content": "hm"}, {"refusal": "no"}):
        watch = StreamWatch()
        watch.see({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        assert watch.deltas == 1
    watch = StreamWatch()
    watch.see({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    assert (watch.deltas, watch.began) == (0, True)


def test_a_long_line_in_many_chunks_is_read_once():
    text = "x" * 2_000_000
    data = event(text=text)
    watch = StreamWatch()
    for start in range(0, len(data), 1000):
        watch.feed(data[start : start + 1000])
    assert watch.deltas == 1
