"""Stored routers of every released format are still read and decide as they did."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from router import Router
from router.artifact import FORMAT_VERSION, read_artifact, write_artifact
from router.errors import ArtifactError

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FOLDERS = sorted(GOLDEN.glob("format-*"))
# Format 1 was never released: it was written and replaced before 0.1.0.
NOT_READ = (1, FORMAT_VERSION + 1)


def expected(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "decisions.json").read_text("utf-8"))
    return rows


def test_the_current_format_has_a_golden_router() -> None:
    assert GOLDEN / f"format-{FORMAT_VERSION}" in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_router_is_small_and_of_its_format(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 250_000
    manifest = json.loads((folder / "router" / "manifest.json").read_text("utf-8"))
    assert folder.name == f"format-{manifest['format_version']}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_router_decides_as_it_did(folder: Path) -> None:
    router = Router.load(folder / "router")
    rows = expected(folder)
    for row in rows:
        found = router.route(row["prompt"], embedding=row["embedding"], **row["arguments"])
        assert found.model == row["model"], row
        assert list(found.ranking) == row["ranking"]
        assert found.reference == row["reference"]
        assert found.certificate is not None
        assert found.certificate.holds == row["certified"]
        assert found.price == pytest.approx(row["price"])
        assert found.novelty == pytest.approx(row["novelty"], abs=1e-6)
        for candidate in found.candidates:
            stored = row["candidates"][candidate.model]
            assert candidate.probability == pytest.approx(stored["probability"], abs=1e-5)
            assert candidate.completion_tokens == pytest.approx(stored["completion_tokens"], 1e-4)
            joules = candidate.energy_j
            ends = [joules.low_j, joules.value_j, joules.high_j]
            assert ends == pytest.approx(stored["energy_j"], rel=1e-4)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_decisions_are_of_every_kind(folder: Path) -> None:
    rows = expected(folder)
    assert {row["model"] for row in rows} == set(rows[0]["candidates"])
    assert {row["certified"] for row in rows} == {True, False}
    assert {row["novelty"] is None for row in rows} == {True, False}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_has_every_part_of_an_artifact(folder: Path) -> None:
    artifact = read_artifact(folder / "router")
    assert artifact.guard is not None
    assert artifact.calibration is not None
    assert artifact.golden
    assert artifact.lineage["prompt_hashes"]


def test_the_current_format_is_written_back_as_it_was(tmp_path: Path) -> None:
    stored = GOLDEN / f"format-{FORMAT_VERSION}" / "router"
    card = (stored / "README.md").read_text("utf-8")
    write_artifact(read_artifact(stored), tmp_path / "again", card)
    again, before = (
        json.loads((folder / "manifest.json").read_text("utf-8"))
        for folder in (tmp_path / "again", stored)
    )
    # the archive's compression is the library's own
    for manifest in (again, before):
        del manifest["files"]["model.npz"], manifest["sha256"]
    assert again == before


@pytest.mark.parametrize("version", [*NOT_READ, 99, "2", None])
def test_other_versions_are_refused_with_advice(tmp_path: Path, version: object) -> None:
    folder = tmp_path / "router"
    shutil.copytree(GOLDEN / f"format-{FORMAT_VERSION}" / "router", folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["format_version"] = version
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtifactError) as caught:
        Router.load(folder)
    message = str(caught.value)
    assert re.search(rf"format version {version!r}, this release reads {FORMAT_VERSION}", message)
    assert "train the router again or install the release that wrote it" in message


def test_formats_that_are_not_read_have_no_folder() -> None:
    assert not [version for version in NOT_READ if (GOLDEN / f"format-{version}").exists()]
