"""What models can do and what plans allow, as far as it is known, from dated tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from router.config import suggest
from router.dispatch.profile import RequestProfile
from router.energy import Catalogue
from router.errors import ConfigError

__all__ = ["ModelCapabilities", "PlanLimits", "capabilities_of", "plan_limits", "spellings_of"]

_DATA = Path(__file__).parent.parent / "data" / "oxlo"
_NEEDS = {
    "vision": "read images",
    "audio": "hear audio",
    "tools": "call tools",
    "json_mode": "answer in JSON mode",
}
# An answer that was not given a limit should at least have this many tokens of room.
_LEAST_ROOM = 256


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """What is known about one model; None where nothing is.

    Attributes
    ----------
    model : str
        Id or name of the model.
    context_window : int, optional
        Tokens of prompt and answer that fit together.
    vision, audio, tools, json_mode : bool, optional
        Whether it reads images, hears audio, calls tools, has a JSON mode.
    source, date : str
        Where that comes from, and from when it is.
    ids : tuple of str
        Spellings of the model's id that were seen.
    """

    model: str
    context_window: int | None = None
    vision: bool | None = None
    audio: bool | None = None
    tools: bool | None = None
    json_mode: bool | None = None
    source: str = ""
    date: str = ""
    ids: tuple[str, ...] = ()

    def missing(self, profile: RequestProfile) -> str | None:
        """Return why the model cannot take a request, or None if nothing speaks against it."""
        for need, ability in _NEEDS.items():
            if getattr(profile, need) and getattr(self, need) is False:
                return f"cannot {ability}"
        window = self.context_window
        if window is None:
            return None
        room = profile.max_tokens or _LEAST_ROOM
        if profile.prompt_tokens + room > window:
            return (
                f"context window of {window:,} tokens is too small for about "
                f"{profile.prompt_tokens:,} of prompt and {room:,} of answer"
            )
        return None

    def unknown(self, profile: RequestProfile) -> tuple[str, ...]:
        """Return what the request needs and nobody knows of the model."""
        return tuple(
            f"not known whether {self.model} can {ability}"
            for need, ability in _NEEDS.items()
            if getattr(profile, need) and getattr(self, need) is None
        )


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a plan of the API allows for one request and a day.

    Attributes
    ----------
    name : str
        Name of the plan.
    max_prompt_tokens, max_completion_tokens : int, optional
        Most tokens of a prompt and of an answer.
    requests_per_day, requests_per_minute : int, optional
        Requests allowed; for information, the server counts them.
    source, date : str
        Where that comes from, and from when it is.
    """

    name: str
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    requests_per_day: int | None = None
    requests_per_minute: int | None = None
    source: str = ""
    date: str = ""

    def exceeded(self, profile: RequestProfile) -> str | None:
        """Return which cap a request is over, or None."""
        cap = self.max_prompt_tokens
        if cap is not None and profile.prompt_tokens > cap:
            return (
                f"about {profile.prompt_tokens:,} tokens of prompt, plan {self.name} takes {cap:,}"
            )
        cap = self.max_completion_tokens
        if cap is not None and profile.max_tokens is not None and profile.max_tokens > cap:
            return f"max_tokens is {profile.max_tokens:,}, plan {self.name} gives {cap:,}"
        return None


@lru_cache(maxsize=4096)
def capabilities_of(model: str) -> ModelCapabilities:
    """Return what is known about a model, by any of its names.

    Parameters
    ----------
    model : str
        Id in the API, or a name or alias in the energy catalogue.

    Examples
    --------
    >>> capabilities_of("deepseek-r1-0528").vision
    False
    >>> capabilities_of("my-finetune").context_window is None
    True
    """
    table = _models()
    entry = Catalogue.default().match(model)
    known = table.get(model.casefold())
    if known is None and entry is not None:
        known = table.get(entry.name.casefold())
    if known is None:
        known = ModelCapabilities(model)
    window = known.context_window
    if window is None and entry is not None:
        window = entry.context_window
    return replace(known, model=model, context_window=window)


def spellings_of(model: str) -> tuple[str, ...]:
    """Return the spellings of a model's id that were seen; none for an unknown model.

    Examples
    --------
    >>> spellings_of("gemma-27b")
    ('gemma-3-27b', 'gemma-27b')
    """
    known = _models().get(model.casefold())
    return () if known is None else known.ids


def plan_limits(name: str) -> PlanLimits:
    """Return the limits of one of Oxlo's plans: ``"free"``, ``"pro"`` or ``"premium"``.

    Raises
    ------
    ConfigError
        If there is no such plan.
    """
    plans = _plans()
    plan = plans.get(name.casefold())
    if plan is None:
        hint = suggest(name, plans) or f": use one of {', '.join(plans)}"
        raise ConfigError(f"plan {name!r} is not known{hint}")
    return plan


@cache
def _models() -> Mapping[str, ModelCapabilities]:
    table: dict[str, ModelCapabilities] = {}
    for row in _rows("capabilities.csv"):
        known = ModelCapabilities(
            model=row["model"],
            context_window=_number(row["context_window"]),
            vision=_flag(row["vision"]),
            audio=_flag(row["audio"]),
            tools=_flag(row["tools"]),
            json_mode=_flag(row["json_mode"]),
            source=row["source"],
            date=row["date"],
            ids=tuple(row["ids"].split()),
        )
        for name in (row["model"], *row["ids"].split()):
            table[name.casefold()] = known
    return table


@cache
def _plans() -> Mapping[str, PlanLimits]:
    return {
        row["plan"]: PlanLimits(
            name=row["plan"],
            max_prompt_tokens=_number(row["max_prompt_tokens"]),
            max_completion_tokens=_number(row["max_completion_tokens"]),
            requests_per_day=_number(row["requests_per_day"]),
            requests_per_minute=_number(row["requests_per_minute"]),
            source=row["source"],
            date=row["date"],
        )
        for row in _rows("plans.csv")
    }


def _rows(name: str) -> list[dict[str, str]]:
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _number(cell: str) -> int | None:
    return int(cell) if cell else None


def _flag(cell: str) -> bool | None:
    return {"yes": True, "no": False, "": None}[cell]
