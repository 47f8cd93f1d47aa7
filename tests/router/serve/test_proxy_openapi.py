"""The proxy held against its own description: valid requests, wrong ones, every answer."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks

from router.serve.control import ControlEndpoints
from router.serve.openapi import openapi_document

# a header that nobody knows is no mistake
config = schemathesis.Config.from_dict({"generation": {"allow-extra-parameters": False}})
described = schemathesis.openapi.from_dict(openapi_document("0"), config=config)


@described.parametrize()
@settings(
    max_examples=25,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # a request that hangs would be shrunk for hours
)
def test_answers_are_as_described(case: Any, shared_proxy: Any):
    # other methods of a path below /v1/ are the upstream's
    names = ("allow_header_conformance", "unsupported_method")  # the first one is not in all of 4
    excluded: list[Any] = [getattr(checks, name) for name in names if hasattr(checks, name)]
    case.call_and_validate(base_url=shared_proxy.root, excluded_checks=excluded)


def test_every_endpoint_is_described_and_asked(shared_proxy: Any):
    own = {route.path for route in ControlEndpoints(shared_proxy.service).routes()}
    asked = {operation.ok().path for operation in described.get_all_operations()}
    assert asked == (own | {"/v1/chat/completions"}) - {"/openapi.json"}
