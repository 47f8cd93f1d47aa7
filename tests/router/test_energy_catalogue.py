from __future__ import annotations

from pathlib import Path

import pytest

from router.energy import Architecture, Catalogue, CatalogueEntry, request_energy
from router.energy.formula import joules_per_completion_token
from router.errors import ConfigError


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.default()


def write(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_row_is_complete(catalogue: Catalogue) -> None:
    assert len(catalogue) == 54
    for entry in catalogue:
        assert entry.joules_per_completion_token > entry.joules_per_prompt_token > 0
        assert 0 < entry.low_factor < 1 < entry.high_factor
        assert entry.source
        assert entry.date in {"2026-02", "2026-11"}
        assert entry.context_window is not None
        assert entry.context_window >= 8192
        assert entry.architecture is not None
        assert entry.architecture.total_parameters_b == entry.total_parameters_b
        assert entry.architecture.active_parameters_b == entry.active_parameters_b


def test_no_two_rows_share_a_name(catalogue: Catalogue) -> None:
    names = [name.casefold() for entry in catalogue for name in entry.names]
    # A model's own id and name may be the same.
    assert len(set(names)) == len(
        {(n, e.name) for e in catalogue for n in map(str.casefold, e.names)}
    )
    for entry in catalogue:
        for name in entry.names:
            assert catalogue.match(name) is entry, name


def test_it_is_read_once(catalogue: Catalogue) -> None:
    assert Catalogue.default() is catalogue


def test_the_width_follows_the_basis(catalogue: Catalogue) -> None:
    def width(name: str) -> float:
        entry = catalogue.find(name)
        return entry.high_factor / entry.low_factor

    measured, estimated, other_gpu = map(width, ("Llama-3.1-8B", "Qwen2.5-7B", "DeepSeek-R1"))
    assert measured < estimated < other_gpu
    assert catalogue.find("DeepSeek-R1").basis == "measured"
    assert catalogue.find("DeepSeek-R1").basis_text == "measured (B200 only)"
    # measured on another GPU although H100 rows exist
    assert width("Qwen3-Coder-30B-A3B") == other_gpu


@pytest.mark.parametrize(
    "name",
    ["Llama-3.3-70B", "llama-3.3-70b", "META-LLAMA/llama-3.3-70b-INSTRUCT", " Llama-3.3-70B "],
)
def test_a_model_is_found_by_name_and_ids_in_any_case(catalogue: Catalogue, name: str) -> None:
    assert catalogue.find(name).hf_id == "meta-llama/Llama-3.3-70B-Instruct"


def test_oxlo_ids_are_found(catalogue: Catalogue) -> None:
    for oxlo_id, name in {
        "gemma-27b": "Gemma-3-27B",
        "mistral-24b": "Mistral-Small-24B",
        "llama-4-maverick-17b": "Llama-4-Maverick",
        "deepseek-r1-0528": "DeepSeek-R1",
    }.items():
        assert catalogue.find(oxlo_id).name == name


def test_a_miss_says_what_to_do(catalogue: Catalogue) -> None:
    with pytest.raises(ConfigError) as caught:
        catalogue.find("Lama-3.3-70B")
    assert "did you mean 'Llama-3.3-70B'?" in str(caught.value)
    assert "give its parameters or its own joules per token" in str(caught.value)


@pytest.mark.parametrize(
    ("run_name", "name"),
    [
        ("gemma-3-27b-it", "Gemma-3-27B"),
        ("Meta-Llama-3.1-8B-Instruct", "Llama-3.1-8B"),
        ("mistral-small-3.1-24b-instruct", "Mistral-Small-24B"),
        ("Qwen2.5-7B-Instruct", "Qwen2.5-7B"),
        ("qwen-2.5-7b", "Qwen2.5-7B"),
        ("deepseek-r1", "DeepSeek-R1"),
        ("llama-4-maverick", "Llama-4-Maverick"),
        ("llama_3_3_70b (run 05)", "Llama-3.3-70B"),
        ("Llama-3.1-405B-Inst-fp8@together", "Llama-3.1-405B"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B"),
        ("@cf/meta/llama-3.1-8b-instruct-fp8", "Llama-3.1-8B"),
        ("meta-llama/llama-3.3-70b-instruct:free", "Llama-3.3-70B"),
        ("qwen3:32b", "Qwen3-32B"),
        ("qwq-32b", "Qwen2.5-32B"),
        ("Mistral-Nemo-Instruct-2407", "Mistral-Nemo-12B"),
    ],
)
def test_names_from_runs_are_matched(catalogue: Catalogue, run_name: str, name: str) -> None:
    entry = catalogue.match(run_name)
    assert entry is not None
    assert entry.name == name


@pytest.mark.parametrize(
    "run_name",
    [
        "",
        " ",
        "instruct",
        "(run 5)",
        "llama",
        "Llama-3.1",
        "Llama-3.1-9B-Instruct",
        "Qwen2.5-3B-Instruct",
        "Qwen2.5-1.5B",
        "Qwen2.5-15B",
        "gemma-3n-27b",
        "DeepSeek-V3.1",
        "deepseek-r1-distill-qwen-1.5b",
        "Phi-4-Q8_0",
        "gpt-4-1106-preview",
        "gpt-oss",
        "Mistral-Large-2",
        "Llama-3.1-8B-Nemotron",
    ],
)
def test_another_size_or_version_is_never_guessed(catalogue: Catalogue, run_name: str) -> None:
    assert catalogue.match(run_name) is None


def test_a_new_model_from_its_own_joules(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(
        tmp_path,
        "model,joules_per_completion_token,joules_per_prompt_token,basis,source,date,oxlo_ids\n"
        "House-9B,0.2,0.03,measured: our rack,wall meter,2026-10,house-9b house\n",
    )
    extended = Catalogue.read(path)
    entry = extended.find("HOUSE")
    assert (entry.name, entry.basis, entry.basis_text) == (
        "House-9B",
        "measured",
        "measured: our rack",
    )
    assert (entry.source, entry.date) == ("wall meter", "2026-10")
    assert (entry.low_factor, entry.high_factor) == (0.769, 1.3)
    assert request_energy(entry, 100, 10).value_j == pytest.approx(5)
    with pytest.raises(ConfigError, match=r"House-9B.*batch 8"):
        request_energy(entry, 100, 10, 8)
    assert len(extended) == len(catalogue) + 1
    assert catalogue.match("House-9B") is None


def test_a_new_model_from_its_parameters_in_toml(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[[model]]\nmodel = 'House-MoE'\ntotal_parameters_b = 100\nactive_parameters_b = 10.0\n"
        "context_window = 32768\ndate = 2026-10-01\naliases = ['hm', 'house-moe-v2']\n",
        "mine.toml",
    )
    entry = Catalogue.read(path).find("hm")
    expected = Architecture.from_parameters(100, 10)
    assert entry.architecture == expected
    assert entry.joules_per_completion_token == joules_per_completion_token(expected)
    assert (entry.basis, entry.date, entry.context_window) == ("estimated", "2026-10-01", 32768)
    assert entry.source == str(path)
    assert entry.high_factor > 1.6


def test_a_row_changes_what_it_gives_and_keeps_the_rest(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    path = write(
        tmp_path,
        "model,joules_per_completion_token,joules_per_prompt_token,basis\n"
        "qwen/qwen3-32b,0.5,0.1,measured\n",
    )
    extended = Catalogue.read(path)
    assert len(extended) == len(catalogue)
    old, new = catalogue.find("Qwen3-32B"), extended.find("qwen-3-32b")
    assert (new.name, new.hf_id, new.architecture) == (old.name, old.hf_id, old.architecture)
    assert new.joules_per_completion_token == 0.5
    assert new.source == str(path)


def test_new_parameters_of_a_known_model_change_its_energy(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    path = write(tmp_path, "model,total_parameters_b\nQwen3-235B-A22B,120\n")
    entry = Catalogue.read(path).find("Qwen3-235B-A22B")
    assert entry.active_parameters_b is None
    assert entry.architecture == Architecture.from_parameters(120)
    assert entry.basis == "estimated"


def test_only_the_width_of_a_known_model_changes(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(tmp_path, "model,high_factor\nQwen3-32B,3\n")
    old, new = catalogue.find("Qwen3-32B"), Catalogue.read(path).find("Qwen3-32B")
    assert (new.low_factor, new.high_factor) == (old.low_factor, 3)
    assert new.joules_per_completion_token == old.joules_per_completion_token


def test_a_row_for_an_alias_is_a_model_of_its_own(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(tmp_path, "model,total_parameters_b\nQwQ-32B,33\n")
    extended = Catalogue.read(path)
    assert extended.find("qwq-32b").total_parameters_b == 33
    assert extended.match("Qwen/QwQ-32B") is extended.find("qwq-32b")
    assert extended.find("Qwen2.5-32B") == catalogue.find("Qwen2.5-32B")


def test_catalogues_extend_each_other(tmp_path: Path) -> None:
    first = Catalogue.read(write(tmp_path, "model,total_parameters_b\nA-1,1\n", "a.csv"))
    both = Catalogue.read(write(tmp_path, "model,total_parameters_b\nB-2,2\n", "b.csv"), first)
    assert both.find("a-1").total_parameters_b == 1
    assert both.find("b-2").total_parameters_b == 2


def test_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffmodel,total_parameters_b\n\nHouse-9B, 9 \n\n")
    assert Catalogue.read(path).find("House-9B").total_parameters_b == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("model,size\nX,1\n", "row 1: unknown key 'size'"),
        ("model,joules_per_token\nX,1\n", "did you mean 'joules_per_prompt_token'"),
        ("total_parameters_b\n8\n", "row 1: 'model' is missing"),
        ("model\nX\n", "row 1: its energy is missing"),
        ("model,total_parameters_b\nX,abc\n", "row 1: 'total_parameters_b' must be a number"),
        ("model,total_parameters_b\nX,0\n", "'total_parameters_b' must be a finite number above 0"),
        ("model,total_parameters_b\nX,nan\n", "must be a finite number above 0"),
        ("model,total_parameters_b\nX,-8\n", "must be a finite number above 0"),
        ("model,total_parameters_b,active_parameters_b\nX,8,9\n", "row 1: .*active <= total"),
        ("model,active_parameters_b\nX,8\n", "needs 'total_parameters_b' beside it"),
        ("model,precision\nQwen3-32B,fp8\n", "'precision' needs 'total_parameters_b'"),
        ("model,total_parameters_b,precision\nX,8,int3\n", "row 1: precision must be one of"),
        ("model,joules_per_completion_token\nX,1\n", "needs 'joules_per_prompt_token', 'basis'"),
        ("model,basis\nQwen3-32B,measured\n", "needs 'joules_per_completion_token'"),
        (
            "model,total_parameters_b,low_factor\nX,8,1.5\n",
            "need 'low_factor' <= 1 <= 'high_factor'",
        ),
        ("model,total_parameters_b\nX,8\nx,9\n", "row 2: model 'x' occurs twice"),
        ("model,total_parameters_b\nX,8\n\nY,8,1\n", "row 3: 3 cells under 2 columns"),
        ("model,model\nX,X\n", "column 'model' occurs twice"),
        ('model,basis\n"X,8\n', "not a CSV file"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        Catalogue.read(path)
    assert "mine.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[models]]\n", "did you mean 'model'"),
        ("model = 'X'\n", r"must be written as \[\[model\]\]"),
        ("[[model]]\nmodel = 8\n", "'model' must be text"),
        ("[[model]]\nmodel = 'X'\ntotal_parameters_b = '8'\n", "must be a number, got '8'"),
        ("[[model]]\nmodel = 'X'\ntotal_parameters_b = true\n", "must be a number, got True"),
        ("[[model]\n", "not valid TOML"),
    ],
)
def test_wrong_toml_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Catalogue.read(write(tmp_path, text, "mine.toml"))
    assert "mine.toml" in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Catalogue.read(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"model\n\xff\xfe\n")
    with pytest.raises(ConfigError, match="not a CSV file in UTF-8"):
        Catalogue.read(tmp_path / "binary.csv")


def test_entries_are_frozen(catalogue: Catalogue) -> None:
    entry = catalogue.find("Qwen3-32B")
    assert isinstance(entry, CatalogueEntry)
    with pytest.raises(AttributeError):
        entry.name = "x"  # type: ignore[misc]
