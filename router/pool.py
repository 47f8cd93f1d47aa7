"""The pool: the candidate models of one router, with the energy of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.config import (
    check_keys,
    get_number,
    get_tables,
    get_text,
    get_texts,
    read_toml,
    toml_value,
)
from router.energy import Basis, Catalogue, CatalogueEntry, EnergyInterval, basis_of
from router.energy.entry import read_energy
from router.energy.own_measurements import read_own_measurements, with_own_measurements
from router.errors import ConfigError

__all__ = ["Pool", "PoolModel", "load_pool", "pool_from_models"]

_OWN_ENERGY = (
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "basis",
    "low_factor",
    "high_factor",
    "total_parameters_b",
    "active_parameters_b",
    "precision",
)
_MODEL_KEYS = ("run_name", "api_id", "catalogue", "assumed_completion_tokens", *_OWN_ENERGY)
_POOL_KEYS = ("name", "runs", "note", "measurements", "model")


@dataclass(frozen=True, slots=True)
class PoolModel:
    """One candidate model.

    Attributes
    ----------
    name : str
        Its name in the evaluation runs.
    api_id : str
        Its id in the API; the name where no other is given.
    joules_per_prompt_token, joules_per_completion_token : float
        GPU joules per token at the operating point of the catalogue, above 0.
    low_factor, high_factor : float
        Factors from an energy to the ends of its interval.
    basis : {"measured", "estimated", "assumed"}
        What the joules rest on.
    assumed_completion_tokens : float, optional
        Tokens of an answer where the runs do not have them.
    basis_text : str
        The basis in the words of the pool file, such as ``"relative price"``; the basis
        itself where there are none.

    Raises
    ------
    ConfigError
        If a number is out of its range, a name is blank, or the words of the basis mean
        another one.
    """

    name: str
    api_id: str
    joules_per_prompt_token: float
    joules_per_completion_token: float
    low_factor: float
    high_factor: float
    basis: Basis
    assumed_completion_tokens: float | None = None
    basis_text: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "basis_text", self.basis_text or self.basis)
        if basis_of(self.basis_text) != self.basis:
            raise ConfigError(
                f"model {self.name!r}: basis is {self.basis!r}, but {self.basis_text!r} means "
                f"{basis_of(self.basis_text)!r}"
            )
        for key in ("name", "api_id"):
            if not getattr(self, key).strip():
                raise ConfigError(f"model {self.name!r}: {key} is blank")
        for key in (
            "joules_per_prompt_token",
            "joules_per_completion_token",
            "low_factor",
            "high_factor",
            "assumed_completion_tokens",
        ):
            number = getattr(self, key)
            if number is not None and not (math.isfinite(number) and number > 0):
                raise ConfigError(
                    f"model {self.name!r}: {key} must be a finite number above 0, got {number}"
                )
        if not self.low_factor <= 1 <= self.high_factor:
            raise ConfigError(
                f"model {self.name!r}: need low_factor <= 1 <= high_factor, "
                f"got {self.low_factor} and {self.high_factor}"
            )

    def energy(self, prompt_tokens: float, completion_tokens: float) -> EnergyInterval:
        """Return the joules of one request.

        Parameters
        ----------
        prompt_tokens, completion_tokens : float
            Tokens of the prompt and of the answer.

        Raises
        ------
        ValueError
            If a number is negative or not finite.
        """
        if prompt_tokens < 0 or completion_tokens < 0:
            raise ValueError(f"tokens must be >= 0, got {prompt_tokens} and {completion_tokens}")
        joules = prompt_tokens * self.joules_per_prompt_token
        joules += completion_tokens * self.joules_per_completion_token
        return EnergyInterval.from_factor(
            joules, self.high_factor, self.basis, low_factor=self.low_factor
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """The candidate models of one router.

    Attributes
    ----------
    name : str
        Name of the pool.
    models : tuple of PoolModel
        At least two models with unique names and unique ids.
    runs : tuple of str
        Files of evaluation runs, as the pool file writes them.
    note : str
        Free text.
    folder : Path, optional
        Where the pool file is. Not part of the pool's identity and not written back.

    Raises
    ------
    ConfigError
        If the name is blank, there are fewer than two models, or a name or id occurs twice.
    """

    name: str
    models: tuple[PoolModel, ...]
    runs: tuple[str, ...] = ()
    note: str = ""
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("the name of the pool is blank")
        if len(self.models) < 2:
            raise ConfigError(
                f"pool {self.name!r} has {len(self.models)} model(s): a router needs at least two"
            )
        for key in ("name", "api_id"):
            count = Counter(getattr(model, key) for model in self.models)
            value, times = count.most_common(1)[0]
            if times > 1:
                label = "run_name" if key == "name" else key
                raise ConfigError(
                    f"pool {self.name!r}: {label} {value!r} occurs {times} times: keep one"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models in the evaluation runs, in the order of the pool."""
        return tuple(model.name for model in self.models)

    def joules(self, prompt_tokens: ArrayLike, completion_tokens: ArrayLike) -> NDArray[np.float64]:
        """Return the joules of every request on every model.

        Parameters
        ----------
        prompt_tokens : array_like of shape (n_prompts,) or (n_prompts, n_models)
            Tokens of the prompts, as one count or as each model counts them.
        completion_tokens : array_like of shape (n_prompts, n_models)
            Tokens of the answers. NaN gives NaN.

        Returns
        -------
        ndarray of shape (n_prompts, n_models)
            Joules, the value of each interval.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        prompts = np.asarray(prompt_tokens, dtype=np.float64)
        answers = np.asarray(completion_tokens, dtype=np.float64)
        shape = (len(prompts) if prompts.ndim else 0, len(self.models))
        if answers.shape != shape or prompts.shape not in (shape, shape[:1]):
            raise ValueError(
                f"tokens must have shapes (n_prompts,) and (n_prompts, {len(self.models)}), "
                f"got {prompts.shape} and {answers.shape}"
            )
        e_in = np.array([model.joules_per_prompt_token for model in self.models])
        e_out = np.array([model.joules_per_completion_token for model in self.models])
        per_model = prompts[:, None] if prompts.ndim == 1 else prompts
        joules: NDArray[np.float64] = per_model * e_in + answers * e_out
        return joules

    def run_paths(self) -> tuple[Path, ...]:
        """Return the files of evaluation runs.

        A relative path is looked for in the pool file's own folder and then in the folder
        above it.

        Raises
        ------
        ConfigError
            If one is in neither.
        """
        folder = Path() if self.folder is None else self.folder
        return tuple(self._run_path(run, folder) for run in self.runs)

    def _run_path(self, run: str, folder: Path) -> Path:
        candidates = (folder / run, folder.resolve().parent / run)
        for path in candidates:
            if path.exists():
                return path
        raise ConfigError(
            f"pool {self.name!r}: 'runs': {run!r} is neither {candidates[0]} nor {candidates[1]}"
        )

    def to_toml(self) -> str:
        """Return the pool file with every default written out; `load_pool` reads it back."""
        head: dict[str, Any] = {"name": self.name, "runs": self.runs, "note": self.note}
        lines = _lines({key: value for key, value in head.items() if value})
        for model in self.models:
            lines += ["", "[[model]]", *_lines(_model_row(model))]
        return "\n".join(lines) + "\n"


def load_pool(path: str | Path, catalogue: Catalogue | None = None) -> Pool:
    """Read a pool file.

    Parameters
    ----------
    path : str or Path
        TOML with ``name``, ``runs`` (a path or several), ``note``, ``measurements`` (a CSV file
        of measured joules, looked for beside the pool file, whose rows win over the
        catalogue's) and one ``[[model]]`` table a model. A model has ``run_name``, optionally
        ``api_id`` and ``assumed_completion_tokens``, and its energy in one of three ways:
        ``catalogue`` (a name in the catalogue or among the measurements);
        ``joules_per_completion_token``, ``joules_per_prompt_token`` and ``basis`` (text that
        starts with measured, estimated or assumed), with optional ``low_factor`` and
        ``high_factor``; or ``total_parameters_b`` with optional ``active_parameters_b`` and
        ``precision``.
    catalogue : Catalogue, optional
        Where ``catalogue`` names are looked up; the shipped one when not given.

    Raises
    ------
    ConfigError
        If the file cannot be read, a key is unknown, or a value is missing or not valid; the
        message names file and key.
    """
    path = Path(path)
    where = str(path)
    data = read_toml(path)
    check_keys(data, _POOL_KEYS, where)
    tables = get_tables(data, "model", where)
    measured = get_text(data, "measurements", where)
    if measured is not None:
        base = Catalogue.default() if catalogue is None else catalogue
        rows = read_own_measurements(path.parent / measured, base)
        catalogue = with_own_measurements(base, rows)
    models = tuple(
        _pool_model(table, f"{where}, [[model]] {number}", catalogue)
        for number, table in enumerate(tables, start=1)
    )
    try:
        return Pool(
            name=get_text(data, "name", where) or path.stem,
            models=models,
            runs=get_texts(data, "runs", where),
            note=get_text(data, "note", where) or "",
            folder=path.parent,
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: 'model': {error}") from error


def pool_from_models(
    names: Iterable[str], catalogue: Catalogue | None = None, *, name: str = "runs"
) -> tuple[Pool, tuple[str, ...]]:
    """Return a pool of all models of evaluation runs that the catalogue knows.

    Parameters
    ----------
    names : iterable of str
        Names of models in the runs; see `Catalogue.match` for what is tolerated.
    catalogue : Catalogue, optional
        Where they are looked up; the shipped one when not given.
    name : str
        Name of the pool.

    Returns
    -------
    pool : Pool
        The models that are known, in the order given.
    unknown : tuple of str
        The names that are not.

    Raises
    ------
    ConfigError
        If fewer than two models are known.

    Examples
    --------
    >>> pool, unknown = pool_from_models(["gemma-3-27b-it", "gpt-4o", "Qwen2.5-7B-Instruct"])
    >>> pool.names, unknown
    (('gemma-3-27b-it', 'Qwen2.5-7B-Instruct'), ('gpt-4o',))
    """
    catalogue = Catalogue.default() if catalogue is None else catalogue
    entries = {run_name: catalogue.match(run_name) for run_name in names}
    unknown = tuple(run_name for run_name, entry in entries.items() if entry is None)
    known = tuple(_of_entry(run_name, entry) for run_name, entry in entries.items() if entry)
    if len(known) < 2:
        found = ", ".join(model.name for model in known) or "none"
        raise ConfigError(
            f"of {len(entries)} models in the runs the catalogue knows {found}: a router needs at "
            f"least two. Write a pool file that gives the energy of {_some(unknown)}"
        )
    return Pool(name, known), unknown


def _pool_model(table: Mapping[str, Any], where: str, catalogue: Catalogue | None) -> PoolModel:
    check_keys(table, _MODEL_KEYS, where)
    name = get_text(table, "run_name", where)
    if name is None:
        raise ConfigError(f"{where}: 'run_name' is missing: give the model's name in the runs")
    where = f"{where} ({name})"
    api_id = get_text(table, "api_id", where) or name
    assumed = get_number(table, "assumed_completion_tokens", where)
    entry_name = get_text(table, "catalogue", where)
    if entry_name is not None:
        if own := [key for key in _OWN_ENERGY if key in table]:
            raise ConfigError(
                f"{where}: 'catalogue' and {own[0]!r} both say the energy: keep one of them"
            )
        try:
            entry = (Catalogue.default() if catalogue is None else catalogue).find(entry_name)
        except ConfigError as error:
            raise ConfigError(f"{where}: 'catalogue': {error}") from error
        model = _of_entry(name, entry)
        return replace(model, api_id=api_id, assumed_completion_tokens=assumed)
    try:
        energy = read_energy(table, where)
    except ConfigError as error:
        started = any(key in table for key in _OWN_ENERGY)
        hint = "" if started else ", or 'catalogue' with a name that `wattroute models` lists"
        raise ConfigError(f"{error}{hint}") from error
    return PoolModel(
        name=name,
        api_id=api_id,
        joules_per_prompt_token=energy.joules_per_prompt_token,
        joules_per_completion_token=energy.joules_per_completion_token,
        low_factor=energy.low_factor,
        high_factor=energy.high_factor,
        basis=basis_of(energy.basis_text),
        basis_text=energy.basis_text,
        assumed_completion_tokens=assumed,
    )


def _of_entry(name: str, entry: CatalogueEntry) -> PoolModel:
    origin = ", ".join(part for part in (entry.name, entry.source, entry.date) if part)
    return PoolModel(
        name=name,
        api_id=name,
        joules_per_prompt_token=entry.joules_per_prompt_token,
        joules_per_completion_token=entry.joules_per_completion_token,
        low_factor=entry.low_factor,
        high_factor=entry.high_factor,
        basis=entry.basis,
        basis_text=f"{entry.basis_text}: {origin}",
    )


def _model_row(model: PoolModel) -> dict[str, Any]:
    row = {
        "run_name": model.name,
        "api_id": model.api_id,
        "joules_per_completion_token": model.joules_per_completion_token,
        "joules_per_prompt_token": model.joules_per_prompt_token,
        "basis": model.basis_text,
        "low_factor": model.low_factor,
        "high_factor": model.high_factor,
        "assumed_completion_tokens": model.assumed_completion_tokens,
    }
    return {key: value for key, value in row.items() if value is not None}


def _lines(row: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {toml_value(value)}" for key, value in row.items()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
