from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.training.ablation import ablation_variants


@pytest.fixture
def few_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"without clusters", "mean lengths"}
    monkeypatch.setattr(
        "router.training.ablation.ablation_variants",
        lambda n_models: tuple(v for v in ablation_variants(n_models) if v.name in kept),
    )


@pytest.fixture
def two_pools(here) -> tuple[str, str]:
    """The pool of the folder under two names, each with the runs in it."""
    names = []
    for name in ("one", "two"):
        text = Path("pool.toml").read_text(encoding="utf-8")
        text = text.replace('name = "three"', f'name = "{name}"\nruns = ["runs.csv"]', 1)
        Path(f"{name}.toml").write_text(text, encoding="utf-8")
        names.append(f"{name}.toml")
    return names[0], names[1]


@pytest.mark.usefixtures("few_variants")
def test_tables_of_two_pools(here, two_pools):
    Path("docs").mkdir()
    Path("docs/ablation.md").symlink_to("page.md")
    result = here.run("ablate", *two_pools, "--seeds", 1, "--out", "docs/ablation.md")
    assert [path.name for path in Path("docs").iterdir() if not path.is_symlink()] == ["page.md"]
    assert "router" in result.stdout
    assert "Change out of fold" in result.stdout
    page = (here.folder / "docs" / "ablation.md").read_text(encoding="utf-8")
    assert "# What each part of the router is worth" in page
    assert "nothing may be chosen by them" in page
    assert "wattroute ablate one.toml two.toml --seeds 1 --seed 0" in page
    assert "| without clusters |" in page
    words = ("ablate", two_pools[0], "--seeds", 1, "--json", "--out", "/dev/null")
    shown = json.loads(here.run(*words).stdout)
    assert Path("/dev/null").is_char_device()
    assert [pool["pool"] for pool in shown] == ["one"]
    assert {"all parts", "without clusters", "mean lengths"} <= set(shown[0]["variants"])


def test_mistakes_are_one_line(here, two_pools):
    assert "names no runs" in here.fails("ablate", "pool.toml")
    assert "no.toml" in here.fails("ablate", "no.toml")
    assert "cannot be made" in here.fails("ablate", two_pools[0], "--out", "runs.csv/a.md")
    assert here.run("ablate", code=2).stdout == ""


def test_what_is_read_is_not_overwritten(here, two_pools, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr("router.training.commands.ablate.run_ablation")  # refused before it
    before = {name: Path(name).read_bytes() for name in (*two_pools, "runs.csv")}
    for name in before:
        assert "is a file that is read" in here.fails("ablate", *two_pools, "--out", f"./{name}")
    assert "is a folder" in here.fails("ablate", *two_pools, "--out", "router")
    assert {name: Path(name).read_bytes() for name in before} == before


@pytest.mark.usefixtures("few_variants")
def test_tables_that_cannot_be_written_are_shown(here, two_pools, monkeypatch: pytest.MonkeyPatch):
    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refused)
    result = here.run("ablate", two_pools[0], "--seeds", 1, "--out", "no.md", code=2)
    assert "Change out of fold" in result.stdout
    assert "error: no.md cannot be written: Permission denied" in result.stderr


def test_help_has_an_example(here):
    shown = here.run("ablate", "--help").stdout
    assert "  wattroute ablate pool.toml" in shown.partition("Examples:")[2]
