"""The stored router: a folder that is loaded without running code from it.

``manifest.json``
    format version, feature settings and fingerprint, pool, prices, quantiles, lineage, golden
    scores, and the SHA-256 of every other file
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
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError, ConfigError
from router.features import FeatureSpec
from router.model import RouterModel
from router.policy import PriceTable
from router.pool import Pool, PoolModel

__all__ = ["FORMAT_VERSION", "Artifact", "read_artifact", "write_artifact"]

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.npz"
CARD_FILE = "README.md"

_FLOAT_ARRAYS = "fiub"


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
    prices : PriceTable
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
    """

    model: RouterModel
    pool: Pool
    reference: int
    prices: PriceTable
    token_low: tuple[float, ...]
    token_high: tuple[float, ...]
    assumed_tokens: tuple[bool, ...]
    features: FeatureSpec
    fingerprint: str
    golden: tuple[tuple[str, tuple[float, ...]], ...]
    lineage: Mapping[str, Any]


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
        If the folder holds something that is not a router.
    """
    target = Path(folder)
    if target.exists() and not (target / MANIFEST_FILE).is_file():
        if not target.is_dir() or any(target.iterdir()):
            raise ConfigError(f"{target} holds something else than a router: choose another folder")
        target.rmdir()
    buffer = BytesIO()
    np.savez_compressed(buffer, **artifact.model.to_arrays())
    contents = {MODEL_FILE: buffer.getvalue(), CARD_FILE: card.encode()}
    manifest = _manifest(artifact, {name: _sha256(data) for name, data in contents.items()})
    contents[MANIFEST_FILE] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()

    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        staging.chmod(0o755)
        for name, data in contents.items():
            with (staging / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.replace(target, old / target.name)
            os.replace(staging, target)
            shutil.rmtree(old)
        else:
            os.replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_artifact(folder: str | Path) -> Artifact:
    """Read a router and check it.

    Parameters
    ----------
    folder : str or Path
        Folder that :func:`write_artifact` wrote.

    Returns
    -------
    Artifact
        Checked for its format version, the hash of each file and finite arrays. Whether the
        features here are those of training is for the caller to check.

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
        files = dict(manifest["files"])
        for name in (MODEL_FILE, CARD_FILE):
            if name not in files:
                raise ArtifactError(f"{path / MANIFEST_FILE} has no hash of {name}: {_REMEDY}")
        data = {name: _read_checked(path / name, files[name]) for name in (MODEL_FILE, CARD_FILE)}
        model = RouterModel.from_arrays(_arrays(path / MODEL_FILE, data[MODEL_FILE]))
        artifact = _artifact(manifest, model)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}): {_REMEDY}") from error
    if artifact.model.n_models != len(artifact.pool.models):
        raise ArtifactError(f"{path}: the model and the pool differ in size: {_REMEDY}")
    return artifact


_REMEDY = "train it again or fetch it again"


def _manifest(artifact: Artifact, files: Mapping[str, str]) -> dict[str, Any]:
    return {
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
        "prices": artifact.prices.to_dict(),
        "token_low": list(artifact.token_low),
        "token_high": list(artifact.token_high),
        "assumed_tokens": list(artifact.assumed_tokens),
        "golden": [[prompt, list(scores)] for prompt, scores in artifact.golden],
        "lineage": dict(artifact.lineage),
        "files": dict(files),
    }


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


def _artifact(manifest: Mapping[str, Any], model: RouterModel) -> Artifact:
    pool = manifest["pool"]
    return Artifact(
        model=model,
        pool=Pool(pool["name"], tuple(PoolModel(**row) for row in pool["models"])),
        reference=int(manifest["reference"]),
        prices=PriceTable.from_dict(manifest["prices"]),
        token_low=tuple(map(float, manifest["token_low"])),
        token_high=tuple(map(float, manifest["token_high"])),
        assumed_tokens=tuple(map(bool, manifest["assumed_tokens"])),
        features=FeatureSpec.from_dict(manifest["features"]),
        fingerprint=str(manifest["fingerprint"]),
        golden=tuple((str(prompt), tuple(scores)) for prompt, scores in manifest["golden"]),
        lineage=manifest["lineage"],
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST_FILE
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"no router at {path}: {file.name} is missing") from error
    except NotADirectoryError as error:
        raise ArtifactError(f"{path} is a file: give the folder of a router") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} cannot be read ({error}): {_REMEDY}") from error
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{file} is not a manifest: {_REMEDY}")
    return manifest


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
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{file} is not a plain array file ({error}): {_REMEDY}") from error
    for name, array in arrays.items():
        if array.dtype.kind not in _FLOAT_ARRAYS or not np.isfinite(array).all():
            raise ArtifactError(f"{file}: array {name!r} is not finite numbers: {_REMEDY}")
    return arrays


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
