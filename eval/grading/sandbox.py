"""Running programs that nobody has read: in a process of its own that can reach nothing.

The process has limits on processor time, memory and file size (setrlimit), may write in one
temporary folder and read its interpreter (Landlock, Linux 5.13), and is refused the network, other
processes and new programs (seccomp). It runs without privileges and needs none. Where the system
cannot give these guarantees, nothing is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from router.errors import ConfigError

__all__ = ["SandboxLimits", "SandboxResult", "run_sandboxed"]

_OUTPUT_CHARS = 4000
_START_S = 5.0
_WATCH_S = 0.2


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a program may use.

    Attributes
    ----------
    time_s : float
        Seconds by the clock; processor time has the same limit, rounded up.
    memory_mb : int
        Megabytes of address space, the interpreter included.
    file_mb : int
        Megabytes of a file that it writes; its output counts as one.
    folder_mb : int
        Megabytes of all files together, looked at a few times a second.

    Raises
    ------
    ConfigError
        If a limit is not positive.
    """

    time_s: float = 10.0
    memory_mb: int = 512
    file_mb: int = 16
    folder_mb: int = 128

    def __post_init__(self) -> None:
        for name in ("time_s", "memory_mb", "file_mb", "folder_mb"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: use a positive number")


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """How a program ended.

    Attributes
    ----------
    passed : bool
        Whether every part ran to its end without an exception.
    reason : str
        ``"passed"``, ``"failed"``, ``"stopped"`` for time or space, ``"memory limit"`` or
        ``"ended early"``.
    output : str
        The end of what it printed.
    """

    passed: bool
    reason: str
    output: str


def run_sandboxed(*parts: str, limits: SandboxLimits | None = None) -> SandboxResult:
    """Run Python source in the sandbox, part after part in one name space.

    A part that leaves the interpreter (``sys.exit``, ``os._exit``) before the last one has ended
    does not pass. All parts share one process: a program that is out to forge a pass, not only to
    do harm, can tamper with what follows it.

    Parameters
    ----------
    *parts : str
        Python source, such as an answer and then its tests.
    limits : SandboxLimits, optional
        What it may use.

    Returns
    -------
    SandboxResult
        How it ended.

    Raises
    ------
    ConfigError
        If this system cannot lock the process down; nothing of the program was run then.

    Examples
    --------
    >>> run_sandboxed("def double(x): return 2 * x", "assert double(2) == 4").passed
    True
    >>> run_sandboxed("import socket; socket.socket()").reason
    'failed'
    """
    limits = limits or SandboxLimits()
    if not sys.platform.startswith("linux"):
        raise ConfigError("running code needs Linux with Landlock and seccomp: grade it there")
    from router.eval.grading import sandbox_child  # needs what only Linux has

    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="wattroute-") as name:
        folder = Path(name).resolve()
        work = folder / "work"
        work.mkdir()
        passed_read, passed_write = os.pipe()
        job = {
            "parts": parts,
            "folder": str(work),
            "cpu_s": int(-(-limits.time_s // 1)),
            "memory_bytes": limits.memory_mb << 20,
            "file_bytes": limits.file_mb << 20,
            "passed_fd": passed_write,
            "token": token,
        }
        with (folder / "output").open("w+b") as output:
            code = _run(
                sandbox_child.__file__,
                json.dumps(job).encode(),
                work,
                passed_write,
                output.fileno(),
                limits,
            )
            os.close(passed_write)
            with os.fdopen(passed_read, "rb") as pipe:
                ran = pipe.read(len(token) + 1) == token.encode()
            output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_CHARS))
            text = output.read().decode("utf-8", "replace")
    if code == sandbox_child.NOT_LOCKED:
        raise ConfigError(
            f"this system cannot run code safely ({text.strip()}): grade it on Linux 5.13 or "
            "newer with Landlock and seccomp"
        )
    if ran and code == 0:
        return SandboxResult(True, "passed", text)
    if code == sandbox_child.FAILED and "MemoryError" not in text[-200:]:
        return SandboxResult(False, "failed", text)
    return SandboxResult(False, _reason(code, text), text)


def _run(
    script: str, job: bytes, work: Path, passed_fd: int, output_fd: int, limits: SandboxLimits
) -> int:
    """Run the child and return its exit code; -SIGKILL where it took too much time or space."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-X", "utf8", script],
        stdin=subprocess.PIPE,
        stdout=output_fd,
        stderr=output_fd,
        cwd=work,
        env={"HOME": str(work), "TMPDIR": str(work), "OMP_NUM_THREADS": "1"},
        pass_fds=(passed_fd,),
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(job)
    deadline = time.monotonic() + limits.time_s + _START_S
    while time.monotonic() < deadline:
        try:
            return process.wait(_WATCH_S)
        except subprocess.TimeoutExpired:
            if _used_bytes(work) > limits.folder_mb << 20:
                break
    process.kill()
    process.wait()
    return -signal.SIGKILL


def _used_bytes(folder: Path) -> int:
    """Bytes of the files in a folder that is being written to."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_blocks * 512
    return total


def _reason(code: int, output: str) -> str:
    if code in (-signal.SIGKILL, -signal.SIGXCPU):
        return "stopped"
    if "MemoryError" in output[-200:]:
        return "memory limit"
    return "ended early"
