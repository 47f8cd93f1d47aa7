from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from router import Router
from router.artifact import artifact_digest

NAME = "Qwen2.5-7B-Instruct"  # the catalogue knows it


@pytest.fixture(scope="module")
def graded(material) -> pd.DataFrame:
    """Grades of one more model on 40 of the training prompts."""
    rows = material.frame[material.frame["model"] == "small"].head(40)
    quality = np.where(rows["task"] == "puzzles", 0.0, 1.0)
    return rows.assign(model=NAME, quality=quality, completion_tokens=50.0)


@pytest.fixture
def here(here, graded: pd.DataFrame):
    graded.to_csv(here.folder / "graded.csv", index=False)
    return here


def add(here, *words: object, out: str):
    return here.run("add-model", "router", *words, "--model", NAME, "--out", out)


def test_a_model_of_the_catalogue_is_added(here):
    result = add(here, "runs.csv", "graded.csv", out="wider")
    assert f"wider: 4 models, the new one is {NAME}" in result.stdout
    assert "from 40 graded prompts" in result.stdout
    assert "Provisional" in result.stdout
    assert "`wattroute calibrate`" in result.stdout
    assert f"fitting {NAME!r} on 40 graded prompts" in result.stderr
    router = Router.load(here.folder / "wider")
    assert router.models[-1].id == NAME
    model = router.artifact.pool.models[-1]
    assert 0.0 < model.joules_per_completion_token < 1.0
    assert "Qwen2.5-7B" in model.basis_text
    parent = artifact_digest(here.folder / "router")
    assert router.artifact.lineage["parent"] == parent
    card = (here.folder / "wider" / "README.md").read_text(encoding="utf-8")
    assert f"## Added: {NAME}" in card
    assert parent in card
    shown = here.run("route", "Add 1 to 2.", "--router", "wider", "--quality", 0.9)
    assert NAME in shown.stdout


def test_energy_that_was_measured_and_does_not_reach_decisions_is_told(here, graded):
    graded.assign(energy_j=5_000.0).to_csv("metered.csv", index=False)
    told = add(here, "runs.csv", "metered.csv", out="metered").stderr
    assert f"warning: {NAME!r} took 5e+03 J an answer, as measured in 40 runs" in told
    assert "joules_per_completion_token" in told
    assert "warning" not in add(here, "runs.csv", "graded.csv", out="metered").stderr


def test_as_json(here):
    shown = json.loads(add(here, "runs.csv", "graded.csv", "--json", out="j").stdout)
    assert shown["router"] == "j"
    assert shown["name"] == shown["api_id"] == NAME
    assert shown["n_graded"] == 40
    assert shown["provisional"] is True
    assert shown["bound"] < shown["quality"]


def test_a_model_of_a_pool_file_under_an_id_of_its_own(here, pool):
    text = pool.to_toml() + (
        f'\n[[model]]\nrun_name = "{NAME}"\napi_id = "mine"\n'
        'joules_per_completion_token = 0.25\njoules_per_prompt_token = 0.02\nbasis = "measured"\n'
    )
    Path("wide.toml").write_text(text, encoding="utf-8")
    add(here, "runs.csv", "graded.csv", "--pool", "wide.toml", out="p")
    model = Router.load("p").artifact.pool.models[-1]
    assert (model.api_id, model.joules_per_completion_token) == ("mine", 0.25)
    add(here, "runs.csv", "graded.csv", "--catalogue", "Gemma-2-2B", "--api-id", "x", out="c")
    model = Router.load("c").artifact.pool.models[-1]
    assert (model.name, model.api_id) == (NAME, "x")
    assert "Gemma-2-2B" in model.basis_text


def test_grades_without_those_of_other_models_are_warned_about(here):
    result = add(here, "graded.csv", out="alone")
    assert "have no grade of another model" in result.stderr


