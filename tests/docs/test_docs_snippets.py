"""Every command and example of the documentation runs, on small files and a loopback server."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

import docs_text
from router.cli import main
from router.eval.baselines.fixed import ZeroRouter
from router.training import fitting
from router.training.importers.hub import fetch

ROOT = Path(__file__).resolve().parents[2]
_SERVE = "from router.cli import main; main(prog_name='wattroute')"
_API = re.compile(r"https://api\.oxlo\.ai/v1|http://(?:127\.0\.0\.1|localhost):80(?!00)\d\d/v1")
_PROXY = re.compile(r"http://(?:127\.0\.0\.1|localhost):8000")
# commands whose answer may be "no": exit code 1
_FINDINGS = {
    "calibrate",
    "energy",
    "evaluate",
    "learning-curve",
    "monitor",
    "promote",
    "runs",
    "serve-benchmark",
    "unseen-tasks",
}
# what makes a command quick on a few prompts; of an option that is there twice the last one counts
_QUICKER = {
    "ablate": ("--seeds", "1"),
    "benchmark": ("--seeds", "1"),
    "collect": ("--yes", "--rpm", "100000", "--max-requests", "400"),
    "learning-curve": ("--seeds", "1", "--sizes", "30"),
    "serve-benchmark": ("--requests", "50", "--calls", "10", "--rounds", "1"),
    "select-prompts": ("--n", "20"),
    "sweep": ("--trials", "2"),
    "train": ("--splits", "0", "--no-forecast"),
}
_QUICKER_MODULES = {
    "router.training.simulate_add_model": ("--seeds", "1", "--sizes", "30", "--draws", "1"),
}
_RUN_ID = re.compile(r"run:[0-9a-f]{32}")
# where MLflow's servers are without --port, and where they say that they answer
_MLFLOW = {("ui",): ("5000", "health"), ("models", "serve"): ("5000", "ping")}


class Place(BaseModel):
    name: str


@dataclass
class Session:
    """A working folder in which the blocks of a page run one after the other."""

    upstream: Any
    eval_table: Any
    names: dict[str, Any] = field(default_factory=dict)
    served: list[subprocess.Popen[str]] = field(default_factory=list)
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    proxy: str = ""
    words_of_proxy: tuple[str, ...] = ()

    def run(self, block: Any) -> None:
        """Run a block, whatever its language."""
        if block.language == "python":
            self.python(block)
        elif block.language in docs_text.SHELL:
            for command in docs_text.commands_of(block):
                self.shell(command)

    def here(self, text: str) -> str:
        """Put the addresses of this session in the place of those of a text."""
        for documented, address in self.addresses.items():
            text = text.replace(documented, address)
        return _PROXY.sub(self.proxy or "http://127.0.0.1:9", _API.sub(self.upstream.url, text))

    def python(self, block: Any) -> None:
        source = "\n" * (block.line - 1) + self.here(block.text)
        if re.search(r"^import mlflow$", block.text, re.MULTILINE):
            # MLflow keeps its store for the whole process, and warns of itself
            run_program([sys.executable, "-W", "ignore", "-c", source], block.where)
            return
        with contextlib.redirect_stdout(None):
            exec(compile(source, block.page, "exec"), self.names)

    def shell(self, command: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in command.environment.items():
                patch.setenv(name, value)
            self.command(command)

    def command(self, command: Any) -> None:
        if command.program == "wattroute":
            self.wattroute(command)
        elif command.program == "export":
            for word in command.words[1:]:
                name, _, value = word.partition("=")
                os.environ[name] = value
        elif command.program == "pip":
            check_install(command)
            said = answer_of_pip(command.words[1:])
            assert not said, f"{command}\n{said}"
        elif command.program == "cat" and command.stdout and command.text is not None:
            Path(command.stdout).write_text(command.text, encoding="utf-8")
        elif command.program == "make":
            check_targets(command)
            # CI runs `make test`, and `wattroute demo` runs in test_benchmark_and_demo.py
            run_program(["make", "-n", *command.words[1:]], str(command), cwd=ROOT)
        elif command.program == "python" and command.words[1:2] == ("-m",):
            words = [sys.executable, *command.words[1:]]
            words += _QUICKER_MODULES.get(command.words[2], ())
            run_program(words, str(command))
        elif command.program == "curl":
            words = ["curl", "-sS", "--fail-with-body", "--noproxy", "127.0.0.1"]
            words += map(self.here, command.words[1:])
            run_program(words, str(command), stdout=command.stdout)
        elif command.program == "mlflow":
            self.mlflow(command)
        else:
            pytest.fail(f"{command}: say which test runs it, or teach this one to")

    def wattroute(self, command: Any) -> None:
        words = [self.here(word) for word in command.words[1:]]
        name = words[0]
        if name == "serve":
            if "..." in words:  # as the page served before
                at = words.index("...")
                words[at : at + 1] = self.words_of_proxy
            self.words_of_proxy = tuple(words[1:])
            self.serve(words)
            return
        words += _QUICKER.get(name, ())
        if name == "train" and not {"--register", "--tracking-uri", "--experiment"} & {*words}:
            words.append("--no-tracking")
        if name == "import" and any(map(_RUN_ID.fullmatch, words)):
            store = words[words.index("--tracking-uri") + 1]
            run = f"run:{log_evaluation(store, self.eval_table)}"
            words = [_RUN_ID.sub(run, word) for word in words]
        if name == "import":  # what other commands take as runs stays as it is
            words[words.index("--out") + 1] = f"imported-{len(list(Path().glob('imported-*')))}.csv"
        if name == "collect":
            words = [re.sub(r"size=\d+", "size=3", word) for word in words]
            if "--regrade" not in words:  # a page shows one collection after the other
                folder = Path(words[words.index("--out") + 1])
                if (folder / "collect").exists():
                    shutil.rmtree(folder)
            if "--base-url" not in words and "--regrade" not in words:
                words += ["--base-url", self.upstream.url]
        given = Path(command.stdin).read_text() if command.stdin else None
        done = CliRunner().invoke(main, words, input=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise AssertionError(str(command)) from done.exception
        allowed = {0, 1} if name in _FINDINGS else {0}
        assert done.exit_code in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
        if command.stdout:
            Path(command.stdout).write_text(done.stdout, encoding="utf-8")

    def serve(self, words: list[str]) -> None:
        """Serve until the page is done."""
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *words, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.served.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        self.proxy = json.loads(line)["url"]
        with urlopen(f"{self.proxy}/health", timeout=20) as answer:
            assert answer.status == 200

    def mlflow(self, command: Any) -> None:
        """Let one of MLflow's servers run until the page is done."""
        words = list(command.words[1:])
        kinds = [kind for kind in _MLFLOW if tuple(words[: len(kind)]) == kind]
        assert kinds, f"{command}: no server of MLflow's"
        documented, ready = _MLFLOW[kinds[0]]
        if "--port" in words:
            documented = words[words.index("--port") + 1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        self.addresses[f"http://127.0.0.1:{documented}"] = address
        words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        log = Path(f"mlflow-{port}.log").absolute()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words],
                stdout=file,
                stderr=file,
                env={**os.environ, "PATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        self.others.append(process)
        end = time.monotonic() + 120
        while True:
            assert process.poll() is None, f"{command}\n{log.read_text(encoding='utf-8')}"
            assert time.monotonic() < end, f"{command}\n{log.read_text(encoding='utf-8')}"
            with contextlib.suppress(OSError), urlopen(f"{address}/{ready}", timeout=5):
                return
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self.others:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.others:
            process.wait(timeout=30)
        for client in (v for v in self.names.values() if type(v).__name__ == "OpenAI"):
            client.close()
        for proxy in self.served:
            proxy.send_signal(signal.SIGTERM)
        for proxy in self.served:
            _, error = proxy.communicate(timeout=30)
            assert proxy.returncode == 0, error


def run_program(
    words: Sequence[str], where: str, *, cwd: Path | None = None, stdout: str | None = None
) -> None:
    """Run another program to its end; it must succeed."""
    assert shutil.which(words[0]), f"{where}: these tests need the program {words[0]}"
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
    if stdout:
        Path(stdout).write_text(done.stdout, encoding="utf-8")


@functools.cache
def answer_of_pip(words: tuple[str, ...]) -> str:
    """Run pip in this environment, which has everything; return what it finds wrong."""
    words = ("-m", "pip", "--disable-pip-version-check", *words, "--no-index")
    if importlib.util.find_spec("pycosat") is None:  # .ci/install.py leaves it out, then
        words += ("--no-deps",)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    known = "Requirement already satisfied: wattroute" in done.stdout
    fine = known and done.returncode == 0 and "does not provide the extra" not in done.stderr
    return "" if fine else f"{done.stdout}\n{done.stderr}"


def log_evaluation(store: str, table: Any) -> str:
    """Log a run with the table of an evaluation; return its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on import
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=store)
        artifacts = Path("mlartifacts").absolute().as_uri()
        experiment = client.create_experiment("graded", artifact_location=artifacts)
        run = client.create_run(experiment).info.run_id
        client.log_dict(run, table, "eval_results_table.json")
        client.set_terminated(run)
    return str(run)


def check_install(command: Any) -> None:
    """Check the extras of what is installed."""
    assert command.words[1] == "install", command
    extras = set(importlib.metadata.metadata("wattroute").get_all("Provides-Extra") or ())
    for word in command.words[2:]:
        name, _, rest = word.partition("[")
        if name in ("wattroute", "."):
            given = {extra for extra in rest.rstrip("]").split(",") if extra}
            assert given <= extras, f"{command}: no extra {given - extras}"


def check_targets(command: Any) -> None:
    """Check the targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in command.words[1:]:
        if "=" in word:
            assert re.search(rf"^{word.partition('=')[0]} \?=", makefile, re.M), command
        else:
            assert re.search(rf"^{re.escape(word)}:", makefile, re.M), command


@pytest.fixture
def start(
    upstream: Any,
    hub: str,
    eval_table: Any,
    material: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], Session]]:
    """Begin a session in a copy of the material."""
    sessions: list[Session] = []
    environment = dict(os.environ)

    def begin() -> Session:
        folder = tmp_path / "page"
        shutil.copytree(material, folder)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(fitting, "_MAX_REPEATS", 1)
        monkeypatch.setattr("router.eval.benchmark.default_baselines", lambda: (ZeroRouter(),))
        for client in ("sync_client", "async_client"):
            monkeypatch.setattr(f"router.client.{client}.BASE_URL", upstream.url)
        from_hub = functools.partial(fetch, endpoint=hub, cache_dir=str(tmp_path / "hub"))
        monkeypatch.setattr("router.training.importers.run_import.fetch", from_hub)
        os.environ["OXLO_API_KEY"] = "sk-test"
        sessions.append(Session(upstream, eval_table))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.stop()
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def test_blocks_of_a_page_run(page: str, start: Callable[[], Session]):
    blocks = [b for b in docs_text.blocks_of(page) if b.language in ("python", *docs_text.SHELL)]
    if not blocks:
        return
    session = start()
    place = [{"role": "user", "content": "Where am I?"}]
    session.names.update(messages=place, Place=Place, __name__="__main__")
    for block in docs_text.blocks_of(page):
        if block.language == "toml" and "[[rule]]" in block.text:
            Path("rules.toml").write_text(block.text, encoding="utf-8")
    for block in blocks:
        session.run(block)


@pytest.mark.parametrize(
    ("language", "text", "error"),
    [
        ("sh", "wattroute evaluate my-router missing.parquet\n", "page.md:4: wattroute evaluate"),
        ("sh", "wattroute route 'Why?' --quality 2\n", "page.md:4: wattroute route"),
        ("sh", "pip install 'wattroute[everything]'\n", "no extra"),
        ("sh", "make tea\n", "('make', 'tea')"),
        ("sh", "curl http://127.0.0.1:8000/v1/models\n", "page.md:4: curl"),
        ("sh", "mlflow server\n", "page.md:4: mlflow server: no server of MLflow's"),
        ("sh", "python -m router.training.simulate_add_model no.toml\n", "no.toml"),
        ("python", "assert 1 + 1 == 3, 'sum'\n", "sum"),
        ("sh", "rm -r runs\n", "say which test runs it"),
    ],
)
def test_blocks_that_fail_are_found(
    start: Callable[[], Session], language: str, text: str, error: str
):
    session = start()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=re.escape(error)):
        session.run(docs_text.Block("page.md", 4, language, text))
