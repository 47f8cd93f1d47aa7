"""Task rules as a baseline of ``wattroute benchmark``."""

from __future__ import annotations

import json

import pytest

from router.eval.baselines import default_baselines

RULES = """
default = "{default}"
[[rule]]
task = "sums"
model = "{model}"
keywords = ["what"]
"""


def test_rules_are_compared_with_the_router(here, pool, monkeypatch: pytest.MonkeyPatch):
    few, ids = default_baselines()[:2], {model.name: model.api_id for model in pool.models}
    monkeypatch.setattr("router.training.commands.benchmark.default_baselines", lambda: few)
    (here.folder / "rules.toml").write_text(RULES.format(default=ids["small"], model=ids["large"]))
    result = here.run(
        "benchmark", "pool.toml", "runs.csv", "--rules", "rules.toml", "--seeds", 1, "--json"
    )
    figures = json.loads(result.stdout)["figures"]
    assert "written rules" in figures
    assert {method.name for method in few} <= set(figures)


def test_rules_that_do_not_fit_the_pool_are_refused_before_any_training(here, pool):
    ids = {model.name: model.api_id for model in pool.models}
    (here.folder / "rules.toml").write_text(
        RULES.format(default=ids["small"], model="llama-3.1-8b")
    )
    said = here.fails("benchmark", "pool.toml", "runs.csv", "--rules", "rules.toml")
    assert "the rules name llama-3.1-8b" in said
    assert "no.toml" in here.fails("benchmark", "pool.toml", "runs.csv", "--rules", "no.toml")
