from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.energy import (
    Architecture,
    Catalogue,
    OwnMeasurement,
    architectures,
    joules_per_completion_token,
    read_own_measurements,
    request_energy,
    with_own_measurements,
)
from router.errors import ConfigError
from router.pool import load_pool

HEAD = "model,joules_per_completion_token,date,source\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def extended(folder: Path, text: str, base: Catalogue | None = None) -> Catalogue:
    base = Catalogue.default() if base is None else base
    return with_own_measurements(base, read_own_measurements(write(folder, text), base))


def test_a_measured_row_wins_over_an_estimate(tmp_path: Path) -> None:
    old = Catalogue.default().find("Qwen2.5-7B")
    assert old.basis == "estimated"
    new = extended(tmp_path, HEAD + "qwen-2.5-7b,0.11,2026-11-20,our rack: NVML\n")
    entry = new.find("Qwen2.5-7B")
    assert (entry.basis, entry.basis_text) == ("measured", "measured: 1 row of the user")
    assert entry.joules_per_completion_token == pytest.approx(0.11)
    assert entry.joules_per_prompt_token == old.joules_per_prompt_token
    assert (entry.source, entry.date) == ("our rack: NVML", "2026-11-20")
    assert (entry.low_factor, entry.high_factor) == (0.769, 1.3)
    assert (entry.hf_id, entry.architecture) == (old.hf_id, old.architecture)
    assert len(new) == len(Catalogue.default())
    assert new.find("qwen-2.5-7b") is entry
    assert request_energy(entry, 500, 200).value_j == pytest.approx(
        500 * old.joules_per_prompt_token + 200 * 0.11, rel=1e-3
    )


def test_rows_at_other_batches_are_brought_to_the_reference(tmp_path: Path) -> None:
    model = architectures()["Qwen3-32B"]
    rows = "".join(
        f"Qwen3-32B,{factor * joules_per_completion_token(model, batch, 1000)},2026-1{i},rack {i},"
        f"{batch},1000\n"
        for i, (batch, factor) in enumerate([(16, 1.0), (128, 4.0)])
    )
    entry = extended(tmp_path, HEAD[:-1] + ",batch,context_tokens\n" + rows).find("Qwen3-32B")
    reference = joules_per_completion_token(model)
    assert entry.joules_per_completion_token == pytest.approx(2 * reference)
    # the interval holds both rows
    assert entry.low_factor == pytest.approx(0.5)
    assert entry.high_factor == pytest.approx(2.0)
    assert entry.source == "rack 0; rack 1"
    assert entry.date == "2026-11"
    assert entry.basis_text == "measured: 2 rows of the user"


@given(st.floats(1e-4, 1e3), st.integers(1, 2048), st.integers(1, 100_000))
def test_the_same_operating_point_gives_the_measurement_back(
    joules: float, batch: int, context: int
) -> None:
    model = architectures()["Qwen3-30B-A3B"]
    row = OwnMeasurement(
        "row 1", "Qwen3-30B-A3B", joules, None, batch, context, model, None, None, "2026", "x"
    )
    entry = with_own_measurements(Catalogue.default(), [row]).find("Qwen3-30B-A3B")
    there = request_energy(entry, context, 0, batch), request_energy(entry, context - 1, 2, batch)
    prompt_j = request_energy(entry, context - 1, 0, batch).value_j
    # a request whose mean context is the measured one: two tokens on top of the prompt
    assert there[1].value_j - prompt_j == pytest.approx(2 * joules, rel=1e-6, abs=1e-6 * prompt_j)


def test_a_new_model_by_its_parameters(tmp_path: Path) -> None:
    text = HEAD[:-1] + ",total_parameters_b,active_parameters_b\nHouse,0.3,2026,meter,100,10\n"
    entry = extended(tmp_path, text).find("house")
    assert entry.architecture == Architecture.from_parameters(100, 10)
    assert (entry.total_parameters_b, entry.active_parameters_b) == (100, 10)
    assert entry.joules_per_prompt_token > 0
    assert request_energy(entry, 10, 10, 8).basis == "estimated"


def test_a_new_model_by_its_joules_alone(tmp_path: Path) -> None:
    text = HEAD[:-1] + ",joules_per_prompt_token\nHouse,0.3,2026,meter,0.05\n"
    entry = extended(tmp_path, text).find("House")
    assert entry.architecture is None
    assert request_energy(entry, 100, 10).value_j == pytest.approx(8.0)


def test_an_alias_becomes_a_model_of_its_own(tmp_path: Path) -> None:
    new = extended(tmp_path, HEAD + "QwQ-32B,0.5,2026-11,meter\n")
    assert new.find("QwQ-32B").joules_per_completion_token == pytest.approx(0.5)
    assert new.find("QwQ-32B").architecture == architectures()["Qwen2.5-32B"]
    assert new.find("Qwen2.5-32B") == Catalogue.default().find("Qwen2.5-32B")


def test_names_of_one_model_are_one_model(tmp_path: Path) -> None:
    rows = "Qwen3-32B,0.4,2026,a\nQWEN/qwen3-32b,0.4,2026,b\nqwen-3-32b,0.4,2026,a\n"
    new = extended(tmp_path, HEAD + rows)
    assert new.find("Qwen3-32B").basis_text == "measured: 3 rows of the user"
    assert new.find("Qwen3-32B").source == "a; b"
    assert len(new) == len(Catalogue.default())


