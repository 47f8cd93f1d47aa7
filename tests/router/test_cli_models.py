from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.models import models
from router.cli.table import render_table
from router.energy import Catalogue
from router.errors import ConfigError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, arguments)


def test_the_table_lists_every_model_least_energy_first() -> None:
    result = run()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split("  ")[0] == "model"
    for entry in Catalogue.default():
        assert any(line.startswith(f"{entry.name} ") for line in lines[2:]), entry.name
    assert lines[2].startswith("Gemma-3-1B ")
    assert "H100 80 GB" in lines[-2]
    assert "54 of 54 models" in lines[-2]


def test_one_row_in_full() -> None:
    (row,) = (line for line in run("llama-3.3-70b").output.splitlines() if "Llama-3.3-70B" in line)
    assert row.split() == [
        "Llama-3.3-70B", "llama-3.3-70b", "70.5", "70.5", "0.822", "0.632", "-", "1.07", "0.206",
        "measured",
    ]  # fmt: skip


def test_the_filter_looks_at_every_name() -> None:
    found = json.loads(run("GEMMA-27", "--json").output)["models"]
    assert [model["name"] for model in found] == ["Gemma-3-27B"]
    found = json.loads(run("qwq", "--json").output)["models"]
    assert [model["name"] for model in found] == ["Qwen2.5-32B"]


def test_json_has_the_whole_record() -> None:
    data = json.loads(run("deepseek-r1-0528", "--json").output)
    assert data["operating_point"].startswith("H100")
    (model,) = data["models"]
    entry = Catalogue.default().find("DeepSeek-R1")
    assert model["joules_per_completion_token"] == entry.joules_per_completion_token
    assert model["joules_per_completion_token_low"] == pytest.approx(3.8585 * 0.625)
    assert model["joules_per_completion_token_high"] == pytest.approx(3.8585 * 1.6)
    assert model["oxlo_ids"] == list(entry.oxlo_ids)
    assert (model["basis"], model["basis_text"]) == ("measured", "measured (B200 only)")
    assert model["date"] == "2026-02"


def test_only_what_oxlo_serves() -> None:
    served = json.loads(run("--oxlo", "--json").output)["models"]
    assert all(model["oxlo_ids"] for model in served)
    assert {model["name"] for model in served} == {
        entry.name for entry in Catalogue.default() if entry.oxlo_ids
    }


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "model,joules_per_completion_token,joules_per_prompt_token,basis\nHouse-9B,12,3,relative\n"
    )
    result = run("house", "--catalogue", str(path))
    assert result.exit_code == 0
    assert "House-9B" in result.output
    assert "12.0" in result.output
    assert result.output.splitlines()[2].endswith("assumed")


def test_a_broken_catalogue_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    result = run("--catalogue", str(tmp_path / "none.csv"))
    assert isinstance(result.exception, ConfigError)
    assert "none.csv" in str(result.exception)


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_no_match_is_a_finding(json_flag: list[str]) -> None:
    result = run("nothing-like-it", *json_flag)
    assert result.exit_code == 1
    assert "no model matches" in result.stderr
    if json_flag:
        assert json.loads(result.stdout)["models"] == []


def test_wrong_usage() -> None:
    assert run("--oxo").exit_code == 2
    assert run("a", "b").exit_code == 2


def test_help_has_an_example() -> None:
    assert "wattroute models --oxlo" in run("--help").output


def test_a_table_is_aligned() -> None:
    table = render_table(["model", "J"], [["small", 0.1], ["large one", 12]], "<>")
    assert table == "model        J\n---------  ---\nsmall      0.1\nlarge one   12"


def test_a_table_of_clumsy_cells() -> None:
    table = render_table(["a", "b"], [[None, "x\ny"], ["", "  long  cell "]])
    assert table.splitlines()[2:] == ["   x y", "   long cell"]
    assert render_table(["a"], []) == "a\n-"


def test_a_table_with_wrong_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="row 2 has 1 cells"):
        render_table(["a", "b"], [[1, 2], [1]])
    with pytest.raises(ValueError, match="align"):
        render_table(["a", "b"], [], "<")
    with pytest.raises(ValueError, match="align"):
        render_table(["a", "b"], [], "<^")
