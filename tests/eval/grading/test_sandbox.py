"""Hostile and clumsy programs in the sandbox."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from router.errors import ConfigError
from router.eval.grading import GradingItem, make_grader
from router.eval.grading.program import ProgramTests
from router.eval.grading.sandbox import SandboxLimits, run_sandboxed

LIMITS = SandboxLimits(time_s=2, memory_mb=256, file_mb=4, folder_mb=16)


def run(*parts: str):
    return run_sandboxed(*parts, limits=LIMITS)


def test_ordinary_programs_pass():
    program = """
import collections, datetime, itertools, json, math, random, re, statistics, threading
def double(x):
    return 2 * x
thread = threading.Thread(target=lambda: open('note.txt', 'w').write('kept'))
thread.start(); thread.join()
"""
    tests = "assert double(2) == 4 and open('note.txt').read() == 'kept'; print('fine')"
    result = run(program, tests)
    assert (result.passed, result.reason, result.output.strip()) == (True, "passed", "fine")


@pytest.mark.parametrize(
    "program",
    [
        "assert False",
        "def broken(:",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "import nothing_of_that_name",
        "import os; os.abort()",
    ],
)
def test_leaving_early_is_not_passing(program):
    assert not run(program, "print('not reached')").passed


@pytest.mark.parametrize(
    "attack",
    [
        "import socket; socket.socket()",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import os; os.fork()",
        "import subprocess; subprocess.run(['true'], check=True)",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 9)",
        "import os; os.setpriority(os.PRIO_PROCESS, 0, 19)",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "open('/etc/passwd').read()",
        "open('/proc/self/mem', 'r+b')",
        "open('/proc/%d/environ' % __import__('os').getppid()).read()",
        "import os; os.listdir('/')",
        "import os; os.symlink('/etc/passwd', 'link'); open('link').read()",
        "import os; os.mkdir('../beside')",
        "import os; os.chmod('.', 0o777)",
        "import ctypes; assert ctypes.CDLL(None).socket(2, 1, 0) >= 0",
        "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "import sys; sys.stdin.read(1)[0]",
    ],
)
def test_attacks_fail(attack):
    result = run(attack)
    assert not result.passed
    assert result.reason in ("failed", "ended early")


def test_files_outside_the_folder_stay_as_they_are(tmp_path: Path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    before = victim.stat()
    for attack in (
        f"open({str(victim)!r}, 'w')",
        f"open({str(tmp_path / 'new.txt')!r}, 'w')",
        f"import os; os.unlink({str(victim)!r})",
        f"import os; os.rename({str(victim)!r}, 'stolen')",
        f"import os; os.chmod({str(victim)!r}, 0)",
        f"import os; os.utime({str(victim)!r}, (0, 0))",
        f"import os; os.link({str(victim)!r}, 'linked')",
        f"import os; os.truncate({str(victim)!r}, 0)",
    ):
        assert not run(attack).passed, attack
    after = victim.stat()
    assert victim.read_text() == "mine"
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
    assert os.listdir(tmp_path) == ["victim.txt"]


@pytest.mark.parametrize(
    ("program", "reasons"),
    [
        ("while True: pass", {"stopped"}),
        ("x = 'a' * (1 << 30)", {"memory limit"}),
        ("open('big', 'wb').write(b'0' * (8 << 20))", {"failed"}),
        ("while True: print('x' * 1000)", {"failed", "ended early"}),
        ("i = 0\nwhile True:\n    i += 1; open(str(i), 'wb').write(b'0' * (2 << 20))", {"stopped"}),
    ],
)
def test_limits_hold(program, reasons):
    started = time.monotonic()
    result = run(program)
    assert not result.passed
    assert result.reason in reasons
    assert len(result.output) <= 4000
    assert time.monotonic() - started < 30


def test_the_environment_is_not_handed_in(monkeypatch):
    monkeypatch.setenv("OXLO_API_KEY", "secret")
    assert run("import os; assert 'OXLO_API_KEY' not in os.environ").passed


def test_elsewhere_nothing_is_run(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match="Linux"):
        run("print(1)")


@pytest.mark.parametrize("name", ["time_s", "memory_mb", "file_mb", "folder_mb"])
def test_limits_must_be_positive(name):
    with pytest.raises(ConfigError, match=name):
        SandboxLimits(**{name: 0})


def test_code_is_graded_by_its_tests():
    grader = ProgramTests(LIMITS)
    answer = "<think>hm</think>Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    right = grader.grade(GradingItem("?", answer, "assert add(1, 2) == 3"))
    assert (right.quality, right.reason) == (1.0, "passed")
    half = grader.grade(
        GradingItem("?", answer, ["assert add(1, 2) == 3", "assert add(1, 1) == 3"])
    )
    assert half.quality == 0.5
    assert "AssertionError" in half.reason
    assert grader.grade(GradingItem("?", "", "assert True")).quality == 0
    assert make_grader("code:time_s=3").grade(GradingItem("?", "x = 1", "assert x")).quality == 1
