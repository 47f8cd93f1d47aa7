"""What a caller asks for, what serves it and what is promised, once for each set of arguments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from router.artifact import Artifact
from router.promises import Promise, Promises, remember
from router.request import Request, allowed_ids

__all__ = ["Asked", "Asks"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and the promise unless that is beyond it.

    Attributes
    ----------
    known : tuple of Request, Promise
        For prompts like those of training.
    novel : tuple of Request, Promise
        For those unlike them.
    """

    known: tuple[Request, Promise]
    novel: tuple[Request, Promise]


class Asks:
    """Turns arguments into requests, and remembers them: most callers ask for the same each time.

    Parameters
    ----------
    artifact : Artifact
        The router.
    promises : Promises
        Its promises.
    """

    def __init__(self, artifact: Artifact, promises: Promises) -> None:
        self._artifact = artifact
        self._promises = promises
        self._ids = tuple(model.api_id for model in artifact.pool.models)
        self._found: dict[Any, Asked] = {}

    def asked(
        self,
        bar: float,
        confidence: float,
        group: str | None,
        *,
        uncertified: str | None,
        floor: float | None,
        allowed: Collection[str] | None,
        watched: bool,
    ) -> Asked:
        """Return what is asked for.

        Parameters
        ----------
        bar, confidence : float
            The quality bar and the chance with which it is to be promised.
        group : str or None
            Kind of prompts; None for all traffic.
        uncertified : {"reference", "estimate"} or None
            What serves a bar that is not certified; as the router was told where None.
        floor : float or None
            Least probability of a good answer.
        allowed : collection of str or None
            Ids of the models that may be chosen; None for all.
        watched : bool
            Whether the novelty guard is on.

        Raises
        ------
        ConfigError
            If an argument is out of range, or `allowed` is empty or has an id that the pool lacks.
        """
        promise = self._promises.promise(bar, confidence, group, uncertified)
        ids = None if allowed is None else allowed_ids(allowed, self._ids)
        key = (bar, confidence, group, uncertified, floor, ids, watched)
        found = self._found.get(key)
        if found is None:
            found = self._build(promise, floor, ids, watched)
            remember(self._found, key, found)
        return found

    def _build(
        self, promise: Promise, floor: float | None, allowed: Collection[str] | None, watched: bool
    ) -> Asked:
        guard = self._artifact.guard
        if guard is not None and not watched:
            promise = promise.void("the guard that knows what is covered is off")
        if floor is not None:
            promise = promise.under_floor()
        request = Request.build(
            promise.certificate.bar,
            promise.setting,
            floor,
            allowed,
            self._ids,
            self._artifact.reference,
            self._artifact.dial.means,
            why_fallback=promise.why_fallback,
            notes=promise.notes,
        )
        if not all(request.allowed):
            promise = promise.void("not every model of the pool is allowed")
            request = replace(request, notes=promise.notes)
        known = request, promise
        if guard is None:
            return Asked(known, known)
        beyond = promise.void("the prompt is unlike those of training")
        return Asked(known, (request.beyond_training(guard), beyond))
