"""What the training commands share: options, progress, loading of runs and pools."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from router.encoders import Encoder, load_encoder
from router.errors import ConfigError
from router.eval.matrix import AnswerMatrix
from router.features import FeatureExtractor, FeatureSpec
from router.pool import Pool, load_pool, pool_from_models
from router.training.backend import BACKENDS, use_backend
from router.training.ingest import load_runs
from router.training.run_files import is_run_name
from router.training.runs import Runs

__all__ = [
    "LoadedRuns",
    "check_output",
    "input_files",
    "jobs_option",
    "json_option",
    "load_pool_runs",
    "make_extractor",
    "make_folder",
    "on_bad_option",
    "progress_printer",
    "replacing",
    "say_assumed_lengths",
    "seed_option",
]

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_JOBS = 2

seed_option: _Decorator = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all chance."
)
json_option: _Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON."
)
on_bad_option: _Decorator = click.option(
    "--on-bad",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Stop at bad rows, or set them aside in .wattroute/set_aside.jsonl.",
)


def jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs``, ``--backend`` and ``--ray-address`` to a command that fits.

    The command gets `jobs` and runs inside :func:`router.training.backend.use_backend`.

    Parameters
    ----------
    command : callable
        The function below ``@click.command``.

    Returns
    -------
    callable
        The same with the options.
    """

    @click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Fits at a time.  [default: 2; with --backend ray, the CPUs of the cluster]",
    )
    @click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="threads",
        show_default=True,
        help="Where fits run; 'ray' takes a cluster of machines (extra 'ray').",
    )
    @click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="A running Ray cluster.  [default: RAY_ADDRESS, or one on this machine]",
    )
    @functools.wraps(command)
    def on_backend(
        *args: Any, jobs: int | None, backend: str, ray_address: str | None, **options: Any
    ) -> Any:
        with use_backend(
            backend, n_jobs=jobs, ray_address=ray_address, progress=progress_printer()
        ):
            return command(*args, jobs=_JOBS if jobs is None else jobs, **options)

    return on_backend


@dataclass(frozen=True, slots=True)
class LoadedRuns:
    """Evaluation runs with the pool that they are for."""

    runs: Runs
    matrix: AnswerMatrix
    pool: Pool


def progress_printer() -> Callable[[str], None]:
    """Return a function that prints lines with the seconds since now to standard error."""
    started = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - started:7.1f} s  {line}", err=True)

    return say


def say_assumed_lengths(matrix: AnswerMatrix, say: Callable[[str], None]) -> None:
    """Say of which models the energy is no measurement, for want of completion tokens.

    Parameters
    ----------
    matrix : AnswerMatrix
        Graded runs that a stored router is judged on.
    say : callable
        Called with a line of text, if there is anything to say.
    """
    graded = ~np.isnan(matrix.quality)
    gaps = graded & np.isnan(matrix.completion_tokens) & np.isnan(matrix.energy_j)
    counts = zip(matrix.models, gaps.sum(axis=0), graded.sum(axis=0), strict=True)
    named = [
        name if gap == n else f"{name} ({gap:,} of {n:,} answers)" for name, gap, n in counts if gap
    ]
    if named:
        say(
            f"the runs have no completion tokens of {', '.join(named)}: lengths, and so energy, "
            "are assumed to be as the router expects them"
        )


def load_pool_runs(
    paths: tuple[str, ...], pool_file: str | None, on_bad: str, say: Callable[[str], None]
) -> LoadedRuns:
    """Load runs and their pool.

    Parameters
    ----------
    paths : tuple of str
        Files or folders of runs; those that the pool file names where empty.
    pool_file : str or None
        Pool file; without one, all models of the runs that the catalogue knows.
    on_bad : {"error", "skip"}
        What to do about bad rows.
    say : callable
        Told about what was loaded.

    Raises
    ------
    ConfigError
        If there is neither a path nor a pool file, or the catalogue knows too few models.
    """
    pool = None if pool_file is None else load_pool(pool_file)
    sources: tuple[str | Path, ...] = paths
    if not sources:
        if pool is None:
            raise ConfigError("give files of runs, or a pool file that names them")
        sources = pool.run_paths()
        if not sources:
            raise ConfigError(f"{pool_file}: names no runs: give them as arguments")
    runs = load_runs(sources, on_bad="skip" if on_bad == "skip" else "error")
    say(runs.summary())
    if pool is None:
        pool, unknown = pool_from_models(runs.models)
        if unknown:
            say(f"not in the catalogue, so not in the pool: {', '.join(unknown)}")
    return LoadedRuns(runs, runs.to_matrix(), pool)


def make_folder(folder: Path) -> None:
    """Make a folder for output, before the work that leads to it.

    Raises
    ------
    ConfigError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}") from error


def check_output(option: str, path: str, inputs: Iterable[str | Path]) -> None:
    """Refuse a file for output that would overwrite what a command reads, or be read with it.

    Parameters
    ----------
    option : str
        The option that names the file, for the message.
    path : str
        The file.
    inputs : iterable of path
        Files and folders that the command reads; those that are not there are left to it.

    Raises
    ------
    ConfigError
        If `path` is a folder, one of the inputs under whatever name, or a new file of runs in
        one of the folders.
    """
    target = Path(path)
    if target.is_dir():
        raise ConfigError(f"{option} {path} is a folder: give the name of a file")
    for source in map(Path, inputs):
        in_folder = source.is_dir()
        if target.exists():
            files = source.iterdir() if in_folder else (source,)
            if any(file.exists() and file.samefile(target) for file in files):
                raise ConfigError(f"{option} {path} is a file that is read: choose another one")
        if in_folder and is_run_name(target) and source.resolve() == target.resolve().parent:
            raise ConfigError(
                f"{option} {path} would be read as runs of the folder {source}: choose another one"
            )


def input_files(paths: tuple[str, ...], pool_file: str | None) -> tuple[str | Path, ...]:
    """Return the files and folders that :func:`load_pool_runs` reads.

    Parameters
    ----------
    paths : tuple of str
        Files or folders of runs; those that the pool file names where empty.
    pool_file : str or None
        The pool file.
    """
    if pool_file is None:
        return paths
    return (pool_file, *(paths or load_pool(pool_file).run_paths()))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file that takes the place of `path` once it is complete.

    Parameters
    ----------
    path : str or Path
        The file; untouched where writing fails.

    Yields
    ------
    Path
        The file to write, beside it.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    target = Path(path).resolve()  # a link stays one
    part = target.with_name(f"{target.name}.part")
    if in_place := target.exists() and not target.is_file():  # a device or a pipe
        part = target
    try:
        yield part
        if not in_place:
            part.replace(target)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if not in_place:
            with suppress(OSError):  # gone, or never made
                part.unlink()


def make_extractor(encoder: str, matrix: AnswerMatrix) -> FeatureExtractor:
    """Return the feature extractor of an encoder's name.

    Embeddings that came with the runs are used in place of the static encoder. Those of a
    sentence-transformers model are cached in ``.wattroute/embeddings``.
    """
    if encoder == "static" and matrix.embeddings is not None:
        encoder = f"precomputed:{np.shape(matrix.embeddings)[1]}"
    loaded: Encoder | None = None
    if encoder != "static" and not encoder.startswith("precomputed"):
        from router.training.embedding_cache import CachedEncoder

        loaded = CachedEncoder(load_encoder(encoder), Path(".wattroute") / "embeddings")
    return FeatureExtractor(FeatureSpec(encoder=encoder), loaded)
