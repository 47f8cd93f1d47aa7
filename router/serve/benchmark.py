"""What the proxy adds to a call, how many it takes, and what it holds of them.

An upstream on loopback answers at once, the proxy stands in front of it, and a client asks both;
LiteLLM's proxy too where it is given, in the same run.

Calls straight to the upstream and calls through the proxy alternate, so that both meet the same
machine. What is added is the difference of their quantiles; each figure is taken in several
rounds, and the median round counts. On a machine that is busy with something else the tail says
more about that than about the proxy: the tail of the straight calls tells.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from router.errors import ConfigError
from router.serve.loopback import LoadClient, chat_request, run_quickly

__all__ = ["Benchmark", "Target", "render_figures", "run_benchmark", "targets_of"]

_WARM_UP = 100
_SHARE_OF_LITELLM = 25
_QUESTIONS = (
    "Question {}: What is 12 + 34? Explain in two sentences how you add them, and why.",
    "Reverse the letters of each word in: the quick brown fox {}. Say only the result.",
    "Write a Python function that returns the sum of these numbers: {}. No comments.",
    "Summarise in one line: the train to Oslo was late {} times this year, mostly for snow.",
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What to measure.

    Attributes
    ----------
    router : str, optional
        Folder of a router or file of rules; the bundled router where absent.
    requests : int
        Requests for the throughput, all rounds together.
    connections : int
        Connections at a time for it.
    calls : int
        Calls a round for the latency, and as many straight to the upstream.
    rounds : int
        Rounds of each figure.
    litellm : str, optional
        LiteLLM's program, to measure its proxy as well, with fewer requests: it takes fewer.

    Raises
    ------
    ConfigError
        If a number is below 1, or fewer requests than rounds.
    """

    router: str | None = None
    requests: int = 50_000
    connections: int = 32
    calls: int = 2_000
    rounds: int = 5
    litellm: str | None = None

    def __post_init__(self) -> None:
        for name in ("requests", "connections", "calls", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: use at least 1")
        if self.requests < self.rounds:
            raise ConfigError(f"requests is {self.requests}: use at least {self.rounds}")


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and what it should be.

    Attributes
    ----------
    name : str
        What it is, with its unit.
    value : float
        What was measured.
    sign : {"<=", ">="}
        Which side of `target` is good.
    target : float
        What it should be.
    """

    name: str
    value: float
    sign: str
    target: float

    @property
    def met(self) -> bool:
        """Whether the figure is what it should be."""
        return self.value <= self.target if self.sign == "<=" else self.value >= self.target


def run_benchmark(options: Benchmark, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure.

    Parameters
    ----------
    options : Benchmark
        What to measure.
    say : callable
        Takes lines of progress.

    Returns
    -------
    dict
        Figures as JSON types, units in their names; those of LiteLLM under ``litellm``.

    Raises
    ------
    ConfigError
        If a proxy does not start.
    """
    figures: dict[str, Any] = {"load_average": os.getloadavg()[0], "cpus": os.cpu_count()}
    with _loopback() as upstream, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "decisions.jsonl"
        command = [sys.executable, "-c", "from router.cli import main; main()", "serve"]
        command += [options.router] if options.router else []
        command += ["--upstream", f"http://127.0.0.1:{upstream}/v1", "--port", "0", "--json"]
        command += ["--log", str(log)]
        say("cold start")
        figures["cold_start_s"] = statistics.median(
            _cold_start(command) for _ in range(options.rounds)
        )
        with _started(command) as ready:
            port = int(ready["url"].rsplit(":", 1)[1])
            _wait_ready(ready["url"], "/ready")
            run_quickly(_measure(upstream, port, options, figures, ready["url"], say))
        if options.litellm:
            say("LiteLLM")
            few = replace(
                options,
                requests=max(options.requests // _SHARE_OF_LITELLM, options.rounds),
                calls=max(options.calls // _SHARE_OF_LITELLM, 20),
            )
            with _litellm(options.litellm, upstream, Path(folder)) as port:
                other: dict[str, Any] = {}
                run_quickly(_measure(upstream, port, few, other, None, say))
                figures["litellm"] = other
    return figures


async def _measure(
    upstream: int,
    port: int,
    options: Benchmark,
    figures: dict[str, Any],
    url: str | None,
    say: Callable[[str], None],
) -> None:
    """Take every figure of the proxy at `port`; `url` is that of WattRoute's own."""
    n_rounds, routed = options.rounds, url is not None
    say("latency")
    rounds = [await _latency(upstream, port, options.calls, False) for _ in range(n_rounds)]
    figures["latency_ms"] = _medians(rounds)
    say("first token of a stream")
    n_streams = max(options.calls // 4, 1)
    rounds = [await _latency(upstream, port, n_streams, True) for _ in range(n_rounds)]
    figures["first_token_ms"] = _medians(rounds)
    say(f"{options.requests:,} requests at {options.connections} connections")
    before = _memory_mib(url)
    parts = []
    for part in range(n_rounds):
        count = options.requests // n_rounds
        parts.append(await _throughput(port, count, options.connections, part * count, routed))
        parts[-1]["memory_mib"] = _memory_mib(url)
        size = parts[-1]["memory_mib"]
        held = "" if size is None else f", {size:.0f} MiB"
        say(f"  {parts[-1]['requests_per_s']:.0f}/s{held}")
    figures["requests"] = sum(part["requests"] for part in parts)
    figures["requests_per_s"] = statistics.median(part["requests_per_s"] for part in parts)
    figures["lost"] = sum(part["lost"] for part in parts)
    figures["mixed_up"] = sum(part["mixed_up"] for part in parts)
    figures["memory_mib"] = [before, *(part["memory_mib"] for part in parts)]


async def _latency(upstream: int, port: int, calls: int, stream: bool) -> dict[str, float]:
    """Alternate straight calls and calls through the proxy; return quantiles in milliseconds."""
    straight, through = await LoadClient.connect(upstream), await LoadClient.connect(port)
    times: dict[str, list[float]] = {"straight": [], "through": []}
    for call in range(-_WARM_UP, calls):
        for name, client in (("straight", straight), ("through", through)):
            request = chat_request(_question(call), stream=stream)
            start = time.perf_counter()
            if stream:
                await client.first_event(request)
            else:
                await client.ask(request)
            elapsed = time.perf_counter() - start
            if stream:
                await client.rest()
            if call >= 0:
                times[name].append(1e3 * elapsed)
    straight.close()
    through.close()
    found: dict[str, float] = {}
    for name, share in (("p10", 0.10), ("p50", 0.50), ("p90", 0.90), ("p99", 0.99)):
        for which, values in times.items():
            found[f"{which}_{name}"] = sorted(values)[int(share * len(values))]
        found[f"added_{name}"] = found[f"through_{name}"] - found[f"straight_{name}"]
    return found


def _question(number: int) -> str:
    """Return a question like no other, of one of several kinds."""
    return _QUESTIONS[number % len(_QUESTIONS)].format(" ".join(str(number)))


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: statistics.median(found[name] for found in rounds) for name in rounds[0]
    }
    for name in ("added_p50", "added_p99"):
        figures[f"{name}_rounds"] = sorted(found[name] for found in rounds)
    return figures


async def _throughput(
    port: int, count: int, connections: int, first: int, routed: bool
) -> dict[str, Any]:
    """Ask on many connections at a time.

    Every answer must repeat its question and, where `routed`, be from the model that its headers
    name.
    """
    clients = [await LoadClient.connect(port) for _ in range(connections)]
    numbers = iter(range(first, first + count))
    lost = mixed_up = 0

    async def ask(place: int) -> None:
        nonlocal lost, mixed_up
        client = clients[place]
        for number in numbers:
            question = _question(number)
            try:
                response = await client.ask(chat_request(question))
            except ConnectionError:
                lost += 1
                client = clients[place] = await LoadClient.connect(port)
                continue
            if not response.startswith(b"HTTP/1.1 200"):
                lost += 1
            elif not _is_answer(response, question, routed):
                mixed_up += 1

    start = time.perf_counter()
    await asyncio.gather(*map(ask, range(connections)))
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    return {
        "requests": count,
        "requests_per_s": count / elapsed,
        "lost": lost,
        "mixed_up": mixed_up,
    }


def _is_answer(response: bytes, question: str, routed: bool) -> bool:
    if json.dumps(question).encode() not in response:
        return False
    head, _, body = response.partition(b"\r\n\r\n")
    model = head.partition(b"\r\nx-wattroute-model: ")[2].partition(b"\r\n")[0].decode()
    return not routed or (model != "" and json.loads(body)["model"] == model)


def _memory_mib(url: str | None) -> float | None:
    """Return the largest resident memory of a worker as the proxy's own metrics have it."""
    if url is None:
        return None
    time.sleep(1.5)  # the workers measure themselves once a second
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    sizes = [
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("process_resident_memory_bytes{")
    ]
    return max(sizes) / 2**20


def targets_of(figures: dict[str, Any]) -> list[Target]:
    """Return the figures that have a target.

    Parameters
    ----------
    figures : dict
        From :func:`run_benchmark`.
    """
    latency, first = figures["latency_ms"], figures["first_token_ms"]
    memory = [size for size in figures["memory_mib"] if size is not None]
    bad = figures["lost"] + figures["mixed_up"]
    growth = memory[-1] - memory[1] if len(memory) > 1 else 0.0
    return [
        Target("adds at p50, ms", latency["added_p50"], "<=", 1.0),
        Target("adds at p99, ms", latency["added_p99"], "<=", 3.0),
        Target("adds to the first token at p50, ms", first["added_p50"], "<=", 3.0),
        Target("requests a second", figures["requests_per_s"], ">=", 400.0),
        Target(f"lost or mixed up of {figures['requests']:,}", bad, "<=", 0.0),
        Target("memory of a worker, MiB", max(memory, default=0.0), "<=", 200.0),
        Target("memory gained after the first round, MiB", growth, "<=", 2.0),
        Target("cold start to ready, s", figures["cold_start_s"], "<=", 1.5),
    ]


def render_figures(figures: dict[str, Any]) -> str:
    """Return the figures as text.

    Parameters
    ----------
    figures : dict
        From :func:`run_benchmark`.
    """
    lines = [f"load average {figures['load_average']:.2f} on {figures['cpus']} processors before"]
    for target in targets_of(figures):
        shown = f"{target.value:.6g} (target {target.sign} {target.target:g})"
        lines.append(f"{'ok  ' if target.met else 'MISS'} {target.name}: {shown}")
    named = [("WattRoute", figures)]
    if "litellm" in figures:
        named.append(("LiteLLM", figures["litellm"]))
    lines.append("")
    lines.append(
        "milliseconds          straight p50    p99   through p50    p99      added p50    p99"
    )
    for name, found in named:
        for what, key in (("call", "latency_ms"), ("first token", "first_token_ms")):
            f = found[key]
            lines.append(
                f"{name + ' ' + what:22}"
                f"{f['straight_p50']:12.3f} {f['straight_p99']:6.2f}"
                f"{f['through_p50']:14.3f} {f['through_p99']:6.2f}"
                f"{f['added_p50']:15.3f} {f['added_p99']:6.2f}"
            )
    for name, found in named:
        bad = found["lost"] + found["mixed_up"]
        lines.append(
            f"{name}: {found['requests_per_s']:.0f} requests/s, {bad} of {found['requests']:,} "
            "lost or mixed up"
        )
    if "litellm" in figures:
        ratio = figures["requests_per_s"] / figures["litellm"]["requests_per_s"]
        lines.append(f"WattRoute takes {ratio:.1f} times the requests of LiteLLM")
    return "\n".join(lines)


@contextmanager
def _loopback() -> Iterator[int]:
    command = [sys.executable, "-m", "router.serve.loopback"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def _started(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise ConfigError("the proxy did not start: try `wattroute serve` by itself")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)


def _cold_start(command: Sequence[str]) -> float:
    """Return the seconds from starting the program to its being ready."""
    start = time.perf_counter()
    with _started(command) as ready:
        _wait_ready(ready["url"], "/ready")
        return time.perf_counter() - start


def _wait_ready(url: str, path: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.005)


@contextmanager
def _litellm(program: str, upstream: int, folder: Path) -> Iterator[int]:
    """Run LiteLLM's proxy with one worker in front of the same upstream."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n- model_name: auto\n  litellm_params:\n    model: openai/auto\n"
        f"    api_base: http://127.0.0.1:{upstream}/v1\n    api_key: sk-x\n"
        "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n"
    )
    port = _free_port()
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "litellm.log"
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT) as process,
    ):
        try:
            _wait_ready(f"http://127.0.0.1:{port}", "/health/liveliness")
            yield port
        except OSError as error:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise ConfigError(f"LiteLLM did not start ({error}):\n{last}") from error
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