def test_factors_of_rows(tmp_path: Path) -> None:
    text = HEAD[:-1] + ",low_factor,high_factor\nQwen3-32B,0.4,2026,a,0.95,1.05\n"
    entry = extended(tmp_path, text).find("Qwen3-32B")
    assert (entry.low_factor, entry.high_factor) == (0.95, 1.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEAD, "no rows"),
        ("model,joules_per_completion_token\nQwen3-32B,0.4\n", "row 1: 'date' is missing"),
        (HEAD + "Qwen3-32B,0.4,2026,\n", "row 1: 'source' is missing"),
        (HEAD + ",0.4,2026,x\n", "row 1: 'model' is missing"),
        (HEAD + "Qwen3-32B,,2026,x\n", "row 1: 'joules_per_completion_token' is missing"),
        (HEAD + "Qwen3-32B,0.4,2026,x\n\nQwen3-8B,abc,2026,x\n", "row 3: 'joules_per_comp.*number"),
        (HEAD + "Qwen3-32B,0,2026,x\n", "row 1: 'joules_per_completion_token' must be .* above 0"),
        (HEAD + "Qwen3-32B,-0.4,2026,x\n", "above 0"),
        (HEAD + "Qwen3-32B,nan,2026,x\n", "finite"),
        (HEAD + "Qwen3-32B,inf,2026,x\n", "finite"),
        (HEAD + "Qwen3-32B,0.4,yesterday,x\n", "row 1: 'date' must be written"),
        (HEAD + "Qwen3-32B,0.4,2026-13,x\n", "row 1: 'date' must be written"),
        (HEAD + "Qwen3-32B,0.4,2026-02-30,x\n", "row 1: 'date' must be written"),
        (HEAD + "Qwen3-32B,0.4,0000,x\n", "row 1: 'date' must be written"),
        (HEAD + "Qwen3-32B,0.4,2026\n", "row 1: 3 cells under 4 columns"),
        (HEAD[:-1] + ",joules\nQwen3-32B,0.4,2026,x,1\n", "row 1: unknown key 'joules'"),
        (HEAD[:-1] + ",batch\nQwen3-32B,0.4,2026,x,0.5\n", "row 1: 'batch' must be at least 1"),
        (HEAD[:-1] + ",batch\nHouse,0.4,2026,x,8\n", "row 1: 'batch' and 'context_tokens'"),
        (HEAD + "House,0.4,2026,x\n", "row 1: 'joules_per_prompt_token' is missing"),
        (
            HEAD[:-1] + ",total_parameters_b\nQwen3-32B,0.4,2026,x,33\n",
            "row 1: 'total_parameters_b': the catalogue has them",
        ),
        (
            HEAD[:-1] + ",active_parameters_b\nHouse,0.4,2026,x,3\n",
            "row 1: 'active_parameters_b' needs 'total_parameters_b'",
        ),
        (
            HEAD[:-1] + ",total_parameters_b,active_parameters_b\nHouse,0.4,2026,x,3,4\n",
            "row 1: 'total_parameters_b': .*active <= total",
        ),
        (
            HEAD[:-1] + ",total_parameters_b,precision\nHouse,0.4,2026,x,3,int3\n",
            "row 1: 'total_parameters_b': precision must be one of",
        ),
        (HEAD[:-1] + ",low_factor\nQwen3-32B,0.4,2026,x,1.1\n", "need 'low_factor' <= 1"),
        (HEAD[:-1] + ",high_factor\nQwen3-32B,0.4,2026,x,0.9\n", "need 'low_factor' <= 1"),
    ],
)
def test_a_wrong_row_is_refused_with_file_row_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        extended(tmp_path, text)
    assert "mine.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_own_measurements(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_own_measurements(tmp_path)
    (tmp_path / "mine.csv").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(ConfigError, match="not a CSV file"):
        read_own_measurements(tmp_path / "mine.csv")


POOL = (
    "name = 'p'\nmeasurements = 'mine.csv'\n[[model]]\nrun_name = 'a'\ncatalogue = 'Qwen3-32B'\n"
    "[[model]]\nrun_name = 'b'\ncatalogue = 'House'\n"
)


def test_a_pool_file_names_measurements(tmp_path: Path) -> None:
    text = HEAD[:-1] + ",total_parameters_b\nHouse,0.3,2026,meter,9\nQwen3-32B,0.5,2026,meter,\n"
    write(tmp_path, text)
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    pool = load_pool(path)
    assert [m.basis for m in pool.models] == ["measured", "measured"]
    assert [m.joules_per_completion_token for m in pool.models] == pytest.approx([0.5, 0.3])
    assert pool.models[0].basis_text == "measured: 1 row of the user: Qwen3-32B, meter, 2026"
    # what is written back holds the joules themselves and needs no file
    again = tmp_path / "elsewhere" / "pool.toml"
    again.parent.mkdir()
    again.write_text(pool.to_toml())
    assert load_pool(again).models == pool.models


def test_a_pool_file_with_wrong_measurements(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    with pytest.raises(ConfigError, match=r"mine\.csv: cannot be read"):
        load_pool(path)
    write(tmp_path, HEAD + "Qwen3-32B,0,2026,meter\n")
    with pytest.raises(ConfigError, match=r"mine\.csv, row 1: 'joules_per_completion_token'"):
        load_pool(path)
    path.write_text("measurements = 3\n")
    with pytest.raises(ConfigError, match="'measurements' must be text"):
        load_pool(path)


def test_the_mean_of_extreme_figures_is_finite(tmp_path: Path) -> None:
    rows = "Qwen3-32B,1e-300,2026,a\nQwen3-32B,1e300,2026,b\n"
    entry = extended(tmp_path, HEAD + rows).find("Qwen3-32B")
    assert math.isfinite(entry.joules_per_completion_token)
