"""How the time and memory of training grow with the number of prompts, for the maintainer.

::

    python -m router.training.scale 10000 100000

For each size, made-up runs are written to a file and ``wattroute train`` runs on it in a process
of its own, with everything from reading the file to writing the router. The texts have the
lengths and the number of distinct n-grams of real evaluation runs; the figures say nothing about
routing quality.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from router.cli.table import render_table
from router.errors import ConfigError
from router.pool import Pool, PoolModel

__all__ = ["Measurement", "linear_ratios", "main", "measure", "write_runs"]

_FILES = "files"
_STAGES = ("features", "cross-fitting", "fitting", "stacking", "learning", "certifying")
_PROGRESS = re.compile(r" *([0-9.]+) s  (.*)")
_RUNS_FILE = "runs.parquet"
_POOL_FILE = "pool.toml"

_N_WORDS = 30_000
_N_TOPICS = 60
_TOPIC_WORDS = 150
_TOPIC_SHARE = 0.35
_SYLLABLES = tuple(a + b for a in ("", *"bcdfghklmnprstvz") for b in ("a", "e", "i", "on", "u"))


_PEAK_FILE = "peak"
# getrusage of a child begins at what its parent held when it was started, so it is asked itself
_CHILD = f"""
import re, resource, sys
from pathlib import Path
from router.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status")
    if status.exists():
        peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) * 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    Path({_PEAK_FILE!r}).write_text(str(peak))
"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One training.

    Attributes
    ----------
    n_prompts, n_models : int
        Size of the runs.
    stages_s : dict of str to float
        Seconds of each stage; ``files`` is reading and writing.
    total_s : float
        Seconds from the start of the process to its end.
    cpu_s : float
        Seconds of processors that it used, which other work on the machine changes less.
    peak_gib : float
        Most memory that the process held, in GiB; with the backends ``processes`` and ``ray``
        that of the largest process, without memory that processes share.
    """

    n_prompts: int
    n_models: int
    stages_s: dict[str, float]
    total_s: float
    cpu_s: float
    peak_gib: float


def write_runs(folder: Path, n_prompts: int, n_models: int, *, seed: int = 0) -> None:
    """Write made-up evaluation runs and their pool file.

    Words follow Zipf's law, and each prompt draws a third of its words from those of its topic.
    Topics differ in which models can answer.

    Parameters
    ----------
    folder : Path
        Gets ``runs.parquet`` and ``pool.toml``.
    n_prompts, n_models : int
        Every model answers every prompt.
    seed : int
        Seed of all chance.
    """
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, _N_TOPICS, n_prompts)
    prompts = _prompts(rng, topics)
    characters = np.array([len(prompt) for prompt in prompts], float)

    difficulty = rng.normal(0.0, 1.0, _N_TOPICS)[topics] + 0.4 * np.log(characters / 300.0)
    skill = np.linspace(-1.0, 2.0, n_models) + rng.normal(0.0, 0.5, (_N_TOPICS, n_models))
    chance = 1.0 / (1.0 + np.exp(difficulty[:, None] - skill[topics]))
    quality = rng.random((n_prompts, n_models)) < chance
    verbosity = rng.normal(5.0, 0.6, (_N_TOPICS, n_models))
    tokens = np.rint(np.exp(verbosity[topics] + rng.normal(0.0, 0.4, (n_prompts, n_models))))

    names = [f"model-{j:02d}" for j in range(n_models)]
    row = np.arange(n_prompts, dtype=np.int32).repeat(n_models)
    column = np.tile(np.arange(n_models, dtype=np.int32), n_prompts)
    table = pa.table(
        {
            "prompt_id": pa.DictionaryArray.from_arrays(row, [f"p{i}" for i in range(n_prompts)]),
            "prompt": pa.DictionaryArray.from_arrays(row, prompts),
            "model": pa.DictionaryArray.from_arrays(column, names),
            "quality": quality.ravel().astype(np.float64),
            "prompt_tokens": np.rint(characters / 4.0).repeat(n_models),
            "completion_tokens": np.maximum(tokens, 1.0).ravel(),
        }
    )
    pq.write_table(table, folder / _RUNS_FILE)
    joules = np.geomspace(0.05, 5.0, n_models)
    pool = Pool(
        "scale",
        tuple(
            PoolModel(
                name=name,
                api_id=name,
                joules_per_prompt_token=j / 10,
                joules_per_completion_token=j,
                low_factor=0.7,
                high_factor=1.4,
                basis="estimated",
            )
            for name, j in zip(names, joules.tolist(), strict=True)
        ),
    )
    (folder / _POOL_FILE).write_text(pool.to_toml(), encoding="utf-8")


def _prompts(rng: np.random.Generator, topics: np.ndarray) -> list[str]:
    syllables = rng.integers(0, len(_SYLLABLES), (_N_WORDS, 4))
    n_syllables = rng.integers(1, 5, _N_WORDS)
    words = [
        "".join(_SYLLABLES[s] for s in row[:n])
        for row, n in zip(syllables.tolist(), n_syllables.tolist(), strict=True)
    ]
    lengths = np.clip(np.rint(np.exp(rng.normal(3.9, 0.75, len(topics)))), 6, 400).astype(int)
    frequency = 1.0 / (np.arange(_N_WORDS) + 3.0)
    drawn = rng.choice(_N_WORDS, lengths.sum(), p=frequency / frequency.sum())
    of_topic = rng.random(drawn.size) < _TOPIC_SHARE
    vocabulary = rng.integers(0, _N_WORDS, (_N_TOPICS, _TOPIC_WORDS))
    place = rng.integers(0, _TOPIC_WORDS, drawn.size)
    drawn[of_topic] = vocabulary[topics.repeat(lengths), place][of_topic]
    ends = lengths.cumsum()
    return [
        f"{' '.join(words[w] for w in drawn[end - n : end])} {i}?"
        for i, (end, n) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True))
    ]


def measure(
    n_prompts: int, n_models: int = 12, *, options: Sequence[str] = (), seed: int = 0
) -> Measurement:
    """Train on made-up runs in a process of its own.

    Parameters
    ----------
    n_prompts, n_models : int
        Size of the runs.
    options : sequence of str
        Further options of ``wattroute train``. Held-out splits, the forecast and tracking are
        left out in any case.
    seed : int
        Seed of the runs.

    Returns
    -------
    Measurement
        Time and memory.

    Raises
    ------
    ConfigError
        If the training fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_runs(folder, n_prompts, n_models, seed=seed)
        command = [sys.executable, "-c", _CHILD, "train"]
        command += [_RUNS_FILE, "--pool", _POOL_FILE, "--out", "router", *options]
        command += ["--splits", "0", "--no-forecast", "--no-tracking"]
        log = folder / "log"
        with log.open("wb") as stderr:
            started = time.monotonic()
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr
            )
            _, status, usage = os.wait4(process.pid, 0)
            total_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        lines = log.read_text(encoding="utf-8").splitlines()
        if process.returncode:
            raise ConfigError(f"training failed: {lines[-1] if lines else 'without a word'}")
        return Measurement(
            n_prompts=n_prompts,
            n_models=n_models,
            stages_s=_stages(lines),
            total_s=round(total_s, 1),
            cpu_s=round(usage.ru_utime + usage.ru_stime, 1),
            peak_gib=round(int((folder / _PEAK_FILE).read_text()) / 2**30, 3),
        )


