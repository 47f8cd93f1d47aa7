"""Releases: the tag that is refused, and what the workflows run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import check_release

ROOT = Path(__file__).resolve().parent.parent


def test_a_dated_version_is_released_under_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.0] - 2026-12-01\n\n- Words.\n")
    assert check_release.tag_problem("v1.2.0", "1.2.0") is None


@pytest.mark.parametrize(
    ("tag", "entry", "problem"),
    [
        ("1.2.0", "## [1.2.0] - 2026-12-01", "the tag is 1.2.0"),
        ("v1.2.1", "## [1.2.0] - 2026-12-01", "the tag is v1.2.1, the version"),
        ("v1.2.0", "## [1.2.0] - unreleased", "no dated entry for 1.2.0"),
        ("v1.2.0", "## [1x2.0] - 2026-12-01", "no dated entry"),
        ("v1.2.0", "", "no dated entry"),
    ],
)
def test_a_tag_that_cannot_be_released(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tag: str,
    entry: str,
    problem: str,
) -> None:
    monkeypatch.setattr(check_release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{entry}\n")
    assert problem in check_release.tag_problem(tag, "1.2.0")


@pytest.mark.parametrize("arguments", [["--tag", "v0.0.0"], ["--out", "."]])
def test_it_stops_before_it_builds(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, ".ci/check_release.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_ci_runs_every_check() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert "- run: .ci/run\n" in text
    assert "make test-oldest" in text


def test_only_a_tag_is_published_and_without_a_stored_secret() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    assert re.search(r'^on:\n  push:\n    tags: \["v\*"\]\n\n', text, re.MULTILINE)
    build, publish = text.split("  publish:\n")
    assert ".ci/run" in build
    assert 'check_release.py --tag "$GITHUB_REF_NAME"' in build
    assert "id-token" not in build
    assert "needs: build" in publish
    assert "id-token: write" in publish
    assert "secrets." not in text


def test_commits_are_checked_by_the_tools_of_ci() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    entries = re.findall(r"entry: (.*)", text)
    assert [entry.split()[:2] for entry in entries] == [
        [".venv/bin/ruff", "check"],
        [".venv/bin/ruff", "format"],
        ["sh", ".ci/typecheck"],
    ]
    assert "repo: local" in text
    assert (ROOT / ".ci/typecheck").exists()
