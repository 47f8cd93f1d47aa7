"""The benchmark of the proxy: every figure is there, and bad answers are noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from router.cli import main
from router.serve.benchmark import _throughput as throughput
from router.serve.benchmark import render_figures, targets_of


def test_every_figure_is_measured(tmp_path: Path):
    rules = tmp_path / "rules.toml"
    rules.write_text('default = "mistral-24b"\n')
    few = ["--requests", "120", "--connections", "8", "--calls", "12", "--rounds", "2", "--json"]
    result = CliRunner().invoke(main, ["serve-benchmark", str(rules), *few])
    assert result.exit_code in (0, 1), result.output
    figures = json.loads(result.stdout)
    assert (figures["requests"], figures["lost"], figures["mixed_up"]) == (120, 0, 0)
    for name in ("latency_ms", "first_token_ms"):
        found = figures[name]
        assert found["added_p50"] == pytest.approx(found["through_p50"] - found["straight_p50"])
        assert 0 < found["straight_p50"] <= found["straight_p99"]
        assert 0 < found["through_p50"] <= found["through_p99"]
        assert len(found["added_p50_rounds"]) == 2
    assert figures["requests_per_s"] > 0
    assert len(figures["memory_mib"]) == 3
    assert all(10 < size < 500 for size in figures["memory_mib"])
    assert 0 < figures["cold_start_s"] < 30
    targets = {target.name: target.met for target in targets_of(figures)}
    assert figures["targets"] == targets
    assert len(targets) == 8
    assert result.exit_code == (0 if all(targets.values()) else 1)
    text = render_figures(figures)
    assert text.count("ok  ") + text.count("MISS") == 8
    assert "0 of 120 lost or mixed up" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--requests", "0"], "requests is 0"),
        (["--requests", "3"], "use at least 5"),
        (["--connections", "0"], "connections is 0"),
        (["--calls", "-1"], "calls is -1"),
        (["--litellm", "/no/such/program"], "does not exist"),
        (["/no/such/router"], "did not start"),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], said: str):
    result = CliRunner().invoke(main, ["serve-benchmark", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


class Answering(asyncio.Protocol):
    """A server that answers as it likes; None closes the connection."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length):
            return
        self._buffer = b""
        reply = self._answer(body)
        if reply is None:
            self._transport.abort()
        else:
            self._transport.write(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport.abort()


def asked_of(answer: Callable[[bytes], bytes | None]) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Answering(answer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await asyncio.wait_for(throughput(port, 40, 4, 0, True), 20)
        server.close()
        await asyncio.sleep(0.05)
        return found

    return asyncio.run(run())


def response(model: str, content: str, named: str, status: int = 200) -> bytes:
    body = json.dumps({"model": model, "choices": [{"message": {"content": content}}]}).encode()
    head = f"HTTP/1.1 {status} X\r\nx-wattroute-model: {named}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def question_in(body: bytes) -> str:
    return str(json.loads(body)["messages"][-1]["content"])


def test_good_answers_are_good():
    found = asked_of(lambda body: response("m", question_in(body), "m"))
    assert (found["requests"], found["lost"], found["mixed_up"]) == (40, 0, 0)


def test_answers_to_other_questions_are_noticed():
    last = [""]

    def answer(body: bytes) -> bytes:
        before, last[0] = last[0], question_in(body)
        return response("m", before, "m")

    assert asked_of(answer)["mixed_up"] == 40


def test_answers_of_other_models_are_noticed():
    assert asked_of(lambda body: response("m", question_in(body), "other"))["mixed_up"] == 40


def test_lost_answers_are_noticed():
    numbers = iter(range(1_000))

    def answer(body: bytes) -> bytes | None:
        number = next(numbers)
        if number % 10 == 9:
            return None
        return response("m", question_in(body), "m", 500 if number % 10 == 8 else 200)

    found = asked_of(answer)
    assert (found["lost"], found["mixed_up"]) == (8, 0)
