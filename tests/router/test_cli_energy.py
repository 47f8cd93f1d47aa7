from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.energy import Catalogue, request_energy
from router.energy.validation import Documented, documented

HEAD = "model,joules_per_completion_token,date,source\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["energy", *arguments])


def loaded(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_one_model_in_words() -> None:
    result = run("Qwen3-32B", "--prompt-tokens", "200", "--completion-tokens", "300")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "Qwen3-32B: 123 J (94.9 - 160), measured"
    assert lines[1] == "= 0.0343 Wh for 200 prompt and 300 completion tokens, batch 64."
    text = " ".join(result.output.split())
    for word in ("weights", "cache", "attention", "quadratic", "ML.ENERGY H100", "2026-02"):
        assert word in text
    assert "factor of 2 to 4" in text
    assert "CO2" not in text


def test_one_model_as_json() -> None:
    arguments = ("qwen-3-32b", "--prompt-tokens", "200", "--completion-tokens", "300")
    data = loaded(*arguments, "--batch", "16")
    model = data["model"]
    expected = request_energy(Catalogue.default().find("Qwen3-32B"), 200, 300, 16)
    assert model["energy_j"] == {
        "value": expected.value_j,
        "low": expected.low_j,
        "high": expected.high_j,
    }
    assert model["energy_wh"] == pytest.approx(expected.value_j / 3600)
    assert (model["basis"], model["date"]) == ("estimated", "2026-02")
    assert sum(t["energy_j"] for t in model["terms"]) == pytest.approx(expected.value_j)
    assert (model["carbon"], model["cost"], data["rates"]["pue"]) == (None, None, None)
    assert data["beyond_measured_batches"] is False


def test_all_models_least_energy_first() -> None:
    data = loaded("--completion-tokens", "800")
    values = [model["energy_j"]["value"] for model in data["models"]]
    assert len(values) == len(Catalogue.default())
    assert values == sorted(values)
    lines = run().output.splitlines()
    assert lines[0].split() == ["model", "J", "low", "-", "high", "Wh", "basis"]
    assert lines[2].startswith("Gemma-3-1B ")
    assert any(line.startswith("54 of 54 models, 500 prompt and 200") for line in lines)


def test_carbon_and_cost_name_their_source() -> None:
    rates = ("--grid-intensity", "300", "--grid-source", "supplier 2025", "--price", "0.3")
    rates += ("--currency", "EUR", "--pue", "1.2", "--pue-source", "site meter")
    data = loaded("Qwen3-32B", *rates)
    model = data["model"]
    kwh = model["energy_j"]["value"] / 3.6e6 * 1.2
    assert model["site_kwh"]["value"] == pytest.approx(kwh)
    assert model["carbon"]["value"] == pytest.approx(300 * kwh)
    assert model["carbon"]["high"] == pytest.approx(300 * model["energy_j"]["high"] / 3.6e6 * 1.2)
    assert (model["cost"]["value"], model["cost"]["unit"]) == (pytest.approx(0.3 * kwh), "EUR")
    assert data["rates"]["grid_intensity"]["source"] == "supplier 2025"
    assert data["rates"]["price"]["source"] == "given by the user, no source named"
    text = run("Qwen3-32B", *rates).output
    for words in ("300 g CO2e/kWh (supplier 2025)", "PUE 1.2 (site meter)", "no source named"):
        assert words in text
    table = run(*rates).output
    assert table.splitlines()[0].split()[-3:] == ["g", "CO2e", "EUR"]
    assert "Grid intensity 300 g CO2e/kWh (supplier 2025)." in table


def test_a_batch_beyond_the_measured_ones_is_said() -> None:
    assert "1 is beyond them" in run("Qwen3-32B", "--batch", "1").output
    assert "beyond them" not in run("Qwen3-32B", "--batch", "8").output
    assert loaded("--batch", "1")["beyond_measured_batches"] is True


def test_more_than_the_context_window_is_said() -> None:
    result = run("Gemma-2-9B", "--prompt-tokens", "9000")
    assert "more than its context window of 8,192 tokens" in result.output
    assert loaded("Gemma-2-9B", "--prompt-tokens", "9000")["model"]["beyond_context_window"]


def test_no_tokens_cost_nothing() -> None:
    result = run("Qwen3-32B", "--prompt-tokens", "0", "--completion-tokens", "0")
    assert result.exit_code == 0
    assert result.output.startswith("Qwen3-32B: 0 J (0 - 0)")


def test_own_measurements(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + "Qwen2.5-7B,0.2,2026-11,our rack\n")
    model = loaded("Qwen2.5-7B", "--measurements", str(path))["model"]
    assert (model["basis"], model["source"]) == ("measured", "our rack")
    assert model["measured_over_formula"] == pytest.approx(0.2 / 0.0867, rel=1e-3)
    assert (
        "1 row of the user; our rack (2026-11)"
        in run("Qwen2.5-7B", "--measurements", str(path)).output
    )


def test_own_measurements_of_a_model_without_parameters(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD[:-1] + ",joules_per_prompt_token\nHouse,0.2,2026,meter,0.1\n")
    arguments = ("--measurements", str(path))
    assert "parameters are not known" in run("House", *arguments).output
    assert run("House", "--batch", "8", *arguments).exit_code == 2
    names = {model["name"] for model in loaded("--batch", "8", *arguments)["models"]}
    assert "House" not in names
    assert len(names) == 54
    refused = run("validate", *arguments)
    assert refused.exit_code == 2
    assert "mine.csv, row 1: 'model'" in refused.stderr


def test_figures_too_large_for_a_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + "Qwen3-32B,1e308,2026-11,our rack\n")
    result = run("Qwen3-32B", "--measurements", str(path))
    assert result.exit_code == 2
    assert "too large for a number" in result.stderr


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[[model]]\nmodel = 'House-MoE'\ntotal_parameters_b = 100\n")
    text = run("house-moe", "--catalogue", str(path)).output
    assert "typical of its size" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Qwen3-33B"], "not in the catalogue; did you mean"),
        (["--batch", "0"], "--batch"),
        (["--batch", "nan"], "batch must be a finite number"),
        (["--prompt-tokens", "-1"], "--prompt-tokens"),
        (["--completion-tokens", "1e300"], "--completion-tokens"),
        (["--completion-tokens", "nan"], "completion_tokens must be finite"),
        (["--completion-tokens", "many"], "--completion-tokens"),
        (["--grid-intensity", "-1"], "grid intensity must be a number from 0"),
        (["--grid-source", "x"], "--grid-source needs --grid-intensity"),
        (["--grid-intensity", "1", "--grid-source", " "], "source of the grid intensity is blank"),
        (["--price-source", "x"], "--price-source needs --price"),
        (["--currency", "EUR"], "--currency needs --price"),
        (["--pue", "0.5"], "pue must be a number from 1"),
        (["--measurements", "none.csv"], "none.csv: cannot be read"),
        (["Qwen3-32B", "Qwen3-8B"], "unexpected extra argument"),
        (["--nosuch"], "--nosuch"),
        (["validate", "--measurements", "none.csv"], "none.csv: cannot be read"),
        (["validate", "Qwen3-32B"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_help_has_examples() -> None:
    assert "wattroute energy validate" in run("--help").output
    assert "--grid-intensity" in run("request", "--help").output


def test_validate_prints_the_documented_table() -> None:
    result = run("validate")
    assert result.exit_code == 0
    (chat,) = (line for line in result.output.splitlines() if line.startswith("B = 64, chat"))
    assert chat.split()[4:] == [
        "16",
        "13%",
        "45%",
        "0.93",
        "94%",
        "x1.23",
        "1.07",
        "0.64",
        "-",
        "1.21",
    ]
    assert "All 45 figures are within their documented ranges." in result.output


def test_validate_shows_every_configuration() -> None:
    text = run("validate", "--rows").output
    assert "meta-llama/Llama-3.3-70B-Instruct" in text
    groups = json.loads(run("validate", "--rows", "--json").stdout)["groups"]
    assert [len(group["rows"]) for group in groups] == [16, 9, 16, 214, 117]


def test_validate_exits_1_outside_the_documented_range(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Documented("B = 64, chat", "median_error", 0.05, 0.0, 0.06, "2026", "a hope")
    monkeypatch.setattr("router.cli.energy_validate.documented", lambda: (strict, *documented()))
    result = run("validate")
    assert result.exit_code == 1
    assert "Outside: B = 64, chat, median_error is 0.132, documented 0.05" in result.output
    data = run("validate", "--json")
    assert data.exit_code == 1
    assert json.loads(data.stdout)["within_documented_ranges"] is False


@pytest.mark.parametrize(("joules", "code"), [(0.37, 0), (3.7, 1), (0.037, 1)])
def test_validate_judges_own_measurements(tmp_path: Path, joules: float, code: int) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + f"Qwen3-32B,{joules},2026-11,our rack\n")
    result = run("validate", "--measurements", str(path))
    assert result.exit_code == code, result.output
    assert "own measurements, mine.csv" in result.output
    shown = json.loads(run("validate", "--measurements", str(path), "--json").stdout)
    own = shown["groups"][-1]["statistics"]
    assert own["n"] == 1
    assert own["spearman"] is None
