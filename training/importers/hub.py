"""Data sets of the Hugging Face hub by name, fetched to this machine and read from there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError, MissingExtraError, UpstreamError
from router.training.importers.tables import SUFFIXES

__all__ = ["PREFIX", "HubSource", "fetch"]

PREFIX = "hf:"
"""How the source begins that names a data set of the hub."""

_WANTED = (*SUFFIXES, ".eval", ".pkl", ".pickle", ".pkl.gz")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A data set of the hub, or a part of it.

    Attributes
    ----------
    name : str
        ``owner/name``.
    revision : str, optional
        Branch, tag or commit.
    path : str
        A file or folder inside; empty for all.
    """

    name: str
    revision: str | None = None
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> HubSource:
        """Return what ``hf:owner/name[@revision][/path]`` names.

        Raises
        ------
        ConfigError
            If the text has another form.

        Examples
        --------
        >>> HubSource.parse("hf:RZ412/EmbedLLM@main/test.csv")
        HubSource(name='RZ412/EmbedLLM', revision='main', path='test.csv')
        """
        owner, _, rest = text.removeprefix(PREFIX).partition("/")
        name, _, path = rest.partition("/")
        name, at, revision = name.partition("@")
        parts = path.strip("/").split("/") if path.strip("/") else []
        bad = any(part in ("", ".", "..") for part in parts)
        if not owner or not name or (at and not revision) or bad:
            raise ConfigError(
                f"{text!r}: must be hf:owner/name, hf:owner/name@revision or with /path"
            )
        return cls(f"{owner}/{name}", revision or None, "/".join(parts))


def fetch(text: str, *, endpoint: str | None = None, cache_dir: str | None = None) -> Path:
    """Fetch a data set, or the part that is named, and return where it lies.

    Only files of data are fetched; scripts that a data set may hold are not.

    Parameters
    ----------
    text : str
        ``hf:owner/name[@revision][/path]``.
    endpoint : str, optional
        Address of the hub; by default the one that its library uses.
    cache_dir : str, optional
        Folder for what is fetched; by default that library's.

    Returns
    -------
    Path
        The folder, or the file that was named.

    Raises
    ------
    ConfigError
        If `text` has another form.
    UpstreamError
        If the hub cannot be reached, or there is no such data set for you.
    DataError
        If the data set has no such file, or no file that can be read.
    MissingExtraError
        If ``huggingface_hub`` is not installed.
    """
    source = HubSource.parse(text)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "encoders") from error
    wanted = [f"*{suffix}" for suffix in _WANTED]
    if source.path:
        wanted = [source.path, *(f"{source.path}/{pattern}" for pattern in wanted)]
    options: dict[str, Any] = {"endpoint": endpoint, "cache_dir": cache_dir}
    try:
        folder = Path(
            snapshot_download(
                source.name,
                repo_type="dataset",
                revision=source.revision,
                allow_patterns=wanted,
                **options,
            )
        )
    except GatedRepoError as error:
        raise _refused(
            text, "its owner must admit you first; log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise _refused(text, f"there is no revision {source.revision!r}") from error
    except RepositoryNotFoundError as error:
        raise _refused(text, "there is no such data set, or you may not see it") from error
    except LocalEntryNotFoundError as error:
        raise _refused(text, "the hub cannot be reached", retryable=True) from error
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise _refused(text, f"it cannot be fetched: {detail}", retryable=True) from error
    found = folder / source.path if source.path else folder
    if not found.exists():
        raise DataError(f"the data set has no file or folder {source.path!r}", file=text)
    if found.is_dir() and not any(path.is_file() for path in found.rglob("*")):
        raise DataError(f"the data set has no file that ends in {', '.join(_WANTED)}", file=text)
    return found


def _refused(text: str, reason: str, *, retryable: bool = False) -> UpstreamError:
    return UpstreamError(
        f"{text}: {reason}. Or fetch the files elsewhere and give their folder instead",
        retryable=retryable,
    )
