"""The stored router: a folder that is loaded without running code from it.

``manifest.json``
    format version, feature settings and fingerprint, pool, dial, quantiles, lineage, golden
    scores, the SHA-256 of every other file and of the manifest's own content
``model.npz``
    arrays, read with pickles refused
``README.md``
    the model card
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from router.calibration import Calibration
from router.dial import Dial
from router.errors import ArtifactError, ConfigError
from router.features import FeatureSpec
from router.model import RouterModel
from router.novelty import NoveltyGuard
from router.pool import Pool, PoolModel

__all__ = ["FORMAT_VERSION", "Artifact", "artifact_digest", "read_artifact", "write_artifact"]

FORMAT_VERSION = 2
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.npz"
CARD_FILE = "README.md"

_FILES = frozenset({CARD_FILE, MANIFEST_FILE, MODEL_FILE})
_GUARD_PREFIX = "guard_"
_NUMBER_KINDS = "fiub"
_MODEL_KEYS = (
    "name",
    "api_id",
    "joules_per_prompt_token",
    "joules_per_completion_token",
    "low_factor",
    "high_factor",
    "basis",
    "assumed_completion_tokens",
    "basis_text",
)
_REMEDY = "train it again or fetch it again"
# what numpy and zipfile raise on a broken archive
_BROKEN_ARCHIVE = (EOFError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Artifact:
    """Everything that a stored router consists of.

    Attributes
    ----------
    model : RouterModel
        The trained model.
    pool : Pool
        The candidates with their joules per token.
    reference : int
        Position of the reference model in the pool.
    dial : Dial
        From quality bars to energy prices.
    token_low, token_high : tuple of float
        10 % and 90 % quantiles of actual over expected completion tokens of each model.
    assumed_tokens : tuple of bool
        Models whose answer lengths are assumed.
    features : FeatureSpec
        Settings of the features.
    fingerprint : str
        Fingerprint of the features that it was trained with.
    golden : tuple of tuple
        Prompts and the qualities that they must score.
    lineage : mapping
        Data digest, seed, versions, evidence: JSON types.
    guard : NoveltyGuard or None
        Notices prompts unlike those of training; None for a router that does not look.
    calibration : Calibration or None
        What calibration prompts allow to be promised; None for a router that promises nothing.
    """

    model: RouterModel
    pool: Pool
    reference: int
    dial: Dial
    token_low: tuple[float, ...]
    token_high: tuple[float, ...]
    assumed_tokens: tuple[bool, ...]
    features: FeatureSpec
    fingerprint: str
    golden: tuple[tuple[str, tuple[float, ...]], ...]
    lineage: Mapping[str, Any]
    guard: NoveltyGuard | None = None
    calibration: Calibration | None = None


def write_artifact(artifact: Artifact, folder: str | Path, card: str) -> None:
    """Write a router to a folder, all of it or nothing.

    Parameters
    ----------
    artifact : Artifact
        What to write. The same artifact gives the same bytes.
    folder : str or Path
        Where to. A router that is there already is replaced.
    card : str
        The model card in Markdown.

    Raises
    ------
    ConfigError
        If the folder holds something that is not a router, or cannot be written.
    ArtifactError
        If a number of the artifact is not finite.
    """
    # a link to a folder stays a link
    target = Path(folder).resolve()
    contents = {MODEL_FILE: _packed(_stored_arrays(artifact)), CARD_FILE: card.encode()}
    contents[MANIFEST_FILE] = _manifest_bytes(artifact, contents)
    try:
        _check_replaceable(target)
        _replace(target, contents)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror or error}): choose another folder"
        ) from error


def read_artifact(folder: str | Path) -> Artifact:
    """Read a router and check it.

    Parameters
    ----------
    folder : str or Path
        Folder that :func:`write_artifact` wrote.

    Returns
    -------
    Artifact
        Checked for its format version, the hash of each file, finite arrays and sizes that fit.
        Whether the features here are those of training is for the caller to check.

    Raises
    ------
    ArtifactError
        If it is missing, damaged, of another format, or contains pickled objects.
    """
    path = Path(folder)
    manifest = _read_manifest(path)
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version!r}, this release reads {FORMAT_VERSION}: "
            "train the router again or install the release that wrote it"
        )
    try:
        if manifest.pop("sha256") != _sha256(_json(manifest)):
            raise ArtifactError(f"{path / MANIFEST_FILE} does not match its own hash: {_REMEDY}")
        hashes = manifest["files"]
        # the names are fixed: one from the manifest could lead out of the folder
        if set(hashes) != {MODEL_FILE, CARD_FILE}:
            raise ArtifactError(
                f"{path / MANIFEST_FILE} lists {sorted(hashes)}, not {CARD_FILE} and {MODEL_FILE}: "
                f"{_REMEDY}"
            )
        _read_checked(path / CARD_FILE, hashes[CARD_FILE])
        packed = _read_checked(path / MODEL_FILE, hashes[MODEL_FILE])
        artifact = _artifact(manifest, _arrays(path / MODEL_FILE, packed))
        _check_sizes(artifact)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}): {_REMEDY}") from error
    return artifact


def artifact_digest(folder: str | Path) -> str:
    """Return the digest of a stored router, by which another version can name it.

    Parameters
    ----------
    folder : str or Path
        Folder that :func:`write_artifact` wrote.

    Returns
    -------
    str
        SHA-256 of its manifest, which holds those of the other files.

    Raises
    ------
    ArtifactError
        If there is no router.
    """
    return str(_read_manifest(Path(folder)).get("sha256"))


def _check_replaceable(target: Path) -> None:
    """Refuse to replace anything but a router or an empty folder."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is a file: choose a folder")
    names = {entry.name for entry in target.iterdir()}
    strange = sorted(names - _FILES) or (sorted(names) if MODEL_FILE not in names else [])
    if strange:
        raise ConfigError(
            f"{target} holds something else than a router ({strange[0]}): choose another folder"
        )


