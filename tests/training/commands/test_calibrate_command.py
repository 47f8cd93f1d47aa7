from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from router import Router
from router.artifact import artifact_digest


@pytest.fixture(scope="module")
def runs(make_frame, make_matrix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "more.csv"
    make_frame(make_matrix(400, seed=7)).to_csv(path, index=False)
    return path


@pytest.fixture
def router(here) -> Path:
    here.train("runs.csv", "--pool", "pool.toml", "--out", "mine", "--no-forecast")
    return Path("mine")


def test_a_new_version_with_promises(here, router: Path, runs: Path) -> None:
    before = artifact_digest(router)
    result = here.run("calibrate", router, runs, "--out", "better")
    assert "Energy that each certified quality bar takes" in result.stdout
    assert "all traffic" in result.stdout
    assert "0 prompts left out: trained on" in result.stderr
    assert artifact_digest(router) == before
    stored = Router.load("better").artifact
    assert stored.lineage["parent"] == before
    assert stored.calibration is not None
    card = Path("better/README.md").read_text(encoding="utf-8")
    assert card.count("## Promise\n") == 1
    assert "prompts that training did not see" in card
    assert "None: this version was not certified" not in card
    assert card.index("## Figures") < card.index("## Promise") < card.index("## Limits")


def test_json_and_a_version_of_a_version(here, router: Path, runs: Path) -> None:
    here.run("calibrate", router, runs, "--out", "second")
    result = here.run(
        "calibrate", "second", runs, "--out", "third", "--json", "--method", "betting"
    )
    found = json.loads(result.stdout)
    assert found["parent"] == artifact_digest("second")
    assert found["method"] == "betting"
    assert {"bar", "confidence", "holds", "n_needed", "energy"} <= set(found["promises"][0])
    assert Path("third/README.md").read_text(encoding="utf-8").count("## Promise\n") == 1


def test_nothing_certified_is_a_finding(here, router: Path, runs: Path) -> None:
    few = pd.read_csv(runs).groupby("model").head(6)
    few.to_csv("few.csv", index=False)
    result = here.run("calibrate", router, "few.csv", "--out", "poor", code=1)
    assert "no" in result.stdout
    decision = Router.load("poor").route("Add 1 to 2, take 3 away and give the number.")
    assert decision.certificate is not None
    assert not decision.certificate.holds


def test_prompts_of_the_training_do_not_count(here, router: Path) -> None:
    error = here.fails("calibrate", router, "runs.csv", "--out", "same")
    assert error.startswith("no prompt is left to certify on (60 trained on): grade every model")
    assert not Path("same").exists()


def test_a_router_is_not_overwritten_by_its_child(here, router: Path, runs: Path) -> None:
    assert "is the router itself" in here.fails("calibrate", router, runs, "--out", "mine")
    assert "is the router itself" in here.fails("calibrate", router, runs, "--out", "./mine/.")
    assert "runs.csv is a file" in here.fails("calibrate", router, runs, "--out", "runs.csv")


def test_wrong_usage_is_one_line(here, router: Path, runs: Path) -> None:
    assert "no router at nowhere" in here.fails("calibrate", "nowhere", runs, "--out", "x")
    pd.read_csv(runs).query("model != 'large'").to_csv("two.csv", index=False)
    assert "no model 'large'" in here.fails("calibrate", router, "two.csv", "--out", "x")
    here.run("calibrate", router, runs, "--out", "x", "--method", "magic", code=2)
    here.run("calibrate", router, "--out", "x", code=2)


def test_training_holds_out_and_says_what_it_promises(here, make_frame, make_matrix) -> None:
    make_frame(make_matrix(260, seed=9)).to_csv("many.csv", index=False)
    words = ("many.csv", "--pool", "pool.toml", "--no-forecast", "--calibration-share")
    result = here.train(*words, "0.5", "--out", "held")
    assert "certifying on 130 prompts" in result.stderr
    assert "Certified, with the energy that each quality bar takes:" in result.stdout
    card = Path("held/README.md").read_text(encoding="utf-8")
    assert "--calibration-share 0.5" in card
    assert "130 prompts that training did not see" in card or "that training did not see" in card
    plain = json.loads(here.train(*words, "0", "--out", "all", "--json").stdout)
    assert plain["calibration"] is None
    assert plain["n_prompts"] == 260
    here.train(*words, "1", "--out", "none", code=2)
