"""Every command and example of the documentation runs, on small files and a loopback server."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from router.cli import main
from router.eval.baselines.fixed import ZeroRouter
from router.training import fitting

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
# commands of pages that are not run here: the test that does, or why none can
_LEFT_OUT = {
    r"curl": "needs a server of your own",
    r"lm_eval": "needs another program",
    r"\S+/bin/": "needs another program",
    r"python3? -m venv": "needs the network",
    r"wattroute demo": "tests/training/commands/test_benchmark_and_demo.py",
    r"wattroute import .*\bhf[: ]": "tests/training/importers/test_import_hub.py",
    r"wattroute import mlflow": "tests/training/importers/test_import_mlflow.py",
    r"wattroute import (embedllm|llmrouterbench|routellm)": (
        "tests/training/importers/test_import_formats.py"
    ),
    r"wattroute serve-benchmark .*--litellm": "needs another program",
}


class Place(BaseModel):
    name: str


@dataclass
class Session:
    """A working folder in which the blocks of a page run one after the other."""

    docs: Any
    upstream: Any
    names: dict[str, Any] = field(default_factory=dict)
    served: list[subprocess.Popen[str]] = field(default_factory=list)
    proxy: str = ""

    def run(self, block: Any) -> None:
        """Run a block, whatever its language."""
        if block.language == "python":
            self.python(block)
        elif block.language in self.docs.SHELL:
            for command in self.docs.commands_of(block):
                self.shell(command)

    def here(self, text: str) -> str:
        """Put the addresses of this session in the place of those of a text."""
        return _PROXY.sub(self.proxy or "http://127.0.0.1:9", _API.sub(self.upstream.url, text))

    def python(self, block: Any) -> None:
        source = "\n" * (block.line - 1) + self.here(block.text)
        with contextlib.redirect_stdout(None):
            exec(compile(source, block.page, "exec"), self.names)

    def shell(self, command: Any) -> None:
        for name, value in command.environment.items():
            os.environ[name] = value
        if is_left_out(command):
            return  # test_docs.py has checked the options
        if command.program == "wattroute":
            self.wattroute(command)
        elif command.program == "export":
            for word in command.words[1:]:
                name, _, value = word.partition("=")
                os.environ[name] = value
        elif command.program == "pip":
            check_install(command)
        elif command.program == "cat" and command.stdout and command.text is not None:
            Path(command.stdout).write_text(command.text, encoding="utf-8")
        elif command.program == "make":
            check_targets(command)
        elif command.program == "python" and command.words[1:2] == ("-m",):
            assert command.words[2].startswith("router."), command  # test_docs.py looks for it
        else:
            pytest.fail(f"{command}: say notest with a reason, or teach the tests to run it")

    def wattroute(self, command: Any) -> None:
        words = [self.here(word) for word in command.words[1:]]
        name = words[0]
        if name == "serve":
            self.serve(words)
            return
        words += _QUICKER.get(name, ())
        if name == "train" and not {"--register", "--tracking-uri", "--experiment"} & {*words}:
            words.append("--no-tracking")
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

    def stop(self) -> None:
        for client in (v for v in self.names.values() if type(v).__name__ == "OpenAI"):
            client.close()
        for process in self.served:
            process.send_signal(signal.SIGTERM)
        for process in self.served:
            _, error = process.communicate(timeout=30)
            assert process.returncode == 0, error


def is_left_out(command: Any) -> bool:
    """Whether a command is a sketch, or one that is not run here."""
    if "..." in command.words:
        return True
    text = " ".join(command.words)
    whys = [why for kind, why in _LEFT_OUT.items() if re.match(kind, text)]
    for why in whys:
        assert (ROOT / why).exists() or not why.startswith("tests/"), why
    return bool(whys)


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
    docs: Any, upstream: Any, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        os.environ["OXLO_API_KEY"] = "sk-test"
        sessions.append(Session(docs, upstream))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.stop()
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def test_blocks_of_a_page_run(docs: Any, page: str, start: Callable[[], Session]):
    blocks = [block for block in docs.blocks_of(page) if block.reason is None]
    blocks = [block for block in blocks if block.language in ("python", *docs.SHELL)]
    if not blocks:
        return
    session = start()
    place = [{"role": "user", "content": "Where am I?"}]
    session.names.update(messages=place, Place=Place, __name__="__main__")
    for block in docs.blocks_of(page):
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
        ("python", "assert 1 + 1 == 3, 'sum'\n", "sum"),
        ("sh", "rm -r runs\n", "say notest with a reason"),
    ],
)
def test_blocks_that_fail_are_found(
    docs: Any, start: Callable[[], Session], language: str, text: str, error: str
):
    session = start()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=re.escape(error)):
        session.run(docs.Block("page.md", 4, language, None, text))
