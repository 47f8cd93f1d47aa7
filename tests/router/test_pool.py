from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.energy import Catalogue
from router.errors import ConfigError
from router.pool import Pool, PoolModel, load_pool, pool_from_models

SMALL = PoolModel("small", "small", 0.02, 0.1, 0.769, 1.3, "measured")
LARGE = PoolModel("large", "vendor/large", 0.2, 1.0, 0.5, 2.0, "assumed", 300, "relative price")
POOL = Pool("two", (SMALL, LARGE))

FULL = """
name = "mixed"
runs = ["a.parquet", "b.jsonl"]
note = "a note"

[[model]]
run_name = "gemma-3-27b-it"
api_id = "gemma-3-27b"
catalogue = "gemma-3-27B"
assumed_completion_tokens = 5500

[[model]]
run_name = "Qwen2.5-3B-Instruct"
joules_per_completion_token = 0.0523
joules_per_prompt_token = 0.01255
basis = "estimated: as Llama-3.2-3B"

[[model]]
run_name = "gpt-4-1106-preview"
joules_per_completion_token = 24.5
joules_per_prompt_token = 5.88
basis = "relative price"

[[model]]
run_name = "house-moe"
total_parameters_b = 100
active_parameters_b = 10
"""
OWN = "joules_per_completion_token = 1\njoules_per_prompt_token = 0.1\nbasis = 'measured'\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "pool.toml"
    path.write_text(text, encoding="utf-8")
    return path


def two(first: str, second: str = f"[[model]]\nrun_name = 'b'\n{OWN}") -> str:
    return f"[[model]]\n{first}\n{second}"


def test_a_pool_file(tmp_path: Path) -> None:
    pool = load_pool(write(tmp_path, FULL))
    gemma, qwen, gpt, house = pool.models
    entry = Catalogue.default().find("Gemma-3-27B")
    assert (pool.name, pool.runs, pool.note) == ("mixed", ("a.parquet", "b.jsonl"), "a note")
    assert (gemma.name, gemma.api_id) == ("gemma-3-27b-it", "gemma-3-27b")
    assert gemma.joules_per_completion_token == entry.joules_per_completion_token
    assert gemma.joules_per_prompt_token == entry.joules_per_prompt_token
    assert (gemma.low_factor, gemma.high_factor) == (entry.low_factor, entry.high_factor)
    assert gemma.assumed_completion_tokens == 5500
    assert gemma.basis == "measured"
    assert gemma.basis_text.startswith("measured: Gemma-3-27B, ML.ENERGY")
    assert (qwen.api_id, qwen.basis) == ("Qwen2.5-3B-Instruct", "estimated")
    assert qwen.basis_text == "estimated: as Llama-3.2-3B"
    assert qwen.assumed_completion_tokens is None
    assert (gpt.basis, gpt.basis_text, gpt.high_factor) == ("assumed", "relative price", 2.0)
    assert house.basis == "estimated"
    assert 0.3 < house.joules_per_completion_token < 3


def test_it_is_written_back_with_its_defaults_and_reads_the_same(tmp_path: Path) -> None:
    pool = load_pool(write(tmp_path, FULL))
    text = pool.to_toml()
    assert 'api_id = "Qwen2.5-3B-Instruct"' in text
    assert "high_factor = 1.526" in text
    again = load_pool(write(tmp_path, text))
    assert again == pool
    assert again.to_toml() == text


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
positive = st.floats(1e-300, 1e300)
models = st.builds(
    lambda name, e_in, e_out, low, high, words, assumed: PoolModel(
        name, name, e_in, e_out, low, high, "assumed", assumed, f"assumed: {words}"
    ),
    names,
    positive,
    positive,
    st.floats(1e-300, 1),
    st.floats(1, 1e300),
    names,
    st.none() | positive,
)
pools = st.builds(
    Pool,
    names,
    st.lists(models, min_size=2, max_size=4, unique_by=lambda m: m.name).map(tuple),
    st.lists(names).map(tuple),
    st.just("") | names,
)


@given(pools)
def test_any_pool_reads_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, pool: Pool
) -> None:
    path = tmp_path_factory.mktemp("pool") / "pool.toml"
    path.write_bytes(pool.to_toml().encode())
    assert load_pool(path) == pool


def test_energy_of_one_request() -> None:
    energy = LARGE.energy(100, 50)
    assert (energy.value_j, energy.low_j, energy.high_j) == (70, 35, 140)
    assert energy.basis == "assumed"
    assert SMALL.energy(0, 0).high_j == 0


