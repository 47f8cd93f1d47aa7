"""Exceptions, named after what the caller can do about them.

::

    WattRouteError
    ├── ArtifactError            a stored router cannot be used: retrain or fetch it again
    │   └── FeatureMismatchError the features here are not those it was trained with
    ├── ConfigError              a setting, pool file or argument is wrong: correct it
    ├── DataError                evaluation runs are wrong: correct the file, row and field named
    ├── MissingExtraError        an optional dependency is missing: install the extra named
    └── UpstreamError            the model's server failed: retry if ``retryable``
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DataError",
    "FeatureMismatchError",
    "MissingExtraError",
    "UpstreamError",
    "WattRouteError",
]


class WattRouteError(Exception):
    """Base of every error that WattRoute raises on purpose."""


class ArtifactError(WattRouteError):
    """A stored router is missing, damaged or of another format."""


class FeatureMismatchError(ArtifactError):
    """The features computed here differ from those the router was trained with."""


class ConfigError(WattRouteError, ValueError):
    """A setting, pool file or argument is not valid."""


class DataError(WattRouteError, ValueError):
    """Evaluation runs do not follow the schema.

    Parameters
    ----------
    message : str
        What is wrong.
    file : str, optional
        The file it is in.
    row : int, optional
        The row, counted from 1 without a header.
    field : str, optional
        The column.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        field: str | None = None,
    ) -> None:
        self.file = file
        self.row = row
        self.field = field
        where = [
            part
            for part in (
                file,
                None if row is None else f"row {row}",
                None if field is None else f"field {field!r}",
            )
            if part
        ]
        super().__init__(f"{', '.join(where)}: {message}" if where else message)


class MissingExtraError(WattRouteError, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package : str
        The module that could not be imported.
    extra : str
        The extra of WattRoute that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed: pip install 'wattroute[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.package, self.extra)


class UpstreamError(WattRouteError):
    """The server of a model answered with an error.

    Parameters
    ----------
    message : str
        What the server said, without secrets.
    status : int, optional
        HTTP status.
    request_id : str, optional
        The server's id of the request.
    retryable : bool
        Whether the same request may be sent again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        super().__init__(message)