def test_the_new_version_can_be_widened_and_calibrated(here, make_matrix, make_frame):
    add(here, "runs.csv", "graded.csv", out="wide")
    fresh = make_frame(make_matrix(150, seed=4))
    rows = fresh[fresh["model"] == "small"]
    quality = np.where(rows["task"] == "puzzles", 0.0, 1.0)
    both = pd.concat([fresh, rows.assign(model=NAME, quality=quality)])
    both.to_csv("fresh.csv", index=False)
    result = here.run("calibrate", "wide", "fresh.csv", "--out", "promising", "--json")
    assert json.loads(result.stdout)["parent"] == artifact_digest("wide")
    assert Router.load("promising").artifact.lineage["added_models"][0]["name"] == NAME


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs.csv", "--model", NAME, "--out", "o"], f"no model '{NAME}'"),
        (["graded.csv", "--model", NAME, "--out", "router"], "is the router itself"),
        (["graded.csv", "--model", NAME, "--out", "pool.toml"], "pool.toml"),
        (["graded.csv", "--model", "Qwen2.5-7B", "--out", "o"], f"did you mean '{NAME}'?"),
        (["graded.csv", "--model", "", "--out", "o"], "no model ''"),
        (["mystery.csv", "--model", "mystery", "--out", "o"], "does not know 'mystery'"),
        (["graded.csv", "--model", NAME, "--catalogue", "Qwen", "--out", "o"], "'Qwen'"),
        (["graded.csv", "--model", NAME, "--pool", "pool.toml", "--out", "o"], "no model"),
        (["graded.csv", "--model", NAME, "--api-id", "", "--out", "o"], "api_id is blank"),
        (["graded.csv", "--model", NAME, "--api-id", "large-api", "--out", "o"], "another id"),
        (["graded.csv", "--model", NAME, "--out", "/dev/null/o"], "/dev/null/o"),
        (
            ["graded.csv", "--model", NAME, "--pool", "p.toml", "--catalogue", "c", "--out", "o"],
            "either --catalogue or --pool",
        ),
        (
            ["runs.csv", "--model", "small", "--catalogue", "Gemma-2-2B", "--out", "o"],
            "has the model 'small' already",
        ),
    ],
)
def test_wrong_input_is_one_line(here, graded: pd.DataFrame, words: list[str], message: str):
    graded.assign(model="mystery").to_csv("mystery.csv", index=False)
    assert message in here.fails("add-model", "router", *words)


def test_too_few_grades_are_refused(here, graded: pd.DataFrame):
    graded.head(20).to_csv("few.csv", index=False)
    error = here.fails("add-model", "router", "few.csv", "--model", NAME, "--out", "o")
    assert "20 distinct prompts" in error
    assert not Path("o").exists()


@pytest.mark.parametrize("folder", ["nowhere", "runs.csv", "."])
def test_a_folder_that_is_no_router_is_one_line(here, folder: str):
    error = here.fails("add-model", folder, "graded.csv", "--model", NAME, "--out", "o")
    assert "router" in error
    assert not Path("o").exists()


@pytest.mark.parametrize("grade", ["", "NaN", "1.5", "good"])
def test_grades_that_are_none_are_named_and_can_be_set_aside(
    here, graded: pd.DataFrame, grade: str
):
    bad = graded.astype({"quality": object})
    bad.iloc[3, bad.columns.get_loc("quality")] = grade
    bad.to_csv("bad.csv", index=False)
    words = (
        "add-model",
        "router",
        "runs.csv",
        "bad.csv",
        "--model",
        NAME,
        "--out",
        f"aside{grade}",
    )
    failed = here.run(*words, code=2)
    assert "bad.csv, row 4, field 'quality'" in failed.stderr
    assert not Path(f"aside{grade}").exists()
    result = here.run(*words, "--on-bad", "skip", "--json")
    assert json.loads(result.stdout)["n_graded"] == 39


def test_two_grades_of_one_answer_are_refused(here, graded: pd.DataFrame):
    other = graded.head(5).assign(quality=1.0 - graded["quality"].head(5))
    pd.concat([graded, other]).to_csv("twice.csv", index=False)
    words = ("add-model", "router", "twice.csv", "--model", NAME, "--out", "o")
    assert "for the same prompt and model" in here.run(*words, code=2).stderr
    assert not Path("o").exists()


