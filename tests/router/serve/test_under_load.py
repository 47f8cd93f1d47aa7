"""A proxy that is changed or stopped while many calls are under way: none is lost or cut short."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import fault_server as faults
from router.router import router_folder

N_CLIENTS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A learned router's folder that may be changed."""
    copied: Path = shutil.copytree(router_folder(), tmp_path / "router")
    return copied


class Traffic:
    """Clients that ask without a pause, every other time for a stream, until they are stopped."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.n_answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(N_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, n: int) -> None:
        """Wait for n answers more."""
        until, end = self.n_answers + n, time.monotonic() + 20
        while self.n_answers < until:
            assert time.monotonic() < end, "the proxy stands still"
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, client: int) -> None:
        number = 0
        with httpx.Client(timeout=20.0) as http:
            while not self._stop.is_set():
                number += 1
                try:
                    self._check(http, f"<{client}-{number}>", number % 2 == 0)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                self.n_answers += 1

    def _check(self, http: httpx.Client, text: str, stream: bool) -> None:
        body = {
            "model": "auto",
            "stream": stream,
            "messages": [{"role": "user", "content": f"What is {text}?"}],
        }
        answer = http.post(f"{self.root}/v1/chat/completions", json=body)
        whole = not stream or answer.text.endswith("data: [DONE]\n\n")
        if answer.status_code != 200 or not whole or (not stream and text not in answer.text):
            self.failures.append(f"{answer.status_code} {answer.text[-200:]}")
        if "x-wattroute-fallback" in answer.headers:
            self.failures.append(answer.headers["x-wattroute-fallback"])


def metric(root: str, name: str) -> float:
    lines = httpx.get(f"{root}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.slow
def test_a_new_router_under_load_drops_no_call(
    serve_process: Callable[..., Any],
    folder: Path,
    fault_server: Any,
    wait_until: Callable[..., None],
):
    """By signal, by changed files, with a broken file in between; in two workers at once."""
    serving = serve_process(str(folder), "--upstream", fault_server.url, "--workers", "2")
    traffic = Traffic(serving.root)

    def reloads(result: str, n: int) -> None:
        name = f'wattroute_reloads_total{{result="{result}"}}'
        wait_until(lambda: metric(serving.root, name) >= n, 20.0)

    try:
        traffic.wait_for(20)
        serving.process.send_signal(signal.SIGHUP)
        reloads("loaded", 2)
        manifest = (folder / "manifest.json").read_bytes()
        (folder / "manifest.json").write_bytes(manifest[: len(manifest) // 2])
        reloads("failed", 2)
        traffic.wait_for(20)
        (folder / "manifest.json").write_bytes(manifest)
        reloads("loaded", 4)
        traffic.wait_for(20)
    finally:
        traffic.stop()
    assert traffic.failures == []
    code, error = serving.stop()
    assert code == 0
    assert "Traceback" not in error


@pytest.mark.parametrize("workers", ["1", "2"])
def test_stopping_under_load_finishes_every_answer(
    serve_process: Callable[..., Any],
    folder: Path,
    fault_server: Any,
    tmp_path: Path,
    workers: str,
):
    """Twenty streams and whole answers that take over a second when the signal comes."""
    pieces = [f"piece {i} " for i in range(20)]
    streamed, slow = faults.stream(pieces, delay_s=0.06), faults.slow_body(0.3)

    def reply(connection: Any, request: Any) -> None:
        (streamed if request.body.get("stream") else slow)(connection, request)

    fault_server.always(reply)
    log = tmp_path / "log.jsonl"
    serving = serve_process(
        str(folder), "--upstream", fault_server.url, "--workers", workers, "--log", str(log)
    )
    answers: list[httpx.Response] = []

    def ask(i: int) -> None:
        messages = [{"role": "user", "content": f"Count {i}."}]
        body = {"model": "auto", "stream": i % 4 != 0, "messages": messages}
        url = f"{serving.root}/v1/chat/completions"
        answers.append(httpx.post(url, json=body, timeout=30.0))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while len(fault_server.chats) < len(threads):  # each has reached the upstream
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(answers) < len(threads)
    serving.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    code, error = serving.wait()
    assert code == 0
    assert "Traceback" not in error
    assert [answer.status_code for answer in answers] == [200] * len(threads)
    streams = [
        answer.text for answer in answers if "event-stream" in answer.headers["content-type"]
    ]
    assert len(streams) == 15
    for text in streams:
        assert text.endswith("data: [DONE]\n\n")
        assert all(piece in text for piece in pieces)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["answered"] * len(threads)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{serving.root}/health")


def test_a_request_on_its_way_when_the_signal_comes_is_answered(
    serve_process: Callable[..., Any], fault_server: Any
):
    """Its connection was taken, its last bytes come a moment after the signal."""
    serving = serve_process("--upstream", fault_server.url)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    port = int(serving.root.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        httpx.get(f"{serving.root}/health")  # the other connection has been taken by now
        serving.process.send_signal(signal.SIGTERM)
        time.sleep(0.03)
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    assert serving.wait()[0] == 0
