"""``wattroute serve`` as processes: signals, workers, addresses, usage."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

import fault_server as faults
from router.cli import main

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
RULES = 'default = "{model}"\n'


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.toml"
    file.write_text(RULES.format(model="mistral-24b"))
    return file


def chat(root: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{root}/v1/chat/completions", json=CHAT | fields, timeout=20.0)


def children_of(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in listed.split()]


def test_one_process_serves_and_stops(
    serve_process: Callable[..., Any], rules: Path, fault_server: Any
):
    serving = serve_process(str(rules), "--upstream", fault_server.url)
    assert serving.ready["workers"] == 1
    assert serving.ready["models"] == 1
    assert chat(serving.root).headers["x-wattroute-model"] == "mistral-24b"
    assert httpx.get(f"{serving.root}/ready").status_code == 200
    code, error = serving.stop()
    assert code == 0
    assert "routes among 1 models" in error
    assert "Traceback" not in error
    with pytest.raises(httpx.ConnectError):
        chat(serving.root)


def test_interrupting_is_an_orderly_end(
    serve_process: Callable[..., Any], rules: Path, fault_server: Any
):
    for workers in ("1", "2"):
        serving = serve_process(str(rules), "--upstream", fault_server.url, "--workers", workers)
        assert chat(serving.root).status_code == 200
        code, error = serving.stop(signal.SIGINT)
        assert code == 0
        assert "Traceback" not in error


@pytest.mark.parametrize("workers", ["1", "2"])
def test_answers_under_way_are_finished(
    serve_process: Callable[..., Any],
    rules: Path,
    fault_server: Any,
    workers: str,
    wait_until: Callable[..., None],
):
    """A stream and a whole answer that take a second survive a signal to stop."""
    fault_server.script(faults.stream(["a"] * 20, delay_s=0.05), faults.slow_body(0.25))
    serving = serve_process(str(rules), "--upstream", fault_server.url, "--workers", workers)
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda kind=kind: answers.append(chat(serving.root, stream=kind)))
        for kind in (True, False)
    ]
    for i, thread in enumerate(threads, 1):
        thread.start()
        wait_until(lambda i=i: len(fault_server.chats) == i)
    serving.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200]
    assert any(answer.text.rstrip().endswith("[DONE]") for answer in answers)
    assert serving.wait()[0] == 0


def test_there_is_a_deadline(serve_process: Callable[..., Any], rules: Path, fault_server: Any):
    fault_server.always(faults.stream(["a"] * 1_000, delay_s=0.05))
    serving = serve_process(str(rules), "--upstream", fault_server.url, "--drain", "1")
    failed: list[Exception] = []

    def read() -> None:
        try:
            chat(serving.root, stream=True)
        except httpx.HTTPError as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    assert serving.stop()[0] == 0
    assert time.monotonic() - start < 8
    thread.join()
    assert len(failed) == 1  # and not an answer that looks whole


def test_a_signal_and_a_changed_file_load_the_router_again(
    serve_process: Callable[..., Any],
    rules: Path,
    fault_server: Any,
    wait_until: Callable[..., None],
):
    serving = serve_process(str(rules), "--upstream", fault_server.url, "--workers", "2")

    def models() -> set[str]:
        return {chat(serving.root).headers["x-wattroute-model"] for _ in range(8)}

    assert models() == {"mistral-24b"}
    rules.write_text(RULES.format(model="llama-3.3-70b"))
    serving.process.send_signal(signal.SIGHUP)
    wait_until(lambda: models() == {"llama-3.3-70b"})
    rules.write_text(RULES.format(model="qwen-3-32b"))
    wait_until(lambda: models() == {"qwen-3-32b"})
    rules.write_text("broken")
    time.sleep(2.5)
    assert models() == {"qwen-3-32b"}
    code, error = serving.stop()
    assert code == 0
    assert "the old one stays" in error


def test_workers_share_metrics_sessions_and_log(
    serve_process: Callable[..., Any],
    rules: Path,
    fault_server: Any,
    tmp_path: Path,
    wait_until: Callable[..., None],
):
    log = tmp_path / "log.jsonl"
    serving = serve_process(
        str(rules), "--upstream", fault_server.url, "--workers", "3", "--log", str(log)
    )
    n_calls = 30
    # a connection each, so that every worker gets some
    answers = [chat(serving.root) for _ in range(n_calls)]
    assert {answer.status_code for answer in answers} == {200}

    def counted() -> float:
        page = httpx.get(f"{serving.root}/metrics").text
        name = 'wattroute_outcomes_total{outcome="answered"} '
        found = [line for line in page.splitlines() if line.startswith(name)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    wait_until(lambda: counted() == n_calls)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ids = {line["request_id"] for line in lines}
    assert ids == {answer.headers["x-wattroute-request-id"] for answer in answers}
    page = httpx.get(f"{serving.root}/metrics").text
    assert "wattroute_workers 3\n" in page
    assert sum(line.startswith("process_resident_memory_bytes{") for line in page.splitlines()) == 3


def test_a_worker_that_dies_is_replaced(
    serve_process: Callable[..., Any],
    rules: Path,
    fault_server: Any,
    wait_until: Callable[..., None],
):
    serving = serve_process(str(rules), "--upstream", fault_server.url, "--workers", "2")
    parent = serving.process.pid
    wait_until(lambda: len(children_of(parent)) == 2)
    before = children_of(parent)
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(children_of(parent)) == 2 and before[0] not in children_of(parent))
    wait_until(lambda: httpx.get(f"{serving.root}/ready").status_code == 200)
    assert all(chat(serving.root).status_code == 200 for _ in range(6))
    code, error = serving.stop()
    assert code == 0
    assert "another one takes its place" in error


def test_a_worker_that_takes_anothers_place_has_the_current_router(
    serve_process: Callable[..., Any],
    rules: Path,
    fault_server: Any,
    wait_until: Callable[..., None],
):
    serving = serve_process(str(rules), "--upstream", fault_server.url, "--workers", "2")
    parent = serving.process.pid

    def models() -> set[str]:
        return {chat(serving.root).headers["x-wattroute-model"] for _ in range(8)}

    rules.write_text(RULES.format(model="llama-3.3-70b"))
    wait_until(lambda: models() == {"llama-3.3-70b"})
    before = children_of(parent)
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(children_of(parent)) - set(before)) == 2)
    wait_until(lambda: models() == {"llama-3.3-70b"})


def test_without_its_router_the_default_model_answers(
    serve_process: Callable[..., Any], tmp_path: Path, fault_server: Any
):
    serving = serve_process(
        str(tmp_path / "nowhere"), "--upstream", fault_server.url, "--default-model", "only"
    )
    response = chat(serving.root)
    assert response.headers["x-wattroute-model"] == "only"
    assert serving.stop()[0] == 0


def test_keys_come_from_the_environment(
    serve_process: Callable[..., Any], rules: Path, fault_server: Any
):
    serving = serve_process(
        str(rules),
        *("--upstream", fault_server.url, "--key-env", "UP", "--access-key-env", "DOOR"),
        environment={"UP": "held-key", "DOOR": "door-key"},
    )
    assert chat(serving.root).status_code == 401
    response = httpx.post(
        f"{serving.root}/v1/chat/completions",
        json=CHAT,
        headers={"authorization": "Bearer door-key"},
    )
    assert response.status_code == 200
    assert fault_server.chats[-1].headers["authorization"] == "Bearer held-key"
    _, error = serving.stop()
    assert "held-key" not in error
    assert "door-key" not in error


def run_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from router.cli import main; main(prog_name='wattroute')"
    return subprocess.run(
        [sys.executable, "-c", code, "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_address_that_is_taken(rules: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_serve(str(rules), "--upstream", "http://127.0.0.1:9/v1", "--port", port)
    assert result.returncode == 2
    assert "cannot listen" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_router_that_cannot_be_loaded(tmp_path: Path):
    result = run_serve(str(tmp_path), "--upstream", "http://127.0.0.1:9/v1", "--port", "0")
    assert result.returncode == 2
    assert "no router at" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--upstream"),
        (["--upstream", "api.oxlo.ai"], "is not a URL"),
        (["--upstream", "http://x/v1", "--quality", "1.5"], "quality is 1.5"),
        (["--upstream", "http://x/v1", "--quality", "nan"], "quality is nan"),
        (["--upstream", "http://x/v1", "--min-probability", "2"], "min_probability is 2"),
        (["--upstream", "http://x/v1", "--confidence", "1"], "confidence is 1"),
        (["--upstream", "http://x/v1", "--port", "70000"], "port is 70000"),
        (["--upstream", "http://x/v1", "--workers", "0"], "workers is 0"),
        (["--upstream", "http://x/v1", "--drain", "-1"], "drain_s is -1"),
        (["--upstream", "http://x/v1", "--idle-timeout", "inf"], "idle_s is inf"),
        (["--upstream", "http://x/v1", "--max-body-mb", "0"], "max_body_bytes is 0"),
        (["--upstream", "http://x/v1", "--max-body-mb", "nan"], "'--max-body-mb': nan is not"),
        (["--upstream", "http://x/v1", "--max-body-mb", "inf"], "'--max-body-mb': inf is not"),
        (["--upstream", "http://x/v1", "--log-prompts"], "--log"),
        (["--upstream", "http://x/v1", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["--upstream", "http://x/v1", "--model-upstream", "m"], "MODEL=URL"),
        (["--upstream", "http://x/v1", "--model-upstream", "m=x"], "is not a URL"),
        (["--upstream", "http://x/v1", "--plan", "gold"], "gold"),
        (["--upstream", "http://x/v1", "--log", "/no/such/folder/log"], "cannot be written"),
        (["--upstream", "http://x/v1", "--workers", "many"], "--workers"),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else "",
)
def test_wrong_usage_is_said_in_a_line(rules: Path, arguments: list[str], said: str):
    result = CliRunner().invoke(main, ["serve", str(rules), *arguments])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_held_key_is_not_open_to_everyone(rules: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UP", "held-key")
    arguments = ["serve", str(rules), "--upstream", "http://x/v1", "--key-env", "UP"]
    result = CliRunner().invoke(main, [*arguments, "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "--access-key-env" in result.stderr


@pytest.mark.parametrize("key", ["a\nb", "ä", " "])
def test_a_key_that_no_header_can_hold_is_not_shown(
    rules: Path, monkeypatch: pytest.MonkeyPatch, key: str
):
    monkeypatch.setenv("UP", key)
    result = CliRunner().invoke(
        main, ["serve", str(rules), "--upstream", "http://x/v1", "--key-env", "UP"]
    )
    assert result.exit_code == 2
    assert "printable ASCII" in result.stderr
    assert key.strip() == "" or key not in result.stderr


def test_help_needs_none_of_the_extras():
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'httpx'): sys.modules[name] = None\n"
        "from router.cli import main\nmain(['serve', '--help'], prog_name='wattroute')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--model-upstream" in done.stdout
    missing = code.replace("'--help'", "'--upstream', 'http://x/v1'")
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True)
    assert done.returncode == 2
    assert "wattroute[serve]" in done.stderr