def test_one_prompt_under_many_ids_is_one_prompt(here, graded: pd.DataFrame):
    few = pd.concat([graded.head(10)] * 4, ignore_index=True)
    few.assign(prompt_id=[f"copy-{i}" for i in range(40)]).to_csv("copies.csv", index=False)
    error = here.fails("add-model", "router", "copies.csv", "--model", NAME, "--out", "o")
    assert "10 distinct prompts" in error


def test_prompts_that_have_nothing_to_do_with_the_router_are_pointed_out(
    here, graded: pd.DataFrame
):
    prompts = [f"Ode an den Mond, Strophe {i}: \u00fcber W\u00e4lder {i * i}" for i in range(40)]
    strange = graded.assign(prompt=prompts, prompt_id=[f"s{i}" for i in range(40)])
    strange.to_csv("strange.csv", index=False)
    result = add(here, "runs.csv", "strange.csv", "--json", out="strange")
    shown = json.loads(result.stdout)
    assert shown["n_trained_on"] == shown["n_alone"] == 0
    assert shown["n_unlike"] > 20
    assert "unlike those that the router was trained on" in result.stderr
    assert np.isfinite([shown["quality"], shown["energy_j"]]).all()
    Router.load("strange").route("Add 1 to 2.")


def test_lengths_that_are_not_known_are_pointed_out(here, graded: pd.DataFrame):
    graded.drop(columns="completion_tokens").to_csv("short.csv", index=False)
    result = add(here, "runs.csv", "short.csv", "--json", out="short")
    assert json.loads(result.stdout)["assumed_tokens"] is True
    assert "its lengths, and so its energy, are assumed" in result.stderr
    assert "assumed" not in add(here, "runs.csv", "graded.csv", out="long").stderr


@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_a_few_equal_grades_are_no_certainty(here, graded: pd.DataFrame, grade: float):
    graded.assign(quality=grade).to_csv("equal.csv", index=False)
    found = json.loads(add(here, "runs.csv", "equal.csv", "--json", out="equal").stdout)
    assert found["provisional"] is True
    assert found["deviation"] > 0.02


def test_no_bar_is_promised_with_it_until_prompts_suffice(here, make_matrix, make_frame):
    """It would win most prompts by estimate: a promise needs prompts of its own."""
    add(here, "runs.csv", "graded.csv", out="wide")
    prompts = make_matrix(40, seed=9).prompts
    estimated = Router.load("wide").route_many(prompts, quality=0.95)
    assert NAME in {decision.model for decision in estimated}
    for decision in estimated:
        assert not decision.certificate.holds
        assert any("not certified" in warning for warning in decision.warnings)

    def calibrated(n: int, out: str, code: int) -> list:
        fresh = make_frame(make_matrix(n, seed=4))
        rows = fresh[fresh["model"] == "small"]
        quality = np.where(rows["task"] == "puzzles", 0.0, 1.0)
        runs = pd.concat([fresh, rows.assign(model=NAME, quality=quality)])
        runs.to_csv(f"{out}.csv", index=False)
        here.run("calibrate", "wide", f"{out}.csv", "--out", out, code=code)
        return Router.load(out).route_many(prompts, quality=0.95)

    for decision in calibrated(12, "too-few", 1):
        assert decision.model == decision.reference
        assert not decision.certificate.holds
        assert "not certified" in decision.certificate.reason
    enough = calibrated(600, "enough", 0)
    held = [decision for decision in enough if decision.certificate.holds]
    assert NAME in {decision.model for decision in held}


def test_a_prompt_that_was_used_to_add_it_cannot_certify_it(here, graded: pd.DataFrame):
    add(here, "runs.csv", "graded.csv", out="wide")
    pd.concat([here.frame, graded]).to_csv("same.csv", index=False)
    error = here.fails("calibrate", "wide", "same.csv", "--out", "o")
    assert "no prompt is left to certify on" in error


def test_without_the_runs_of_the_new_model_nothing_is_certified(here):
    add(here, "runs.csv", "graded.csv", out="wide")
    error = here.fails("calibrate", "wide", "new.csv", "--out", "o")
    assert f"no model '{NAME}'" in error
