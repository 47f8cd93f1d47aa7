"""The description of the proxy's endpoints, served at ``/openapi.json``.

It says no more of chat requests than the proxy itself checks: their other fields are the
upstream's.
"""

from __future__ import annotations

from typing import Any

from router.clusters import AUTO
from router.promises import UNCERTIFIED

__all__ = ["openapi_document"]

_Schema = dict[str, Any]


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: _Schema, required: list[str], extra: bool = True) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": extra,
    }


def _or_null(kind: str, **limits: Any) -> _Schema:
    return {"type": [kind, "null"], **limits}


_COUNT = _or_null("integer", minimum=1, maximum=2**31 - 1)
_SHARE = _or_null("number", exclusiveMinimum=0, maximum=1)
_PROBABILITY = _or_null("number", minimum=0, maximum=1)
_CONFIDENCE = _or_null("number", exclusiveMinimum=0, exclusiveMaximum=1)

_ROUTED: _Schema = {
    "type": "string",
    "pattern": r"^auto(:(0?\.[0-9]{0,9}[1-9]|1(\.0{1,9})?))?$",
    "examples": ["auto", "auto:0.95"],
}
_CHAT: _Schema = {
    "model": {
        "anyOf": [_ROUTED, {"type": "string", "minLength": 1, "not": {"pattern": "^auto:"}}],
        "description": "'auto', 'auto:' with a quality bar, or an id of the upstream",
    },
    "messages": {"type": "array", "minItems": 1, "items": _ref("Message")},
    "stream": _or_null("boolean"),
    "stream_options": _or_null("object"),
    "n": _or_null("integer", minimum=1, maximum=128),
    "max_tokens": _COUNT,
    "max_completion_tokens": _COUNT,
    "tools": _or_null("array"),
    "functions": _or_null("array"),
    "response_format": _or_null("object"),
    "user": _or_null("string"),
    "wattroute": _ref("Options"),
}

_SCHEMAS: _Schema = {
    "Error": _object(
        {
            "error": _object(
                {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": _or_null("string"),
                    "code": _or_null("string"),
                },
                ["message", "type", "param", "code"],
            )
        },
        ["error"],
    ),
    "Part": {
        "anyOf": [
            _object({"type": {"const": "text"}, "text": {"type": "string"}}, ["type", "text"]),
            _object({"type": {"type": "string", "not": {"const": "text"}}}, ["type"]),
        ]
    },
    "Message": _object(
        {
            "role": {"type": "string", "examples": ["user"]},
            "content": {
                "anyOf": [
                    {"type": ["string", "null"]},
                    {"type": "array", "items": _ref("Part")},
                ]
            },
        },
        ["role"],
    ),
    "Options": {
        "type": ["object", "null"],
        "properties": {
            "quality": _SHARE,
            "min_probability": _PROBABILITY,
            "confidence": _CONFIDENCE,
            "group": {**_or_null("string"), "not": {"const": AUTO}},
            "uncertified": {"enum": [*UNCERTIFIED, None]},
            "session": _or_null("string"),
            "task": _or_null("string"),
        },
        "additionalProperties": False,
    },
    "ChatRequest": _object(_CHAT, ["model", "messages"]),
    "RouteRequest": _object({**_CHAT, "model": _ROUTED}, ["messages"]),
    "Feedback": _object(
        {
            "request_id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}$"},
            "quality": {"type": "number", "minimum": 0, "maximum": 1},
        },
        ["request_id", "quality"],
        extra=False,
    ),
    "Recorded": _object(
        {
            "request_id": {"type": "string"},
            "quality": {"type": "number"},
            "status": {"const": "recorded"},
        },
        ["request_id", "quality", "status"],
    ),
    "Energy": _object(
        {
            "value_j": {"type": "number"},
            "low_j": {"type": "number"},
            "high_j": {"type": "number"},
            "basis": {"enum": ["measured", "estimated", "assumed"]},
        },
        ["value_j", "low_j", "high_j", "basis"],
    ),
    "Routed": _object(
        {
            "request_id": {"type": "string"},
            "model": _or_null("string"),
            "max_tokens": _or_null("integer"),
            "reason": {"type": "string"},
            "probability": _or_null("number"),
            "expected_energy_j": {"anyOf": [_ref("Energy"), {"type": "null"}]},
            "reference_energy_j": {"anyOf": [_ref("Energy"), {"type": "null"}]},
            "novelty": _or_null("number"),
            "certificate": _or_null("object"),
            "floor_certificate": _or_null("object"),
            "decision": _or_null("object"),
            "excluded": {"type": "array", "items": {"type": "object"}},
            "fallback": _or_null("string"),
            "kept": {"type": "boolean"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
        ["request_id", "model", "reason", "decision", "excluded", "fallback"],
    ),
    "Models": _object(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"type": "object"}},
        },
        ["object", "data"],
    ),
    "Model": _object(
        {"id": {"type": "string"}, "object": {"const": "model"}},
        ["id", "object"],
    ),
    "Health": _object(
        {"status": {"const": "ok"}, "version": {"type": "string"}}, ["status", "version"]
    ),
    "Ready": _object(
        {
            "status": {"enum": ["ready", "default model only", "stopping"]},
            "models": {"type": "array", "items": {"type": "string"}},
            "quality": {"type": "number"},
            "default_model": _or_null("string"),
        },
        ["status", "models", "quality"],
    ),
}