@pytest.mark.parametrize("tokens", [(-1, 0), (0, -1), (math.nan, 0), (0, math.inf)])
def test_energy_of_bad_tokens_is_refused(tokens: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"tokens|value_j"):
        SMALL.energy(*tokens)


def test_joules_of_many_requests_agree_with_one() -> None:
    rng = np.random.default_rng(0)
    prompts, answers = rng.integers(0, 999, 5), rng.integers(0, 999, (5, 2))
    joules = POOL.joules(prompts, answers)
    assert joules.shape == (5, 2)
    for i in range(5):
        for j, model in enumerate(POOL.models):
            expected = model.energy(float(prompts[i]), float(answers[i, j])).value_j
            assert joules[i, j] == pytest.approx(expected)
    per_model = np.repeat(prompts[:, None], 2, axis=1)
    np.testing.assert_array_equal(POOL.joules(per_model, answers), joules)


def test_joules_of_no_request_and_of_unknown_tokens() -> None:
    assert POOL.joules(np.empty(0), np.empty((0, 2))).shape == (0, 2)
    joules = POOL.joules([10], [[np.nan, 1]])
    assert np.isnan(joules[0, 0])
    assert joules[0, 1] == pytest.approx(3)


@pytest.mark.parametrize(
    ("prompts", "answers"),
    [([1], [[1, 2, 3]]), ([1, 2], [[1, 2]]), ([1], [1, 2]), (1, [[1, 2]]), ([[1]], [[1, 2]])],
)
def test_joules_of_wrong_shapes_are_refused(prompts: object, answers: object) -> None:
    with pytest.raises(ValueError, match="shapes"):
        POOL.joules(prompts, answers)  # type: ignore[arg-type]


def test_runs_are_beside_the_pool_file_or_one_folder_up(tmp_path: Path) -> None:
    folder = tmp_path / "pools"
    folder.mkdir()
    (tmp_path / "a.parquet").touch()
    (folder / "b.jsonl").touch()
    pool = load_pool(write(folder, FULL))
    assert [path.resolve() for path in pool.run_paths()] == [
        tmp_path / "a.parquet",
        folder / "b.jsonl",
    ]
    (folder / "a.parquet").touch()
    assert pool.run_paths()[0] == folder / "a.parquet"


def test_runs_of_a_pool_file_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pools"
    folder.mkdir()
    (tmp_path / "a.csv").touch()
    write(folder, "runs = 'a.csv'\n" + two(f"run_name = 'a'\n{OWN}"))
    monkeypatch.chdir(folder)
    assert load_pool("pool.toml").run_paths()[0].samefile(tmp_path / "a.csv")


def test_missing_runs_are_named_when_they_are_asked_for(tmp_path: Path) -> None:
    pool = load_pool(write(tmp_path, FULL))
    with pytest.raises(ConfigError, match=r"'runs': 'a\.parquet' is neither"):
        pool.run_paths()


def test_absolute_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.touch()
    assert replace(POOL, runs=(str(path),)).run_paths() == (path,)


