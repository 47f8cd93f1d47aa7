"""Importing reasoning-gym, where pycosat may be missing: one dataset needs it, the import asks."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

from router.errors import MissingExtraError

__all__ = ["import_reasoning_gym"]


def import_reasoning_gym() -> Any:
    """Return the package reasoning_gym.

    pycosat must be compiled. Where it is missing, what needs it fails when it is used, and all
    else works.

    Raises
    ------
    MissingExtraError
        If reasoning-gym is not installed.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise MissingExtraError("reasoning_gym", "train")
    with _pycosat_or_stand_in():
        return importlib.import_module("reasoning_gym")


@contextlib.contextmanager
def _pycosat_or_stand_in() -> Iterator[None]:
    if "pycosat" in sys.modules or importlib.util.find_spec("pycosat") is not None:
        yield
        return
    stand_in = types.ModuleType("pycosat")
    stand_in.__getattr__ = _missing  # type: ignore[method-assign]
    sys.modules["pycosat"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pycosat"]


def _missing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError("pycosat is not installed: it needs a C compiler")