def _stages(lines: Sequence[str]) -> dict[str, float]:
    """Add up the seconds between progress lines by the stage that each begins."""
    seconds = dict.fromkeys((_FILES, *_STAGES), 0.0)
    stage, since = _FILES, 0.0
    for line in lines:
        if match := _PROGRESS.fullmatch(line):
            now, text = float(match[1]), match[2]
            seconds[stage] += now - since
            stage = next((name for name in _STAGES if text.startswith(name)), _FILES)
            since = now
    return {name: round(spent, 1) for name, spent in seconds.items()}


def linear_ratios(measurements: Sequence[Measurement]) -> list[float]:
    """Return the processor seconds a prompt of each training over those of the smallest.

    Parameters
    ----------
    measurements : sequence of Measurement
        Trainings of different sizes.

    Returns
    -------
    list of float
        1 where they grow in proportion to the prompts.
    """
    least = min(measurements, key=lambda found: found.n_prompts)
    unit = least.cpu_s / least.n_prompts
    return [found.cpu_s / found.n_prompts / unit for found in measurements]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line, without the program.
    """
    parser = argparse.ArgumentParser(
        prog="python -m router.training.scale",
        description="Measure how the time and memory of training grow with the prompts.",
        epilog="Further options go to `wattroute train`, such as --jobs 1 or --backend ray.",
    )
    parser.add_argument("prompts", type=_positive, nargs="+", help="numbers of prompts")
    parser.add_argument("--models", type=_positive, default=12, help="number of models [12]")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given, options = parser.parse_known_args(arguments)
    try:
        found = [measure(n, given.models, options=options) for n in sorted(given.prompts)]
    except ConfigError as error:
        parser.error(str(error))
    ratios = linear_ratios(found)
    if given.json:
        rows = [{**asdict(m), "linear": r} for m, r in zip(found, ratios, strict=True)]
        print(json.dumps(rows, indent=1))
        return
    stages = tuple(found[0].stages_s)
    cells = [
        (
            f"{m.n_prompts:,}",
            *(f"{m.stages_s[stage]:.1f}" for stage in stages),
            f"{m.total_s:.1f}",
            f"{m.cpu_s:.1f}",
            f"{m.peak_gib:.2f}",
            f"{ratio:.2f}",
        )
        for m, ratio in zip(found, ratios, strict=True)
    ]
    heads = ("prompts", *(f"{stage} s" for stage in stages), "total s", "CPU s")
    heads = (*heads, "peak GiB", "over linear")
    print(render_table(heads, cells, ">" * len(heads)))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
