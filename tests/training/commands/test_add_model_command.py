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
        (["graded.csv", "--model", "mystery", "--out", "o"], "does not know 'mystery'"),
        (["graded.csv", "--model", NAME, "--catalogue", "Qwen", "--out", "o"], "'Qwen'"),
        (["graded.csv", "--model", NAME, "--pool", "pool.toml", "--out", "o"], "no model"),
        (
            ["graded.csv", "--model", NAME, "--pool", "p.toml", "--catalogue", "c", "--out", "o"],
            "either --catalogue or --pool",
        ),
        (["runs.csv", "--model", "small", "--catalogue", "Gemma-2-2B", "--out", "o"], "2 times"),
    ],
)
def test_wrong_input_is_one_line(here, words: list[str], message: str):
    assert message in here.fails("add-model", "router", *words)


def test_too_few_grades_are_refused(here, graded: pd.DataFrame):
    graded.head(20).to_csv("few.csv", index=False)
    error = here.fails("add-model", "router", "few.csv", "--model", NAME, "--out", "o")
    assert "20 distinct prompts" in error
    assert not Path("o").exists()
