from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.artifact import FORMAT_VERSION, Artifact, read_artifact, write_artifact
from router.errors import ArtifactError, ConfigError
from router.model import RouterModel

FILES = ["README.md", "manifest.json", "model.npz"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sealed(manifest: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest whose own hash is right."""
    manifest = {key: value for key, value in manifest.items() if key != "sha256"}
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    return json.dumps(manifest | {"sha256": sha256(text.encode())}).encode()


def reseal(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest as one would who knows how its hashes are made."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_bytes())
    change(manifest)
    file.write_bytes(sealed(manifest))


def repack(folder: Path, data: bytes) -> None:
    """Put other bytes in the place of the arrays, with the right hashes."""
    (folder / "model.npz").write_bytes(data)
    reseal(folder, lambda manifest: manifest["files"].update({"model.npz": sha256(data)}))


def packed(arrays: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def assert_same(found: Artifact, expected: Artifact) -> None:
    arrays = expected.model.to_arrays()
    for name, array in found.model.to_arrays().items():
        assert array.tobytes() == arrays[name].tobytes(), name
    assert replace(found, model=expected.model) == expected


def test_what_is_written_is_read(stored: Path, artifact: Artifact):
    assert sorted(contents(stored)) == FILES
    assert_same(read_artifact(stored), artifact)
    assert_same(read_artifact(str(stored)), artifact)


def test_the_same_artifact_gives_the_same_bytes(
    artifact: Artifact, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    write_artifact(artifact, tmp_path / "later", "# A small router\n")
    write_artifact(read_artifact(stored), tmp_path / "again", "# A small router\n")
    assert contents(tmp_path / "later") == contents(stored)
    assert contents(tmp_path / "again") == contents(stored)


def test_the_arrays_are_a_plain_npz(stored: Path, artifact: Artifact):
    with np.load(stored / "model.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == set(artifact.model.to_arrays())


def test_the_manifest_says_what_it_is(stored: Path):
    manifest = json.loads((stored / "manifest.json").read_bytes())
    assert manifest["format_version"] == FORMAT_VERSION
    for name in ("README.md", "model.npz"):
        assert manifest["files"][name] == sha256((stored / name).read_bytes())
    assert (stored / "manifest.json").read_bytes().isascii()


def test_a_router_is_replaced(stored: Path, artifact: Artifact):
    write_artifact(artifact, stored, "# Another card\n")
    assert (stored / "README.md").read_text() == "# Another card\n"
    read_artifact(stored)
    assert [entry.name for entry in stored.parent.iterdir()] == ["stored"]


def test_a_damaged_router_is_replaced(stored: Path, artifact: Artifact):
    (stored / "manifest.json").unlink()
    write_artifact(artifact, stored, "")
    read_artifact(stored)


def test_folders_are_made_and_empty_ones_used(artifact: Artifact, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        write_artifact(artifact, folder, "")
        assert_same(read_artifact(folder), artifact)


def test_the_current_folder_can_be_named(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    write_artifact(artifact, "mine", "")
    assert_same(read_artifact("mine"), artifact)


def test_a_link_to_a_router_stays_a_link(stored: Path, artifact: Artifact, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(stored)
    write_artifact(artifact, link, "# Through the link\n")
    assert link.is_symlink()
    assert (stored / "README.md").read_text() == "# Through the link\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_it_as_the_umask_says(artifact: Artifact, tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_artifact(artifact, tmp_path / "shared", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "shared" / "model.npz").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "names",
    [
        ["thesis.doc"],
        ["manifest.json", "README.md"],
        ["manifest.json", "index.js"],
        [*FILES, "thesis.doc"],
        [".git"],
    ],
)
def test_a_folder_with_something_else_is_refused(
    artifact: Artifact, tmp_path: Path, names: list[str]
):
    for name in names:
        (tmp_path / name).write_text("precious")
    with pytest.raises(ConfigError, match=r"something else than a router.*choose another folder"):
        write_artifact(artifact, tmp_path, "")
    assert contents(tmp_path) == dict.fromkeys(sorted(names), b"precious")


def test_a_file_in_the_place_of_the_folder_is_refused(artifact: Artifact, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ConfigError, match="is a file: choose a folder"):
        write_artifact(artifact, file, "")
    with pytest.raises(ConfigError, match=r"cannot be written .*: choose another folder"):
        write_artifact(artifact, file / "below", "")
    assert file.read_text() == "precious"


@pytest.mark.parametrize("fails_at", range(1, 8))
def test_a_failure_in_the_middle_leaves_the_old_router(
    stored: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, fails_at: int
):
    before = contents(stored)
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == fails_at:
                raise OSError(28, "No space left on device")
            return function(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(f"router.artifact.os.{name}", counted(getattr(os, name)))
    if fails_at > 5:  # three files, two moves: nothing fails
        write_artifact(artifact, stored, "# Other\n")
        assert (stored / "README.md").read_text() == "# Other\n"
    else:
        with pytest.raises(ConfigError, match=r"cannot be written .No space left on device"):
            write_artifact(artifact, stored, "# Other\n")
        assert contents(stored) == before
    assert [entry.name for entry in stored.parent.iterdir()] == ["stored"]


def test_an_interruption_in_the_middle_leaves_the_old_router(
    stored: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
):
    before = contents(stored)
    move = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if target == stored and source.name == "new":
            raise KeyboardInterrupt
        move(source, target)

    monkeypatch.setattr("router.artifact.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(artifact, stored, "# Other\n")
    assert contents(stored) == before
    assert [entry.name for entry in stored.parent.iterdir()] == ["stored"]


def test_the_old_router_is_kept_even_where_it_cannot_be_moved_back(
    stored: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
):
    before = contents(stored)
    move = os.replace

    def once(source: Path, target: Path) -> None:
        if target == stored:
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr("router.artifact.os.replace", once)
    with pytest.raises(ConfigError, match="Input/output error"):
        write_artifact(artifact, stored, "# Other\n")
    (kept,) = stored.parent.glob(".stored-*/old")
    assert contents(kept) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(
    artifact: Artifact, tmp_path: Path, value: float
):
    spoilt = np.array([1.0, value, 1.0])
    model = replace(artifact.model, token_factor=spoilt)
    with pytest.raises(ArtifactError, match="token_factor"):
        write_artifact(replace(artifact, model=model), tmp_path / "new", "")
    with pytest.raises(ArtifactError, match="not finite"):
        write_artifact(replace(artifact, lineage={"figure": value}), tmp_path / "new", "")
    assert not list(tmp_path.iterdir())


def refused(folder: Path) -> str:
    """Return the message of the error, which must say what to do."""
    with pytest.raises(ArtifactError) as caught:
        read_artifact(folder)
    message = str(caught.value)
    assert any(
        advice in message
        for advice in ("train it again or fetch it again", "give the folder", "train the router")
    ), message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_byte_is_noticed(stored: Path, name: str):
    file = stored / name
    data = file.read_bytes()
    for position in {*range(0, len(data), max(len(data) // 60, 1)), len(data) - 2}:
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert str(stored) in refused(stored)
    file.write_bytes(data)
    read_artifact(stored)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_noticed(stored: Path, name: str, kept: float):
    file = stored / name
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * (len(data) - 2))])
    assert name in refused(stored)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(stored: Path, name: str):
    (stored / name).unlink()
    assert name in refused(stored)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file(stored: Path, name: str):
    (stored / name).unlink()
    (stored / name).mkdir()
    assert name in refused(stored)


def test_folders_without_a_router(tmp_path: Path):
    assert "manifest.json is missing" in refused(tmp_path)
    assert "manifest.json is missing" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_not_a_router(stored: Path, name: str):
    assert "is a file" in refused(stored / name)
    assert "below" in refused(stored / name / "below")


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, str(FORMAT_VERSION), None, [1]])
def test_another_format_version(stored: Path, version: Any):
    reseal(stored, lambda manifest: manifest.update(format_version=version))
    message = refused(stored)
    assert repr(version) in message
    assert "install the release that wrote it" in message


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'["format_version"]',
        b'"manifest"',
        b"1",
        b"null",
        b"",
        b"{",
        b"\xff\xfe{",
        b"[" * 200_000,
        b'{"format_version": 1}',
        b'{"format_version": 1, "sha256": null}',
        b'{"format_version": 1, "n": 1' + b"0" * 5000 + b"}",
    ],
)
def test_manifests_that_are_none(stored: Path, data: bytes):
    (stored / "manifest.json").write_bytes(data)
    refused(stored)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_manifests_with_numbers_that_are_not_json(stored: Path, constant: str):
    file = stored / "manifest.json"
    file.write_text(file.read_text().replace('"reference": 2', f'"reference": {constant}'))
    assert f"{constant} is not a number" in refused(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"reference": -1},
        {"reference": 3},
        {"reference": "best"},
        {"reference": 1e400},
        {"token_low": [0.5]},
        {"token_high": None},
        {"assumed_tokens": [True, False, True, False]},
        {"golden": [["Why?", [0.5, 0.5]]]},
        {"golden": [["Why?"]]},
        {"golden": [["Why?", ["high", 0.5, 0.5]]]},
        {"pool": {"name": "empty", "models": []}},
        {"pool": []},
        {"dial": {}},
        {"dial": None},
        {"features": {"encoder": "letters", "n_buckets": 63}},
        {"features": {"unheard_of": 1}},
        {"lineage": 7},
        {"files": {}},
        {"files": None},
        {"files": ["README.md", "model.npz"]},
    ],
)
def test_entries_that_cannot_be(stored: Path, change: dict[str, Any]):
    reseal(stored, lambda manifest: manifest.update(change))
    refused(stored)


@pytest.mark.parametrize("key", ["sha256", "pool", "dial", "golden", "fingerprint", "lineage"])
def test_entries_that_are_missing(stored: Path, key: str):
    file = stored / "manifest.json"
    manifest = json.loads(file.read_bytes())
    del manifest[key]
    file.write_bytes(json.dumps(manifest).encode() if key == "sha256" else sealed(manifest))
    assert key in refused(stored)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "more.npz"])
def test_other_files_in_the_manifest_are_not_followed(
    stored: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (stored.parent / "x").write_bytes(b"outside")
    reseal(stored, lambda manifest: manifest["files"].update({name: sha256(b"outside")}))
    opened = []
    read_bytes = Path.read_bytes

    def recorded(path: Path) -> bytes:
        opened.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", recorded)
    assert name in refused(stored)
    assert opened == ["manifest.json"]


def test_arrays_in_another_place_are_not_followed(stored: Path):
    shutil.move(stored / "model.npz", stored.parent / "model.npz")

    def point_outside(manifest: dict[str, Any]) -> None:
        manifest["files"]["../model.npz"] = manifest["files"].pop("model.npz")

    reseal(stored, point_outside)
    assert "../model.npz" in refused(stored)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["intercept", "stranger"])
def test_pickled_objects_are_refused_and_not_loaded(
    stored: Path, artifact: Artifact, tmp_path: Path, name: str
):
    trace = tmp_path / "trace"
    arrays = artifact.model.to_arrays() | {name: np.array([Bomb(trace)], object)}
    repack(stored, packed(arrays))
    assert "not a plain array file" in refused(stored)
    assert not trace.exists()


def test_a_pickle_in_the_place_of_the_arrays(stored: Path):
    repack(stored, b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00K\x01.")
    assert "not a plain array file" in refused(stored)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", ["intercept", "ngram_weights", "token_factor"])
def test_arrays_that_are_not_finite_are_refused(
    stored: Path, artifact: Artifact, name: str, value: float
):
    arrays = artifact.model.to_arrays()
    arrays[name] = arrays[name].copy()
    arrays[name].flat[1] = value
    repack(stored, packed(arrays))
    assert name in refused(stored)


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([1j]), np.array([1], "datetime64[s]")]
)
def test_arrays_that_are_not_numbers_are_refused(stored: Path, artifact: Artifact, array: Any):
    repack(stored, packed(artifact.model.to_arrays() | {"intercept": array}))
    assert "intercept" in refused(stored)


def test_a_missing_array_is_named(stored: Path, artifact: Artifact):
    arrays = artifact.model.to_arrays()
    del arrays["dense_weights"]
    repack(stored, packed(arrays))
    assert "dense_weights" in refused(stored)


def test_arrays_of_other_shapes_are_refused(stored: Path, artifact: Artifact):
    arrays = artifact.model.to_arrays()
    repack(stored, packed(arrays | {"dense_weights": arrays["dense_weights"].T}))
    assert "dense_weights" in refused(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"price": [0.1]},
        {"price": [-0.1] * 5},
        {"shrinkage": [1.5] * 5},
        {"quality": ["good"] * 5},
        {"energy": [-1.0] * 5},
        {"mean_quality": [0.5]},
        {"mean_energy_j": []},
        {"n_prompts": None},
    ],
)
def test_dials_that_cannot_be(stored: Path, change: dict[str, Any]):
    reseal(stored, lambda manifest: manifest["dial"].update(change))
    refused(stored)


def test_a_model_of_another_pool_is_refused(stored: Path):
    reseal(stored, lambda manifest: manifest["pool"]["models"].pop())
    assert "2 models" in refused(stored)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 not a zip",
        zipped({}),
        zipped({"intercept": b"no npy"}),
        zipped({"intercept.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'"}),
        zipped({"intercept.npy": b"\x93NUMPY\x09\x00"}),
        packed({"a": np.ones(3)})[:-30],
    ],
)
def test_archives_that_are_broken(stored: Path, data: bytes):
    repack(stored, data)
    refused(stored)


def test_a_single_array_in_the_place_of_the_archive(stored: Path):
    buffer = BytesIO()
    np.save(buffer, np.ones(3))
    repack(stored, buffer.getvalue())
    refused(stored)


def test_arrays_of_another_precision_are_converted(stored: Path, artifact: Artifact):
    arrays = {
        name: array.astype(float) if array.dtype == np.float32 else array
        for name, array in artifact.model.to_arrays().items()
    }
    repack(stored, packed(arrays))
    assert_same(read_artifact(stored), artifact)


def test_the_same_bytes_in_another_process(stored: Path, tmp_path: Path):
    code = (
        "import sys\nfrom router.artifact import read_artifact, write_artifact\n"
        "write_artifact(read_artifact(sys.argv[1]), sys.argv[2], '# A small router\\n')"
    )
    again = tmp_path / "again"
    subprocess.run(
        [sys.executable, "-c", code, str(stored), str(again)],
        check=True,
        env=dict(os.environ, PYTHONHASHSEED="7"),
    )
    assert contents(again) == contents(stored)


def test_a_model_equals_what_it_was_stored_as(stored: Path, model: RouterModel):
    found = read_artifact(stored).model
    assert found.links[0].columns == model.links[0].columns
    assert [link.logistic for link in found.links] == [True, False]
    assert found.neighbours is not None
    assert found.neighbours.neighbours == (3, 50)
