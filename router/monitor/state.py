"""Keeping a monitor's state in a file, so that watching goes on where it stopped."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from router.errors import ConfigError

__all__ = ["read_state", "write_state"]


def read_state(path: str | Path) -> dict[str, Any] | None:
    """Read a state.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict or None
        What :meth:`Monitor.to_dict` gave; None where there is no such file.

    Raises
    ------
    ConfigError
        If the file cannot be read or is no state.
    """
    try:
        stored = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a state of the monitor: {error}") from error
    if isinstance(stored, dict) and "baseline" in stored:
        bar = stored.get("bar")
        if bar is None or (isinstance(bar, float) and 0.0 < bar <= 1.0):
            return stored
    raise ConfigError(f"{path} is not a state of the monitor: choose another file")


def write_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write a state, all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The file; replaced if it is there.
    state : dict
        What :meth:`Monitor.to_dict` gave.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    """
    target = Path(path).resolve()  # a link to a file stays a link
    text = json.dumps(state, indent=1, allow_nan=False) + "\n"
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): choose another file for the state"
        ) from error
