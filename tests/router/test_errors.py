from __future__ import annotations

import copy
import inspect
import pickle  # noqa: TID251 - joblib sends errors between processes with it

import pytest

from router import errors
from router.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    FeatureMismatchError,
    MissingExtraError,
    UpstreamError,
    WattRouteError,
)

EXAMPLES = [
    WattRouteError("broken"),
    ArtifactError("no router at x"),
    FeatureMismatchError("other features"),
    ConfigError("quality is 2: use a share"),
    DataError("is empty"),
    DataError("is empty", file="runs.csv", row=3, field="prompt"),
    MissingExtraError("mlflow", "train"),
    UpstreamError("overloaded"),
    UpstreamError("overloaded", status=429, request_id="r-1", retryable=True),
]


def test_every_error_is_tried_here():
    classes = {
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert {type(error) for error in EXAMPLES} == classes
    assert {kind.__name__ for kind in classes} == set(errors.__all__)


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
def test_errors_survive_the_way_between_processes(error: WattRouteError, again):
    found = again(error)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_messages_say_where_and_what_to_do():
    assert str(DataError("is empty", file="a.csv", row=3, field="prompt")) == (
        "a.csv, row 3, field 'prompt': is empty"
    )
    assert str(DataError("no rows", file="a.csv")) == "a.csv: no rows"
    assert str(DataError("no rows")) == "no rows"
    assert "pip install 'wattroute[train]'" in str(MissingExtraError("mlflow", "train"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("x"), ValueError),
        (DataError("x"), ValueError),
        (MissingExtraError("mlflow", "train"), ImportError),
        (FeatureMismatchError("x"), ArtifactError),
    ],
)
def test_errors_are_what_python_calls_them(error: WattRouteError, kind: type[Exception]):
    assert isinstance(error, kind)
    assert isinstance(error, WattRouteError)
