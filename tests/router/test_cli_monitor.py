from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import router.cli
from router import Router
from router.cli import main
from router.monitor import Baseline, Baselines
from router.monitor.baseline import LINEAGE_KEY

MODELS = ("api/small", "api/medium", "api/large")


def rows(seed: int, n: int, drop: float = 0.0, ids: str | None = None) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(MODELS[:2], n)
    probability = rng.uniform(0.5, 1.0, n).round(3)
    quality = (rng.random(n) < probability).astype(int) * (rng.random(n) >= drop)
    novelty = rng.gamma(3.0, 1.0, n).round(3)
    found = [
        {"model": m, "probability": p, "quality": q, "novelty": v, "quality_bar": 0.95, "time": t}
        for t, (m, p, q, v) in enumerate(
            zip(
                chosen.tolist(),
                probability.tolist(),
                quality.tolist(),
                novelty.tolist(),
                strict=True,
            )
        )
    ]
    return [row | {"request_id": f"{ids}{t}"} for t, row in enumerate(found)] if ids else found


def baselines() -> Baselines:
    def of(bar: float) -> Baseline:
        answers = rows(1, 1_500)
        return Baseline.of_answers(
            MODELS,
            [row["model"] for row in answers],
            [row["probability"] for row in answers],
            [row["quality"] for row in answers],
            novelty=[row["novelty"] for row in answers],
            bar=bar,
        )

    return Baselines((of(0.95), of(1.0)))


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_artifact: Callable[..., Any],
    encoder: Any,
):
    loaded = Router(make_artifact(lineage={LINEAGE_KEY: baselines().to_dict()}), encoder=encoder)
    bare = Router(make_artifact(), encoder=encoder)
    monkeypatch.setattr(Router, "load", lambda path: {"my-router": loaded, "bare": bare}[str(path)])
    monkeypatch.setitem(router.cli._BUILT_IN, "monitor", "router.cli.monitor:monitor")
    monkeypatch.chdir(tmp_path)

    def invoke(*words: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["monitor", *map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return invoke


def write(name: str, lines: list[Any]) -> str:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_traffic_as_usual_is_no_alarm(run):
    found = run("my-router", write("a.jsonl", rows(2, 400)))
    assert "No alarm. A false alarm ever has a probability of at most 0.1." in found.stdout
    assert "hardly any" not in found.stdout
    assert "400 graded answers and 400 prompts are new" in found.stderr
    assert "compared with the router at bar 0.95" in found.stderr
    streams = [line.split()[0] for line in found.stdout.splitlines()[2:6]]
    assert streams == ["quality", "api/small", "api/medium", "novelty"]


def test_answers_without_a_reference_do_not_pass_for_good_ones(run):
    # the reference answers are to prompts with a probability of at least 0.5
    unlike = [row | {"probability": 0.25, "quality": 0} for row in rows(2, 100)]
    found = run("my-router", write("a.jsonl", unlike))
    assert "No alarm." in found.stdout
    assert "100 of the 100 have hardly any reference answers of their model" in found.stdout
    mixed = rows(3, 950) + unlike
    found = run("my-router", write("b.jsonl", mixed), "--json")
    assert json.loads(found.stdout)["n_without_reference"] == 100
    assert "hardly any" not in run("my-router", write("b.jsonl", mixed)).stdout


def test_a_drop_is_an_alarm_with_exit_code_one(run):
    found = run("my-router", write("a.jsonl", rows(2, 800, drop=0.3)), code=1)
    assert "ALARM: answers are worse than the router expects (request " in found.stdout
    assert ", time " in found.stdout
    assert "wattroute calibrate" in found.stdout
    assert "Drifting: api/" in found.stdout or "most evidence" in found.stdout


def test_new_prompts_are_an_alarm_without_grades(run):
    lines = [{"novelty": row["novelty"] + 8.0} for row in rows(3, 200)]
    found = run("my-router", write("a.jsonl", lines), code=1)
    assert "ALARM: prompts are unlike those of training" in found.stdout
    assert "model" not in found.stdout


def test_the_report_as_json(run):
    found = run("my-router", write("a.jsonl", rows(2, 800, drop=0.3)), "--json", code=1)
    report = json.loads(found.stdout)
    assert report["alarm"]
    assert (report["delta"], report["bar"]) == (0.1, 0.95)
    assert report["streams"][0]["alarm"]["n"] < 800
    assert report["streams"][0]["shortfall"]["mean"] > 0.1
    assert report["rows"] == {
        "n_rows": 800,
        "problems": [],
        "n_graded": 800,
        "n_prompts": 800,
        "n_repeated": 0,
        "n_unjudged": 0,
        "n_excluded": 0,
    }


def test_a_growing_log_counts_each_request_once(run):
    lines = rows(4, 600, ids="r")
    whole = json.loads(run("my-router", write("all.jsonl", lines), "--json").stdout)
    for end in (200, 450, 600):
        words = ("my-router", write("log.jsonl", lines[:end]), "--state", "s.json", "--json")
        found = json.loads(run(*words).stdout)
    assert found["streams"] == whole["streams"]
    assert found["rows"]["n_graded"] == 150
    assert found["rows"]["n_repeated"] == 450


def test_an_alarm_stays_in_the_state(run):
    run("my-router", write("a.jsonl", rows(2, 800, drop=0.3)), "--state", "s.json", code=1)
    run("my-router", write("b.jsonl", rows(5, 50)), "--state", "s.json", code=1)


def test_a_state_keeps_its_settings(run):
    path = write("a.jsonl", rows(2, 50, ids="r"))
    run("my-router", path, "--state", "s.json", "--delta", 0.2, "--quality", 1.0)
    report = json.loads(run("my-router", path, "--state", "s.json", "--json").stdout)
    assert (report["delta"], report["bar"]) == (0.2, 1.0)
    before = Path("s.json").read_bytes()
    for words, message in (
        (("--delta", 0.1), "the state was begun with --delta 0.2"),
        (("--seed", 3), "the state was begun with --seed 0"),
        (("--tolerance", 0.01), "the state was begun with --tolerance 0.003: leave"),
        (("--quality", 0.95), "another router, quality bar or baseline"),
    ):
        found = run("my-router", path, "--state", "s.json", *words, code=2)
        assert message in found.stderr
    assert Path("s.json").read_bytes() == before


def test_bad_rows_are_all_named_and_nothing_counts(run):
    lines = [*rows(2, 20), "{", {"quality": 2}, {"model": "api/smal", "quality": 1}]
    lines += [{"model": "api/smal", "quality": 1, "probability": 0.5}]
    path = write("a.jsonl", lines)
    found = run("my-router", path, "--state", "s.json", code=2)
    named = [line for line in found.stderr.splitlines() if line.startswith("a.jsonl, row")]
    assert [line.split(":")[0] for line in named] == [
        "a.jsonl, row 21",
        "a.jsonl, row 22, field 'quality'",
        "a.jsonl, row 23, field 'probability'",
        "a.jsonl, row 24, field 'model'",
    ]
    assert "4 of 24 rows are bad, each named above, so nothing was counted" in found.stderr
    assert found.stdout == ""
    assert not Path("s.json").exists()


def test_bad_rows_can_be_left_out_and_count_once_they_are_corrected(run):
    lines = rows(2, 20, ids="r")
    bad = [*lines[:9], lines[9] | {"quality": 7}, *lines[10:]]
    words = ("--state", "s.json", "--json")
    found = run("my-router", write("a.jsonl", bad), "--on-bad", "skip", *words)
    assert "a.jsonl, row 10, field 'quality': 7.0 is not in [0, 1]" in found.stderr
    rows_of = json.loads(found.stdout)["rows"]
    assert rows_of["n_graded"] == 19
    assert len(rows_of["problems"]) == 1
    again = json.loads(run("my-router", write("a.jsonl", lines), *words).stdout)
    assert again["rows"]["n_graded"] == 1


def test_the_decision_log_is_read_as_it_is(run):
    lines: list[dict[str, Any]] = []
    for row in rows(2, 100, ids="r"):
        quality = row.pop("quality")
        lines += [{"kind": "decision", **row}]
        lines += [{"kind": "feedback", "request_id": row["request_id"], "quality": quality}]
    lines.insert(0, {"kind": "decision", "request_id": "x", "model": "other", "probability": None})
    lines.append({"kind": "feedback", "request_id": "x", "quality": 1})
    found = run("my-router", write("log.jsonl", lines))
    assert "100 graded answers and 100 prompts are new" in found.stderr
    assert "1 have no prediction to compare with" in found.stderr


def test_prompts_are_scored_where_the_log_has_no_probability(run):
    lines = [{"model": "small", "quality": 1, "messages": [{"role": "user", "content": "Hi"}]}]
    lines += [{"model": "small", "quality": 0, "prompt": f"Question {i}"} for i in range(9)]
    found = run("my-router", write("a.jsonl", lines))
    assert "10 graded answers and 0 prompts are new" in found.stderr


def test_feedback_can_be_the_baseline(run):
    good = write("good.jsonl", rows(6, 1_000, ids="g"))
    bad = write("bad.jsonl", [*rows(6, 50, ids="g"), *rows(7, 900, drop=0.3, ids="b")])
    found = run("bare", bad, "--baseline", good, code=1)
    assert "900 graded answers and 900 prompts are new" in found.stderr
    assert "50 belong to the baseline" in found.stderr
    run("bare", write("usual.jsonl", rows(8, 500)), "--baseline", good)


def test_a_router_without_baselines_says_what_to_do(run):
    found = run("bare", write("a.jsonl", rows(2, 5)), code=2)
    assert "train it again with this release, or give graded feedback" in found.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--delta", 0), "delta is 0.0"),
        (("--delta", "nan"), "delta is nan"),
        (("--quality", 0), "quality is 0.0"),
        (("--tolerance", 0.5), "tolerance is 0.5: use a drop in [0, 0.03]"),
        (("--state", "a.jsonl"), "a.jsonl is not a state of the monitor"),
        (("--baseline", "nothing.jsonl"), "nothing.jsonl cannot be read"),
    ],
)
def test_wrong_options_are_one_line(run, words, message):
    path = write("a.jsonl", rows(2, 1))
    found = run("my-router", path, *words, code=2)
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_no_rows_at_all_is_no_finding(run):
    found = run("my-router", write("a.jsonl", []))
    assert "No alarm." in found.stdout
    run("my-router", code=2)
