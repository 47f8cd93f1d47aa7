"""Whether a streamed answer is whole, and what it used, without changing a byte of it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from router.dispatch.usage import Usage, usage_of

__all__ = ["StreamWatch"]

_LONGEST_LINE = 16 * 1024 * 1024
_TEXT_KEYS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


class StreamWatch:
    r"""Watches a stream of chat completion chunks as server-sent events.

    Parameters
    ----------
    n : int
        Answers asked for; each needs its own ``finish_reason``.

    Attributes
    ----------
    began : bool
        Whether an event other than a comment was seen.
    usage : Usage or None
        From the last event that had any.
    error : object
        What an event said under ``error``; None while none did.
    finish_reasons : dict of int to str
        By the answer's index.
    deltas : int
        Pieces of answers seen; with most servers one a token.

    Examples
    --------
    >>> watch = StreamWatch()
    >>> watch.feed(b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n')
    >>> watch.began, watch.complete
    (True, False)
    >>> watch.feed(b"data: [DONE]\n\n")
    >>> watch.complete
    True
    """

    __slots__ = ("_done", "_n", "_rest", "began", "deltas", "error", "finish_reasons", "usage")

    def __init__(self, n: int = 1) -> None:
        self._n = max(n, 1)
        self._rest = bytearray()
        self._done = False
        self.began: bool = False
        self.usage: Usage | None = None
        self.error: object = None
        self.finish_reasons: dict[int, str] = {}
        self.deltas: int = 0

    @property
    def complete(self) -> bool:
        """Whether the server said that it is done, or each answer has its finish reason.

        An error event makes an answer incomplete whatever comes after it.
        """
        if self.error is not None:
            return False
        return self._done or len(self.finish_reasons) >= self._n

    @property
    def finish_reason(self) -> str | None:
        """The first answer's finish reason; ``"length"`` if any answer was cut off."""
        reasons = self.finish_reasons
        if "length" in reasons.values():
            return "length"
        return reasons.get(0) or next(iter(reasons.values()), None)

    def feed(self, chunk: bytes) -> None:
        """Take bytes of the body as they come, in pieces of any size."""
        if b"\n" not in chunk and b"\r" not in chunk:
            if len(self._rest) < _LONGEST_LINE:
                self._rest += chunk
            return
        lines = (bytes(self._rest) + chunk).replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(lines.pop())
        for line in lines:
            if line:
                self._line(line)

    def end(self) -> None:
        """Say that no more bytes come: a last line may lack its line end."""
        if self._rest:
            self._line(bytes(self._rest))
            self._rest.clear()

    def data(self, data: str | bytes) -> None:
        """Take the data of one event, JSON or ``[DONE]``."""
        self.began = True
        if data[:6] in ("[DONE]", b"[DONE]"):
            self.done()
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        self.see(event)

    def see(self, event: object) -> None:
        """Take the parsed data of one event."""
        self.began = True
        if not isinstance(event, Mapping):
            return
        if event.get("error"):
            self.error = event["error"]
        self.usage = usage_of(event) or self.usage
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, Mapping):
                self._see_choice(choice)

    def done(self) -> None:
        """Take the event ``[DONE]``."""
        self.began = True
        self._done = True

    def _see_choice(self, choice: Mapping[str, object]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, Mapping) and any(delta.get(key) for key in _TEXT_KEYS):
            self.deltas += 1
        reason, index = choice.get("finish_reason"), choice.get("index")
        if isinstance(reason, str):
            self.finish_reasons[index if isinstance(index, int) else 0] = reason

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self.data(line[5:].strip())
