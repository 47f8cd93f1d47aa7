"""A proxy in a thread of the tests, in front of the fault server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

import fault_server as faults
from router.dispatch import RetryPolicy
from router.router import Router
from router.serve.app import Proxy
from router.serve.service import Service
from router.serve.settings import Settings
from router.serve.upstream import Timeouts

_RUN = "from router.cli import main; main(prog_name='wattroute')"
QUICK = RetryPolicy(tries_per_model=2, base_s=0.01, cap_s=0.02, max_retry_after_s=0.2)


class RunningProxy:
    """A proxy that listens on loopback."""

    def __init__(self, service: Service, upstream: Any = None) -> None:
        self.service = service
        self.upstream = upstream
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        config = uvicorn.Config(
            Proxy(service),
            access_log=False,
            lifespan="on",
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=5,
            ws="none",
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],))
        self._thread.start()
        self.http = httpx.Client(base_url=self.root, timeout=20.0)

    def chat(self, content: Any = "Why is the sky blue?", **fields: Any) -> httpx.Response:
        body = {"model": "auto", "messages": [{"role": "user", "content": content}]} | fields
        headers = body.pop("headers", {})
        return self.http.post("/v1/chat/completions", json=body, headers=headers)

    def log_lines(self, n: int, kind: str = "decision") -> list[dict[str, Any]]:
        """Wait for n lines of a kind: they are written after the answer."""
        path = self.service.settings.log
        assert path is not None

        def lines() -> list[dict[str, Any]]:
            found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            return [line for line in found if line["kind"] == kind]

        wait_until(lambda: len(lines()) >= n)
        return lines()

    def metric(self, name: str) -> float:
        for line in self.http.get("/metrics").text.splitlines():
            key, _, value = line.rpartition(" ")
            if key == name:
                return float(value)
        return 0.0

    def stop(self) -> None:
        self.http.close()
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(name="wait_until")
def _wait_until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def make_proxy(
    small_router: Router, fault_server: Any, tmp_path: Path
) -> Iterator[Callable[..., RunningProxy]]:
    """Start a proxy with settings of one's own; `router` takes the place of the small one."""
    running: list[RunningProxy] = []

    def make(**settings: Any) -> RunningProxy:
        router = settings.pop("use", small_router)
        settings.setdefault("upstream", fault_server.url)
        settings.setdefault("log", tmp_path / "decisions.jsonl")
        settings.setdefault("retry", QUICK)
        settings.setdefault("timeouts", Timeouts(2.0, 2.0, 2.0))
        running.append(RunningProxy(Service(Settings(**settings), router)))
        return running[-1]

    yield make
    for proxy in running:
        proxy.stop()


@pytest.fixture
def proxy(make_proxy: Callable[..., RunningProxy]) -> RunningProxy:
    return make_proxy()


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Run code that forks in a process of its own, which has no threads; returns its output."""

    def run(code: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


class ServeProcess:
    """``wattroute serve`` as a process of its own."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, "serve", "--port", "0", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        self.ready = json.loads(line)
        self.root = self.ready["url"]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return exit code and standard error."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        try:
            _, error = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, error


@pytest.fixture
def serve_process() -> Iterator[Callable[..., ServeProcess]]:
    """Start ``wattroute serve`` with arguments of one's own."""
    started: list[ServeProcess] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> ServeProcess:
        started.append(ServeProcess(*arguments, environment=environment))
        return started[-1]

    yield start
    for serving in started:
        if serving.process.poll() is None:
            serving.stop()


@pytest.fixture(scope="module")
def shared_proxy(
    small_router: Router, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProxy]:
    """A proxy that the tests of a module share, with its fault server as `upstream`."""
    with faults.FaultServer() as server:
        settings = Settings(
            upstream=server.url, retry=QUICK, log=tmp_path_factory.mktemp("shared") / "log.jsonl"
        )
        proxy = RunningProxy(Service(settings, small_router), server)
        yield proxy
        proxy.stop()
