"""The project as it is packaged: folders, packages, commands, licences."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import re
import tomllib
from pathlib import Path

import pytest

import router

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "docs",
    "eval",
    "mkdocs.yml",
    "models",
    "pyproject.toml",
    "router",
    "tests",
    "training",
}


def test_top_level_is_exactly_what_was_agreed():
    ignored = [
        line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ]
    found = {
        name
        for name in os.listdir(ROOT)
        if not any(fnmatch.fnmatch(name, pattern) for pattern in [*ignored, ".git", "PKG-INFO"])
    }
    found -= {"setup.cfg"} if (ROOT / "PKG-INFO").exists() else set()
    assert found == TOP_LEVEL


def test_every_package_is_listed():
    roots = PYPROJECT["tool"]["setuptools"]["package-dir"]
    found = set()
    for package, folder in roots.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(ROOT / folder).parts]))
    data_only = {"router.models"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | data_only


def test_installed_metadata():
    metadata = importlib.metadata.metadata("wattroute")
    version = PYPROJECT["project"]["version"]
    assert metadata["Version"] == router.__version__ == version == "0.1.0"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or ()) == {
        "all",
        "client",
        "collect",
        "dev",
        "docs",
        "encoders",
        "ray",
        "serve",
        "sweep",
        "train",
    }


def test_core_dependencies_are_what_deciding_needs():
    names = {re.split(r"[<>=~! \[]", need)[0] for need in PYPROJECT["project"]["dependencies"]}
    assert names == {"numpy", "tokenizers", "click"}


def test_only_the_default_data_is_pinned():
    extras = PYPROJECT["project"]["optional-dependencies"]
    needs = [need for name, extra in extras.items() if name != "all" for need in extra]
    assert [need for need in needs if "==" in need or "<" in need] == ["reasoning-gym==0.1.25"]
    assert all(">=" in need for need in needs if "==" not in need)


COMMANDS = PYPROJECT["project"]["entry-points"]["wattroute.commands"]


@pytest.mark.parametrize("name", COMMANDS)
def test_training_commands_are_registered(name: str):
    (entry,) = importlib.metadata.entry_points(group="wattroute.commands", name=name)
    # "import" can be the name of a command but not of a module
    module = "import_runs" if name == "import" else name.replace("-", "_")
    assert entry.value == f"router.training.commands.{module}:{module}"
    assert entry.load().name == name


def test_console_script_is_registered():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="wattroute")
    assert entry.load().name == "wattroute"


def test_packages_are_typed():
    assert (ROOT / "router" / "py.typed").exists()


def test_licence_and_notice():
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for source in ("all-MiniLM-L6-v2", "reasoning-gym-eval", "ML.ENERGY"):
        assert source in notice


def test_changelog_has_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"[{PYPROJECT['project']['version']}]" in changelog


TEXT_FILES = [
    path
    for folder in (".ci", "docs", "eval", "models", "router", "tests", "training")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in {"", ".html", ".in", ".json", ".md", ".py", ".toml"}
    if "__pycache__" not in path.parts
]


@pytest.mark.parametrize("path", TEXT_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_machine_paths(path: Path):
    text = path.read_text(encoding="utf-8")
    found = [place for place in ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/") if place in text]
    assert found == []
