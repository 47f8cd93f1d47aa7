"""A router's folder in MLflow's model format, with signature, example and requirements."""

from __future__ import annotations

import shutil
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from router.mlflow_store import quick_and_quiet
from router.registry import ROUTER_NAME
from router.training.pyfunc import INPUT_COLUMNS, OUTPUT_COLUMNS, PARAMETERS

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

__all__ = ["requirements", "save_model"]

_EXAMPLES = (
    "What is 17 * 23? Answer with the number only.",
    "Write a Python function that merges two sorted lists without using sort().",
)
_TYPES = {"prompt": "string", "quality": "double"}
_LOADER = "router.training.pyfunc"


def save_model(folder: str | Path, target: str | Path) -> None:
    """Write a router as an MLflow model; the router's own files are copied as they are.

    Parameters
    ----------
    folder : str or Path
        Folder of the router.
    target : str or Path
        New folder of the model. The router is in ``data/router`` below it.
    """
    named = Path(target).parent / ROUTER_NAME  # MLflow keeps the folder's name
    shutil.copytree(folder, named)
    try:
        with quick_and_quiet(), warnings.catch_warnings():
            # on how MLflow itself uses pandas and type hints
            warnings.simplefilter("ignore")
            import mlflow.pyfunc
            import pandas as pd

            mlflow.pyfunc.save_model(
                str(target),
                loader_module=_LOADER,
                data_path=str(named),
                signature=_signature(),
                input_example=pd.DataFrame({"prompt": _EXAMPLES}),
                pip_requirements=requirements(),
            )
    finally:
        shutil.rmtree(named)


def _signature() -> ModelSignature:
    """Return the columns and parameters of :mod:`router.training.pyfunc` in MLflow's terms."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        inputs=Schema(
            [ColSpec(_TYPES[name], name, required=must) for name, must in INPUT_COLUMNS.items()]
        ),
        outputs=Schema([ColSpec(kind, name) for name, kind in OUTPUT_COLUMNS.items()]),
        params=ParamSchema([ParamSpec(name, *spec) for name, spec in PARAMETERS.items()]),
    )


def requirements() -> list[str]:
    """Return what serving the model needs, as pip takes it.

    Returns
    -------
    list of str
        This release of WattRoute, because a router's features are those of the release that
        trained it, and the libraries that compute them within their major version.
    """
    found = [f"wattroute=={metadata.version('wattroute')}"]
    for name in ("mlflow", "numpy", "pandas", "tokenizers"):
        version = metadata.version(name)
        major = int(version.partition(".")[0])
        found.append(f"{name}>={version},<{major + 1}")
    return found
