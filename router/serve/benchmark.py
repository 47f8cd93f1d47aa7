"""What the proxy adds to a call, how many it takes, and what it holds of them.

``python -m router.serve.benchmark`` starts an upstream on loopback that answers at once, the
proxy in front of it, and asks both; with ``--litellm`` LiteLLM's proxy as well, in the same run.

Calls straight to the upstream and calls through the proxy alternate, so that both meet the same
machine. What is added is the difference of their quantiles; each figure is taken in several
rounds, and the median round counts. On a machine that is busy with something else the tail says
more about that than about the proxy: the tail of the straight calls tells.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.serve.loopback import LoadClient, chat_request, run_quickly

__all__ = ["main"]

_ROUNDS = 5
_WARM_UP = 200
_SHARE_OF_LITELLM = 25
_QUESTION = "Question {}: What is 12 + 34? Explain in two sentences how you add them, and why."


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line; the process's own where absent.

    Returns
    -------
    int
        0 where every target is met, else 1.
    """
    options = _options(arguments)
    with _loopback() as upstream, tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {"load_average": os.getloadavg()[0], "cpus": os.cpu_count()}
        log = Path(folder) / "decisions.jsonl"
        command = [sys.executable, "-c", "from router.cli import main; main()", "serve"]
        command += [options.router] if options.router else []
        command += ["--upstream", f"http://127.0.0.1:{upstream}/v1", "--port", "0", "--json"]
        _say("cold start")
        figures["cold_start_s"] = statistics.median(
            _cold_start([*command, "--log", str(log)]) for _ in range(_ROUNDS)
        )
        with _started([*command, "--log", str(log)]) as ready:
            port = int(ready["url"].rsplit(":", 1)[1])
            _wait_ready(ready["url"], "/ready")
            run_quickly(_measure(upstream, port, options, figures, ready["url"]))
        if options.litellm:
            with _litellm(options.litellm, upstream, Path(folder)) as port:
                other: dict[str, Any] = {}
                few = argparse.Namespace(**vars(options))
                few.requests = max(options.requests // _SHARE_OF_LITELLM, 1)
                few.calls = max(options.calls // _SHARE_OF_LITELLM, 20)
                run_quickly(_measure(upstream, port, few, other, None))
                figures["litellm"] = other
    checks = _checks(figures)
    if options.json:
        print(json.dumps(figures | {"targets": {name: met for name, _, met in checks}}, indent=2))
    else:
        _print(figures, checks)
    return 0 if all(met for _, _, met in checks) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m router.serve.benchmark", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("router", nargs="?", help="folder of a router; the bundled one if absent")
    parser.add_argument("--requests", type=int, default=50_000, help="requests for throughput")
    parser.add_argument("--connections", type=int, default=32, help="connections at a time")
    parser.add_argument("--calls", type=int, default=2_000, help="calls a round for latency")
    parser.add_argument("--litellm", metavar="FILE", help="LiteLLM's program, to measure it too")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(arguments)


async def _measure(
    upstream: int, port: int, options: argparse.Namespace, figures: dict[str, Any], url: str | None
) -> None:
    """Take every figure of the proxy at `port`; `url` is that of WattRoute's own."""
    _say("latency")
    rounds = [await _latency(upstream, port, options.calls, False) for _ in range(_ROUNDS)]
    figures["latency_ms"] = _medians(rounds)
    _say("first token of a stream")
    rounds = [await _latency(upstream, port, options.calls // 4, True) for _ in range(_ROUNDS)]
    figures["first_token_ms"] = _medians(rounds)
    _say(f"{options.requests:,} requests at {options.connections} connections")
    before = _memory_mib(url)
    parts = []
    for part in range(_ROUNDS):
        count = options.requests // _ROUNDS
        parts.append(await _throughput(port, count, options.connections, part * count))
        parts[-1]["memory_mib"] = _memory_mib(url)
        _say(f"  {parts[-1]['requests_per_s']:.0f}/s, {parts[-1]['memory_mib'] or 0:.0f} MiB")
    figures["requests"] = sum(part["requests"] for part in parts)
    figures["requests_per_s"] = statistics.median(part["requests_per_s"] for part in parts)
    figures["lost"] = sum(part["lost"] for part in parts)
    figures["mixed_up"] = sum(part["mixed_up"] for part in parts)
    figures["memory_mib"] = [before, *(part["memory_mib"] for part in parts)]


async def _latency(upstream: int, port: int, calls: int, stream: bool) -> dict[str, float]:
    """Alternate straight calls and calls through the proxy; return quantiles in milliseconds."""
    straight, through = await LoadClient.connect(upstream), await LoadClient.connect(port)
    times: dict[str, list[float]] = {"straight": [], "through": []}
    for call in range(-_WARM_UP // 2, calls):
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
    """Return a question like no other, in words that are in every vocabulary."""
    return _QUESTION.format(" ".join(str(number)))


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: statistics.median(found[name] for found in rounds) for name in rounds[0]
    }
    for name in ("added_p50", "added_p99"):
        figures[f"{name}_rounds"] = sorted(found[name] for found in rounds)
    return figures


async def _throughput(port: int, count: int, connections: int, first: int) -> dict[str, Any]:
    """Ask on many connections at a time; every answer must repeat its question."""
    clients = [await LoadClient.connect(port) for _ in range(connections)]
    numbers = iter(range(first, first + count))
    lost = mixed_up = 0

    async def ask(client: LoadClient) -> None:
        nonlocal lost, mixed_up
        for number in numbers:
            question = _question(number)
            try:
                response = await client.ask(chat_request(question))
            except ConnectionError:
                lost += 1
                client = await LoadClient.connect(port)
                continue
            if not response.startswith(b"HTTP/1.1 200"):
                lost += 1
            elif json.dumps(question).encode() not in response:
                mixed_up += 1

    start = time.perf_counter()
    await asyncio.gather(*map(ask, clients))
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    return {
        "requests": count,
        "requests_per_s": count / elapsed,
        "lost": lost,
        "mixed_up": mixed_up,
    }


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


def _checks(figures: dict[str, Any]) -> list[tuple[str, str, bool]]:
    latency, first = figures["latency_ms"], figures["first_token_ms"]
    memory = [size for size in figures["memory_mib"] if size is not None]
    bad = figures["lost"] + figures["mixed_up"]
    growth = memory[-1] - memory[1] if len(memory) > 1 else 0.0
    rows = [
        ("adds at p50, ms", latency["added_p50"], "<=", 1.0),
        ("adds at p99, ms", latency["added_p99"], "<=", 3.0),
        ("adds to the first token at p50, ms", first["added_p50"], "<=", 3.0),
        ("requests a second", figures["requests_per_s"], ">=", 400.0),
        (f"lost or mixed up of {figures['requests']:,}", bad, "<=", 0.0),
        ("memory of a worker, MiB", max(memory, default=0.0), "<=", 200.0),
        ("memory gained after the first fifth, MiB", growth, "<=", 2.0),
        ("cold start to ready, s", figures["cold_start_s"], "<=", 1.5),
    ]
    return [
        (name, f"{value:.6g} (target {sign} {target:g})", _holds(value, sign, target))
        for name, value, sign, target in rows
    ]


def _holds(value: float, sign: str, target: float) -> bool:
    return value <= target if sign == "<=" else value >= target


def _print(figures: dict[str, Any], checks: Sequence[tuple[str, str, bool]]) -> None:
    print(f"load average {figures['load_average']:.2f} on {figures['cpus']} processors before")
    for name, value, met in checks:
        print(f"{'ok  ' if met else 'MISS'} {name}: {value}")
    named = [("WattRoute", figures)]
    if "litellm" in figures:
        named.append(("LiteLLM", figures["litellm"]))
    print("\nmilliseconds          straight p50    p99   through p50    p99      added p50    p99")
    for name, found in named:
        for what, key in (("call", "latency_ms"), ("first token", "first_token_ms")):
            f = found[key]
            print(
                f"{name + ' ' + what:22}"
                f"{f['straight_p50']:12.3f} {f['straight_p99']:6.2f}"
                f"{f['through_p50']:14.3f} {f['through_p99']:6.2f}"
                f"{f['added_p50']:15.3f} {f['added_p99']:6.2f}"
            )
    for name, found in named:
        print(f"{name}: {found['requests_per_s']:.0f} requests/s, {found['lost']} lost")
    if "litellm" in figures:
        ratio = figures["requests_per_s"] / figures["litellm"]["requests_per_s"]
        print(f"WattRoute takes {ratio:.1f} times the requests of LiteLLM")


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
                raise SystemExit("the proxy did not start: try `wattroute serve` by itself")
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
    _say("LiteLLM")
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
            raise SystemExit(f"LiteLLM did not start ({error}):\n{last}") from error
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
