from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from router.eval.intervals import Interval
from router.eval.unseen_tasks import BarOutcome, FamilyOutcome, UnseenTasks
from router.training.ingest import load_runs


def test_one_family_left_out(here):
    (here.folder / "families.json").write_text(
        json.dumps({"sums": "numbers", "words": "text", "puzzles": "text"}), encoding="utf-8"
    )
    result = here.run(
        "unseen-tasks", "pool.toml", "new.csv", "--families", "families.json",
        "--only", "numbers", "--bar", 0.3, "--jobs", 1, "--json",
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert shown["within"] is True
    (family,) = shown["families"]
    assert family["family"] == "numbers"
    assert [outcome["bar"] for outcome in family["bars"]] == [0.3]
    assert 0 <= family["auroc"]["low"] <= family["auroc"]["high"] <= 1
    assert shown["too_small"] == ["text"]  # too little is left without it
    assert "without numbers" in result.stderr


def test_errors_are_one_line(here):
    assert "either POOL.toml or --default-runs" in here.fails(
        "unseen-tasks", "pool.toml", "--default-runs"
    )
    both = ("unseen-tasks", "pool.toml", "new.csv", "--by", "1", "--families", "x.json")
    assert "either --by or --families" in here.fails(*both)
    for by in ("0", "-1", "1.5", "model", ""):
        assert "--by is" in here.fails("unseen-tasks", "pool.toml", "new.csv", "--by", by)
    assert "x.json: No such file" in here.fails(
        "unseen-tasks", "pool.toml", "new.csv", "--families", "x.json"
    )
    assert "no family 'nothing'" in here.fails(
        "unseen-tasks", "pool.toml", "new.csv", "--only", "nothing"
    )
    usage = here.run("unseen-tasks", code=2)
    assert "give a POOL.toml or --default-runs" in usage.stderr
    assert "range" in here.run("unseen-tasks", "pool.toml", "--bar", 1.2, code=2).stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "an object from task labels"),
        (b'{"sums": 1}', "an object from task labels"),
    ],
)
def test_files_of_families_that_are_none(here, content: bytes, reason: str):
    (here.folder / "bad.json").write_bytes(content)
    error = here.fails("unseen-tasks", "pool.toml", "new.csv", "--families", "bad.json")
    assert error.startswith("bad.json: ")
    assert reason in error


@pytest.mark.parametrize("within", [True, False])
def test_the_exit_code_says_whether_every_bar_is_kept(
    here, monkeypatch: pytest.MonkeyPatch, within: bool
):
    kept = Interval(0.9 if within else 0.8, 0.7, 0.95)
    outcome = BarOutcome(0.9, kept, Interval(0.5, 0.4, 0.6), 0.7, 0.3)
    family = FamilyOutcome(
        "sums", 60, 30, 20, Interval(0.9, 0.8, 1.0), 0.9, 0.0, "large", 0.8, (outcome,), (outcome,)
    )
    monkeypatch.setattr(
        "router.training.commands.unseen_tasks.run_unseen_tasks",
        lambda *arguments, **options: UnseenTasks("three", 0, (family,)),
    )
    result = here.run("unseen-tasks", "pool.toml", "new.csv", code=0 if within else 1)
    assert result.stdout.startswith(f"{int(within)} of 1 families keep every bar")
    assert ("below 0.88" in result.stdout) is not within


def test_families_of_the_default_runs_are_categories(here, monkeypatch: pytest.MonkeyPatch):
    runs = load_runs("new.csv")
    loaded = SimpleNamespace(runs=runs, summary=lambda: "Default runs: 90.")
    name = "router.training.commands.unseen_tasks"
    monkeypatch.setattr(f"{name}.load_default_runs", lambda **options: loaded)
    monkeypatch.setattr(f"{name}.DEFAULT_POOL_FILE", here.folder / "pool.toml")
    seen = []

    def run(matrix, pool, family_of, **options):
        seen.append((family_of("easy/complex_arithmetic"), family_of("sums"), options["bars"]))
        raise SystemExit(0)

    monkeypatch.setattr(f"{name}.run_unseen_tasks", run)
    here.run("unseen-tasks", "--default-runs")
    assert seen == [("algebra", "", (0.9, 0.95, 0.98))]
