"""From prompts to a routed prompt, with the collector killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner

from router.cli import main
from router.training.ingest import load_runs

SMALL, LARGE = "gemma-3-4b", "llama-3.3-70b"
RIGHT = {SMALL: 0.55, LARGE: 0.95}
N_PROMPTS = 60
# a shell that runs the tests in the background has them ignore SIGINT, and children inherit that
_CODE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from router.cli import main; main(prog_name='wattroute')"
)


def test_killed_resumed_graded_trained_and_routed(here: Any):
    command = [sys.executable, "-c", _CODE, "collect", *here.words("--yes")]
    log = here.log
    kept: set[tuple[str, str]] = set()
    n_kills = 0
    for target in (15, 50, 90):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 60
        while not log.exists() or log.read_bytes().count(b'"kind":"answer"') < target:
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < end
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        n_kills += 1
        now = {(a["model"], a["key"]) for a in here.answers()}
        assert kept <= now, "no answer is ever lost"
        kept = now
    with log.open("ab") as file:  # what a power cut would leave
        file.write(b'{"kind":"answer","model":"gemma-3-4b","text":"The ans')
    result = here.collect("--json")
    told = json.loads(result.stdout)
    assert told["complete"]
    assert "was cut off in the middle" in result.stderr

    found = Counter((a["model"], a["prompt_id"]) for a in here.answers())
    assert len(found) == 2 * N_PROMPTS
    assert set(found.values()) == {1}
    n_repeated = sum(here.asked().values()) - 2 * N_PROMPTS
    assert 0 <= n_repeated <= n_kills * 2 * 4, "at most what was on its way is asked again"

    runs = load_runs(here.folder / "runs")
    frame = runs.frame
    cut = sum(told["n_truncated"].values())
    assert 0 < cut < 20
    assert len(frame) == 2 * N_PROMPTS - cut
    by_model = frame.groupby("model", observed=True)["quality"].mean()
    assert by_model[SMALL] == pytest.approx(RIGHT[SMALL], abs=0.17)
    assert by_model[LARGE] > by_model[SMALL] + 0.2
    assert frame["completion_tokens"].between(21, 26).all()
    assert "energy_j" not in frame, "nothing measured, nothing made up"

    trained = CliRunner().invoke(
        main, ["train", "runs", "--out", "router", "--splits", "0", "--no-tracking", "--jobs", "1"]
    )
    assert trained.exit_code == 0, trained.stderr
    routed = CliRunner().invoke(
        main, ["route", "What is 5 plus 9?", "--router", "router", "--json"]
    )
    assert routed.exit_code == 0, routed.stderr
    assert json.loads(routed.stdout)["model"] in (SMALL, LARGE)


def test_interrupted_it_says_how_to_go_on(here: Any):
    command = [sys.executable, "-c", _CODE, "collect", *here.words("--yes", "--model-rpm", 30)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not here.log.exists() or here.log.read_bytes().count(b'"kind":"answer"') < 60:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)  # while all wait for the next minute
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().splitlines()[-1].startswith("stopped: answers are stored")
    assert b"Traceback" not in err
    assert len(here.answers()) == 60
