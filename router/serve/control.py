"""The proxy's own endpoints: decisions without a call, grades, models, health and metrics."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import router
from router.dispatch.names import AUTO
from router.serve.chat import options_of, plan_of, read_chat
from router.serve.forwarding import check_access, upstream_headers, upstream_key
from router.serve.json_body import check_json, finite, parse_object, read_body
from router.serve.metrics import CONTENT_TYPE
from router.serve.openapi import openapi_document
from router.serve.problems import Problem
from router.serve.service import Service, model_row

__all__ = ["ControlEndpoints"]

_MAX_FEEDBACK_BYTES = 2**16
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class ControlEndpoints:
    """The endpoints that the proxy answers itself.

    Parameters
    ----------
    service : Service
        The worker's state.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._document = openapi_document(router.__version__)

    def routes(self) -> list[Route]:
        """Return their routes for Starlette."""
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/auto", self.auto_model, methods=["GET"]),
            Route("/v1/route", self.route, methods=["POST"]),
            Route("/v1/feedback", self.feedback, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/ready", self.ready, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def models(self, request: Request) -> Response:
        """List the upstream's models and ``auto``; the pool's where the upstream is away."""
        service, headers = self._service, request.headers.raw
        check_access(service.settings, headers)
        key = upstream_key(service.settings, headers)
        status, listed = await service.fetch_models(upstream_headers(service.settings, headers))
        if status in (401, 403):
            raise Problem(status, "the upstream refused the key", code="invalid_api_key")
        if status == 200 and isinstance(listed, dict) and isinstance(listed.get("data"), list):
            listed = service.with_own_models(listed)
            service.dispatcher.live.update(key, listed)
            own_headers: dict[str, str] = {}
        else:
            service.dispatcher.live.failed(key)
            routes = service.dispatcher.router
            ids = [] if routes is None else [model.id for model in routes.models]
            listed = service.with_own_models({"object": "list", "data": list(map(model_row, ids))})
            own_headers = {"x-wattroute-fallback": "the upstream gave no list: these are the pool"}
        rows = [
            row for row in listed["data"] if not (isinstance(row, dict) and row.get("id") == AUTO)
        ]
        return JSONResponse(
            {**listed, "object": "list", "data": [model_row(AUTO), *rows]}, headers=own_headers
        )

    async def auto_model(self, request: Request) -> Response:
        """Return the entry of ``auto``."""
        check_access(self._service.settings, request.headers.raw)
        return JSONResponse(model_row(AUTO))

    async def route(self, request: Request) -> Response:
        """Decide where a chat request would go, without sending it."""
        service, headers = self._service, request.headers.raw
        check_access(service.settings, headers)
        check_json(headers)
        raw = await read_body(request.scope, request.receive, service.settings.max_body_bytes)
        body = read_chat(raw, default_model=AUTO)
        options = options_of(headers, body)
        if options is None:
            text = f"{body['model'][:100]!r} is not routed: name 'auto', or no model"
            raise Problem(400, text, code="invalid_value", param="model")
        plan = await asyncio.to_thread(plan_of, service, headers, body, options)
        step = plan.next()
        plan.cancelled()  # nothing is sent
        record = plan.record()
        shown = record.to_dict()
        answer: dict[str, Any] = {
            "request_id": service.request_ids.draw(),
            "model": record.model if step is None else step.model,
            "max_tokens": None if step is None else step.max_tokens,
        }
        names = (
            "reason",
            "probability",
            "expected_energy_j",
            "reference_energy_j",
            "novelty",
            "certificate",
            "floor_certificate",
            "decision",
            "excluded",
            "fallback",
            "kept",
            "warnings",
        )
        return JSONResponse(finite(answer | {name: shown.get(name) for name in names}))

    async def feedback(self, request: Request) -> Response:
        """Take the grade of an answer."""
        service = self._service
        check_access(service.settings, request.headers.raw)
        check_json(request.headers.raw)
        raw = await read_body(request.scope, request.receive, _MAX_FEEDBACK_BYTES)
        request_id, quality = _checked_feedback(parse_object(raw))
        if service.settings.log is None:
            raise Problem(
                409, "this proxy keeps no decision log: start it with --log FILE", code="no_log"
            )
        line = {
            "kind": "feedback",
            "request_id": request_id,
            "time": round(time.time(), 3),
            "quality": quality,
        }
        service.keep(line)
        service.metrics.count("wattroute_feedback_total")
        service.metrics.count("wattroute_feedback_quality_sum", quality)
        return JSONResponse({"request_id": request_id, "quality": quality, "status": "recorded"})

    async def health(self, request: Request) -> Response:
        """Say that the process lives."""
        return JSONResponse({"status": "ok", "version": router.__version__})

    async def ready(self, request: Request) -> Response:
        """Say whether requests can be routed."""
        service = self._service
        routes = service.dispatcher.router
        default = service.settings.default_model
        status = "stopping" if service.stopping else "ready" if routes else "default model only"
        return JSONResponse(
            {
                "status": status,
                "models": [] if routes is None else [model.id for model in routes.models],
                "quality": service.settings.quality,
                "default_model": default or (None if routes is None else routes.reference),
            },
            status_code=503 if service.stopping else 200,
        )

    async def metrics(self, request: Request) -> Response:
        """Return the figures of all workers."""
        return Response(self._service.metrics.render(), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """Return the description of the endpoints."""
        return JSONResponse(self._document)


def _checked_feedback(body: dict[str, Any]) -> tuple[str, float]:
    unknown = sorted(body.keys() - {"request_id", "quality"})
    if unknown:
        name = unknown[0][:100]
        raise Problem(400, f"unknown field {name!r}", code="invalid_value", param=name)
    request_id, quality = body.get("request_id"), body.get("quality")
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise Problem(
            400,
            "request_id must be that of an answer's x-wattroute-request-id header",
            code="invalid_value",
            param="request_id",
        )
    if isinstance(quality, bool) or not isinstance(quality, int | float) or not 0 <= quality <= 1:
        raise Problem(
            400, "quality must be a number from 0 to 1", code="invalid_value", param="quality"
        )
    return request_id, float(quality)