def _json(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _operation(
    name: str,
    summary: str,
    answer: _Schema,
    body: str | None = None,
    parameters: list[_Schema] | None = None,
    secured: bool = True,
) -> _Schema:
    error = _ref("Error")
    operation: _Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": answer,
            "4XX": _json("The request is not valid, or the upstream refused it.", error),
            "5XX": _json("The upstream gave no answer.", error),
        },
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(body)}},
        }
    if parameters:
        operation["parameters"] = parameters
    if not secured:
        operation["security"] = []
    return operation


def _header(name: str, description: str, kind: str = "number", **limits: Any) -> _Schema:
    return {
        "name": f"x-wattroute-{name}",
        "in": "header",
        "description": description,
        "schema": {"type": kind, **limits},
    }


def openapi_document(version: str) -> dict[str, Any]:
    """Return the description of the endpoints in OpenAPI 3.1.

    Parameters
    ----------
    version : str
        Version of WattRoute.

    Returns
    -------
    dict
        JSON types.
    """
    options = [
        _header("quality", "Quality bar.", exclusiveMinimum=0, maximum=1),
        _header("min-probability", "Least probability of a good answer.", minimum=0, maximum=1),
        _header(
            "confidence",
            "Chance with which the quality is to be promised.",
            exclusiveMinimum=0,
            exclusiveMaximum=1,
        ),
        _header(
            "uncertified",
            "What serves a bar that is not promised.",
            "string",
            enum=list(UNCERTIFIED),
        ),
    ]
    answer = _json("The upstream's answer as it is.", {"type": "object"})
    answer["content"]["text/event-stream"] = {}
    figures = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "WattRoute proxy",
            "version": version,
            "description": "Every other path below /v1/ is passed on to the upstream.",
        },
        "paths": {
            "/v1/chat/completions": {
                "post": _operation(
                    "chat", "Route a chat request and answer it.", answer, "ChatRequest", options
                )
            },
            "/v1/route": {
                "post": _operation(
                    "route",
                    "Decide where a chat request would go, without sending it.",
                    _json("The decision.", _ref("Routed")),
                    "RouteRequest",
                    options,
                )
            },
            "/v1/feedback": {
                "post": _operation(
                    "feedback",
                    "Grade an answer.",
                    _json("It was recorded.", _ref("Recorded")),
                    "Feedback",
                )
            },
            "/v1/models": {
                "get": _operation("models", "List the models.", _json("The list.", _ref("Models")))
            },
            "/v1/models/auto": {
                "get": _operation("auto", "Describe 'auto'.", _json("It.", _ref("Model")))
            },
            "/health": {
                "get": _operation(
                    "health",
                    "Say that the process lives.",
                    _json("It does.", _ref("Health")),
                    secured=False,
                )
            },
            "/ready": {
                "get": _operation(
                    "ready",
                    "Say whether requests can be routed.",
                    _json("They can.", _ref("Ready")),
                    secured=False,
                )
            },
            "/metrics": {
                "get": _operation("metrics", "Figures of all workers.", figures, secured=False)
            },
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }
