"""Graders of structured answers: a JSON Schema, or fields with their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.errors import DataError, MissingExtraError
from router.eval.grading.final_answer import find_json, without_reasoning
from router.eval.grading.records import Grade, GradingItem

__all__ = ["FieldMatch", "SchemaMatch"]


@dataclass(frozen=True, slots=True)
class SchemaMatch:
    """1 where the answer holds JSON that fits the reference, a JSON Schema.

    References to other documents are not followed.
    """

    name: str = "json_schema"

    def grade(self, item: GradingItem) -> Grade:
        """Validate against the schema."""
        try:
            import jsonschema
            from referencing import Registry
            from referencing.exceptions import Unresolvable
        except ModuleNotFoundError as error:
            raise MissingExtraError("jsonschema", "collect") from error
        schema = item.reference
        if not isinstance(schema, (Mapping, bool)):
            raise DataError("reference is not a JSON Schema: give an object", field="reference")
        validator_class = jsonschema.validators.validator_for(schema)
        try:
            validator_class.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise DataError(
                f"reference is not a JSON Schema: {error.message}", field="reference"
            ) from error
        found = find_json(without_reasoning(item.answer))
        if found is None:
            return Grade(0.0, "no JSON found")
        errors = validator_class(schema, registry=Registry()).iter_errors(found)
        try:
            first = next(errors, None)
        except Unresolvable as error:
            raise DataError(
                f"reference refers to another document, {error}: put it into the schema",
                field="reference",
            ) from error
        return Grade(float(first is None), "valid" if first is None else first.message[:120])


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """Share of the reference's fields that the answer's JSON has with equal values.

    Fields of objects within objects count one by one; lists are compared whole.
    """

    name: str = "json_fields"

    def grade(self, item: GradingItem) -> Grade:
        """Compare the fields."""
        if not isinstance(item.reference, Mapping) or not item.reference:
            raise DataError(
                "reference has no fields: give a JSON object with at least one", field="reference"
            )
        found = find_json(without_reasoning(item.answer))
        if not isinstance(found, Mapping):
            return Grade(0.0, "no JSON object found")
        wanted, answered = _leaves(item.reference), _leaves(found)
        wrong = [
            path
            for path, value in wanted.items()
            if path not in answered or not _equal(answered[path], value)
        ]
        quality = 1.0 - len(wrong) / len(wanted)
        return Grade(quality, f"wrong: {', '.join(wrong[:5])}" if wrong else "all fields right")


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            leaf: found
            for key, part in value.items()
            for leaf, found in _leaves(part, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: value}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() == other.strip()
    return bool(one == other)