def test_a_pool_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    assert load_pool(write(tmp_path, two(f"run_name = 'a'\n{OWN}"))).name == "pool"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'model': pool 'pool' has 0 model\(s\)"),
        (f"[[model]]\nrun_name = 'a'\n{OWN}", "at least two"),
        ("names = 'x'\n", "unknown key 'names'; did you mean 'name'"),
        ("[[models]]\nrun_name = 'a'\n", "did you mean 'model'"),
        ("name = 1\n" + two(f"run_name = 'a'\n{OWN}"), "'name' must be text"),
        ("runs = 1\n" + two(f"run_name = 'a'\n{OWN}"), "'runs' must be text or a list"),
        ("runs = ['a', 1]\n" + two(f"run_name = 'a'\n{OWN}"), "'runs' must be text or a list"),
        (two(f"run_name = 'b'\n{OWN}"), "run_name 'b' occurs 2 times"),
        (two(f"run_name = 'a'\napi_id = 'b'\n{OWN}"), "api_id 'b' occurs 2 times"),
        (two(OWN), r"\[\[model\]\] 1: 'run_name' is missing"),
        (two("run_name = 'a'\nname = 'a'"), "unknown key 'name'; did you mean 'run_name'"),
        (two("run_name = 'a'\ncatalog = 'a'"), "did you mean 'catalogue'"),
        (two("run_name = 'a'"), r"1 \(a\): its energy is missing.* or 'catalogue'"),
        (two("run_name = 'a'\ncatalogue = 'Lama-3.1-8B'"), "'catalogue': .*did you mean 'Llama"),
        (
            two(f"run_name = 'a'\ncatalogue = 'Llama-3.1-8B'\n{OWN}"),
            "'catalogue' and 'joules_per_completion_token' both",
        ),
        (
            two("run_name = 'a'\njoules_per_completion_token = 1\njoules_per_prompt_token = 1"),
            "needs 'basis' beside it",
        ),
        (
            two("run_name = 'a'\njoules_per_completion_token = 1\nbasis = 'measured'"),
            "needs 'joules_per_prompt_token' beside it",
        ),
        (
            two("run_name = 'a'\n" + OWN.replace("= 0.1", "= 0")),
            "'joules_per_prompt_token' must be a finite number above 0",
        ),
        (
            two("run_name = 'a'\n" + OWN.replace("= 1", "= -1")),
            "'joules_per_completion_token' must be a finite number above 0",
        ),
        (two("run_name = 'a'\n" + OWN.replace("= 1", "= nan")), "above 0, got nan"),
        (two("run_name = 'a'\n" + OWN.replace("= 1", "= '1'")), "must be a number, got '1'"),
        (two("run_name = 'a'\nbasis = ''\n"), "'basis' must be text"),
        (two("run_name = 'a'\ntotal_parameters_b = 0"), "'total_parameters_b' must be"),
        (two("run_name = 'a'\nactive_parameters_b = 1"), "needs 'total_parameters_b'"),
        (
            two(f"run_name = 'a'\nassumed_completion_tokens = -5\n{OWN}"),
            "'assumed_completion_tokens' must be",
        ),
        (two(f"run_name = 'a'\nhigh_factor = 0.5\n{OWN}"), "need 'low_factor' <= 1"),
        ("name = 'x\n", "not valid TOML"),
    ],
)
def test_a_wrong_pool_file_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_pool(path)
    assert str(path) in str(caught.value)


def test_a_catalogue_of_ones_own(tmp_path: Path) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text("model,total_parameters_b\nHouse-9B,9\n")
    path = write(tmp_path, two("run_name = 'a'\ncatalogue = 'house-9b'"))
    assert load_pool(path, Catalogue.read(rows)).models[0].basis == "estimated"
    with pytest.raises(ConfigError, match="not in the catalogue"):
        load_pool(path)


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"api_id": ""},
        {"joules_per_prompt_token": 0.0},
        {"joules_per_completion_token": -1.0},
        {"joules_per_completion_token": math.inf},
        {"low_factor": 0.0},
        {"low_factor": 1.1},
        {"high_factor": 0.9},
        {"assumed_completion_tokens": 0.0},
        {"basis": "estimated"},
        {"basis_text": "relative price"},
    ],
)
def test_a_wrong_model_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="model"):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_a_pool_needs_a_name_and_two_models() -> None:
    with pytest.raises(ConfigError, match="name of the pool is blank"):
        replace(POOL, name="")
    with pytest.raises(ConfigError, match="at least two"):
        replace(POOL, models=(SMALL,))


def test_a_pool_of_the_models_that_the_catalogue_knows() -> None:
    runs = ["gpt-4o", "Meta-Llama-3.1-8B-Instruct", "deepseek-r1", "qwq-999b", "deepseek-r1"]
    pool, unknown = pool_from_models(runs)
    assert pool.names == ("Meta-Llama-3.1-8B-Instruct", "deepseek-r1")
    assert unknown == ("gpt-4o", "qwq-999b")
    assert pool.models[1].api_id == "deepseek-r1"
    assert pool.models[1].basis_text.startswith("measured (B200 only): DeepSeek-R1, ML.ENERGY B200")


@pytest.mark.parametrize("known", [[], ["deepseek-r1"]])
def test_a_pool_of_fewer_than_two_known_models_is_refused(known: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"at least two.*energy of m0, m1, m2, m3, m4 and others"):
        pool_from_models([*known, *(f"m{i}" for i in range(9))])


def test_a_pool_of_models_reads_back(tmp_path: Path) -> None:
    pool, _ = pool_from_models(["gemma-3-27b-it", "llama-4-scout"], name="default")
    assert load_pool(write(tmp_path, pool.to_toml())) == pool
