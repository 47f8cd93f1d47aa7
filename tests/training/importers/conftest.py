from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.errors import WattRouteError
from router.training.importers.column_tables import parse_columns
from router.training.importers.grades import Scale
from router.training.importers.model_names import ModelNames
from router.training.importers.records import ImportOptions, MetricChoice
from router.training.importers.run_import import ImportJob, ImportResult, run_import
from router.training.ingest import load_runs

DATA = Path(__file__).parent / "data"


class Importing:
    """Imports into a file of its own, and reads back what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n = 0

    def job(self, form: str, *sources: object, **words: Any) -> ImportJob:
        self.n += 1
        options = ImportOptions(
            metric=MetricChoice.parse(words.pop("metric", ())),
            columns=parse_columns(words.pop("column", ())),
            wide=words.pop("wide", ()),
            scale=Scale.parse(words.pop("scale", "0:1")),
            model_given=any("=" not in name for name in words.get("model", ())),
            tracking_uri=words.pop("tracking_uri", None),
        )
        return ImportJob(
            form,
            [str(source) for source in sources],
            self.folder / words.pop("out", f"runs{self.n}.parquet"),
            options,
            ModelNames.parse(words.pop("model", ())),
            **words,
        )

    def result(self, form: str, *sources: object, **words: Any) -> ImportResult:
        return run_import(self.job(form, *sources, **words))

    def rows(self, form: str, *sources: object, **words: Any) -> list[dict[str, Any]]:
        """Return the runs that training reads, without what is absent."""
        frame = load_runs(self.result(form, *sources, **words).out).frame.astype(object)
        return [
            {name: value for name, value in row.items() if value == value and value is not None}
            for row in frame.to_dict("records")
        ]

    def fails(self, form: str, *sources: object, **words: Any) -> str:
        """Return the message of an import that must fail and leave no file."""
        job = self.job(form, *sources, **words)
        with pytest.raises(WattRouteError) as error:
            run_import(job)
        assert not job.out.exists()
        assert [p.name for p in self.folder.iterdir() if ".part" in p.name] == []
        return str(error.value)


@pytest.fixture
def data() -> Path:
    return DATA


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Importing:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Importing(work)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file below the test's folder."""

    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written
