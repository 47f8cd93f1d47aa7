"""What ``wattroute benchmark`` puts into its report."""

from __future__ import annotations

import json

import pytest

from router.eval.baselines import default_baselines


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots, and the baselines that take long; they have tests of their own."""
    methods = default_baselines()[:3]
    monkeypatch.setattr("router.eval.benchmark.default_baselines", lambda: methods)
    monkeypatch.setattr("router.eval.report.benchmark_figures", lambda result: {})


def test_prompts_are_in_no_file_that_is_to_have_none(here):
    words = ("benchmark", "pool.toml", "runs.csv", "--seeds", 1, "--json", "--report", "out")
    shown = json.loads(here.run(*words).stdout)
    texts = [decision["text"] for decision in shown["worst_decisions"]]
    assert texts
    page = (here.folder / "out" / "report.html").read_text("utf-8")
    assert texts[0] in page
    result = here.run(*words, "--no-prompts")
    files = [result.stdout]
    files += [(here.folder / "out" / f"report.{kind}").read_text() for kind in ("html", "md")]
    files.append((here.folder / "out" / "report.json").read_text())
    for file in files:
        assert not [text for text in texts if text in file]
        assert shown["worst_decisions"][0]["prompt_id"].replace("-", "") in file.replace("-", "")


def test_a_stored_router_must_be_of_the_same_models(here):
    said = here.fails("benchmark", "pool.toml", "runs.csv", "--router", "models/default")
    assert "--router models/default: it chooses between" in said
    assert "give a router of the same models" in said
    assert "nowhere" in here.fails("benchmark", "pool.toml", "runs.csv", "--router", "nowhere")


def test_the_report_describes_the_runs_what_is_served_and_a_router_without_promises(here):
    here.train("runs.csv", "--pool", "pool.toml", "--out", "plain", "--calibration-share", 0)
    words = ("benchmark", "pool.toml", "runs.csv", "--seeds", 1, "--report", "out")
    result = here.run(*words, "--router", "plain")
    assert "plain was never calibrated: the report has no certificates" in result.stderr
    report = (here.folder / "out" / "report.md").read_text("utf-8")
    for title in ("## What you get at a quality bar", "## Tasks", "### Qualities", "### Headroom"):
        assert title in report
    assert "## Certificates" not in report