def _replace(target: Path, contents: Mapping[str, bytes]) -> None:
    """Put a folder with these files in the place of the target; all as before if that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # beside the target, to be on the same file system
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    new, old = staging / "new", staging / "old"
    try:
        new.mkdir()
        for name, data in contents.items():
            with (new / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            os.replace(target, old)
        os.replace(new, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _stored_arrays(artifact: Artifact) -> dict[str, NDArray[Any]]:
    guard = {} if artifact.guard is None else artifact.guard.to_arrays()
    return artifact.model.to_arrays() | {_GUARD_PREFIX + name: a for name, a in guard.items()}


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as npz, in which nothing depends on the time or the place."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            _check_finite(name, array)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _manifest_bytes(artifact: Artifact, contents: Mapping[str, bytes]) -> bytes:
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "features": artifact.features.to_dict(),
        "fingerprint": artifact.fingerprint,
        "pool": {
            "name": artifact.pool.name,
            "models": [
                {key: getattr(model, key) for key in _MODEL_KEYS} for model in artifact.pool.models
            ],
        },
        "reference": artifact.reference,
        "dial": artifact.dial.to_dict(),
        "token_low": list(artifact.token_low),
        "token_high": list(artifact.token_high),
        "assumed_tokens": list(artifact.assumed_tokens),
        "golden": [[prompt, list(scores)] for prompt, scores in artifact.golden],
        "lineage": dict(artifact.lineage),
        "calibration": None if artifact.calibration is None else artifact.calibration.to_dict(),
        "files": {name: _sha256(data) for name, data in contents.items()},
    }
    try:
        manifest["sha256"] = _sha256(_json(manifest))
        return _json(manifest)
    except ValueError as error:
        raise ArtifactError(f"the artifact has a number that is not finite ({error})") from error


def _json(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _artifact(manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Artifact:
    pool, calibration = manifest["pool"], manifest.get("calibration")
    guard = {
        name.removeprefix(_GUARD_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(_GUARD_PREFIX)
    }
    return Artifact(
        model=RouterModel.from_arrays(arrays),
        pool=Pool(pool["name"], tuple(PoolModel(**row) for row in pool["models"])),
        reference=int(manifest["reference"]),
        dial=Dial.from_dict(manifest["dial"]),
        token_low=tuple(map(float, manifest["token_low"])),
        token_high=tuple(map(float, manifest["token_high"])),
        assumed_tokens=tuple(map(bool, manifest["assumed_tokens"])),
        features=FeatureSpec.from_dict(manifest["features"]),
        fingerprint=str(manifest["fingerprint"]),
        golden=tuple(
            (str(prompt), tuple(map(float, scores))) for prompt, scores in manifest["golden"]
        ),
        lineage=dict(manifest["lineage"]),
        guard=NoveltyGuard.from_arrays(guard) if guard else None,
        calibration=None if calibration is None else Calibration.from_dict(calibration),
    )


def _check_sizes(artifact: Artifact) -> None:
    n_models = len(artifact.pool.models)
    sizes = {
        artifact.model.n_models,
        len(artifact.token_low),
        len(artifact.token_high),
        len(artifact.assumed_tokens),
        len(artifact.dial.means.quality),
        len(artifact.dial.means.energy_j),
        *(len(scores) for _, scores in artifact.golden),
    }
    if artifact.guard is not None:
        sizes.add(len(artifact.guard.reach))
        if artifact.guard.neighbourhood.space.centre.size != artifact.model.scaler.mean.size:
            raise ValueError("its guard is for other features")
    if artifact.calibration is not None:
        sizes.add(artifact.calibration.floors.n_models)
    if sizes != {n_models} or not 0 <= artifact.reference < n_models:
        raise ValueError(f"its parts are not all for {n_models} models")


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST_FILE
    if path.is_file():
        raise ArtifactError(f"{path} is a file: give the folder of a router")
    try:
        manifest = json.loads(file.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"no router at {path}, {file.name} is missing: give the folder that "
            "`wattroute train --out` wrote"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} cannot be read ({error}): {_REMEDY}") from error
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{file} is not a manifest: {_REMEDY}")
    return manifest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _read_checked(file: Path, expected: str) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read ({error.strerror}): {_REMEDY}") from error
    if _sha256(data) != expected:
        raise ArtifactError(f"{file} does not match the hash in its manifest: {_REMEDY}")
    return data


def _arrays(file: Path, data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with np.load(BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except _BROKEN_ARCHIVE as error:
        raise ArtifactError(f"{file} is not a plain array file ({error}): {_REMEDY}") from error
    for name, array in arrays.items():
        _check_finite(name, array)
    return arrays


def _check_finite(name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in _NUMBER_KINDS or not np.isfinite(array).all():
        raise ArtifactError(f"array {name!r} is not of finite numbers: {_REMEDY}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
