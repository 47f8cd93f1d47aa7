from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.dispatch import Failure, failure_from_event, failure_from_response
from router.errors import UpstreamError


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}, "auth"),
        (402, {"error": "insufficient_quota", "message": "pay"}, "quota"),
        (403, {"error": "model_access_denied", "required_plan": "premium"}, "forbidden"),
        (403, {"error": {"message": "no access to this model"}}, "forbidden"),
        (403, {"error": "rate_limit_exceeded", "daily_limit": 60}, "quota"),
        (403, {"message": "Daily limit reached"}, "quota"),
        (403, {"message": "plan limit reached"}, "quota"),
        (403, "<html>Forbidden</html>", "forbidden"),
        (404, {"error": {"message": "no such model", "code": "model_not_found"}}, "not_found"),
        (429, {"error": "rate_limit_exceeded", "message": "slow down"}, "rate_limit"),
        (429, {"error": "rate_limit_exceeded", "daily_limit": 60}, "quota"),
        (429, {"error": {"message": "no money", "code": "insufficient_quota"}}, "quota"),
        (400, {"error": {"message": "temperature must be <= 2"}}, "bad_request"),
        (422, {"detail": "messages: field required"}, "bad_request"),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "capability"),
        (400, {"error": {"message": "This model does not support tools"}}, "capability"),
        (400, {"error": {"message": "image input is not supported by m"}}, "capability"),
        (400, {"error": {"message": "maximum context length is 8192 tokens"}}, "capability"),
        (408, None, "unavailable"),
        (500, b"\xff\xfe", "unavailable"),
        (502, {"error": "bad gateway"}, "unavailable"),
        (503, "", "unavailable"),
        (504, None, "unavailable"),
        (302, None, "invalid_response"),
    ],
)
def test_kind(status: int, body: object, kind: str):
    assert failure_from_response(status, {}, body).kind == kind
    sent = json.dumps(body).encode() if isinstance(body, dict) else body
    assert failure_from_response(status, {}, sent).kind == kind


def test_a_wait_of_a_minute_is_no_daily_limit():
    body = {"error": "rate_limit_exceeded", "daily_limit": 60}
    failure = failure_from_response(429, {"Retry-After": "20"}, body)
    assert (failure.kind, failure.retry_after_s, failure.daily_limit) == ("rate_limit", 20.0, 60)


def test_fields_of_oxlo_and_openai():
    body = {
        "error": "model_access_denied",
        "message": "Upgrade",
        "required_plan": "premium",
        "daily_limit": 60,
    }
    failure = failure_from_response(403, {"X-Request-Id": "r-1"}, body)
    assert (failure.code, failure.message) == ("model_access_denied", "Upgrade")
    assert (failure.required_plan, failure.daily_limit) == ("premium", 60)
    assert failure.request_id == "r-1"
    assert failure.to_openai()["error"]["required_plan"] == "premium"
    nested = {"error": {"message": "No", "type": "t", "code": None, "required_plan": "pro"}}
    failure = failure_from_response(403, {}, nested)
    assert (failure.code, failure.message, failure.required_plan) == ("t", "No", "pro")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1.5"}, 1.5),
        ({"RETRY-AFTER": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None):
    assert failure_from_response(429, headers, now=lambda: 40.0).retry_after_s == seconds


@pytest.mark.parametrize(
    "text",
    ["Incorrect API key provided: sk-abcdef123456.", "got Authorization Bearer abc.def-ghi"],
)
def test_keys_are_not_repeated(text: str):
    failure = failure_from_response(401, {}, {"error": {"message": text}})
    assert "***" in failure.message
    assert not any(secret in failure.message for secret in ("abcdef", "abc.def"))


def test_ids_of_models_are_no_keys():
    text = "oxlo-coder-fast is not available: invalid_api_key"
    assert failure_from_response(404, {}, {"error": {"message": text}}).message == text


def test_messages_are_short_and_on_one_line():
    failure = failure_from_response(500, {}, "line\n" * 10_000)
    assert len(failure.message) == 500
    assert "\n" not in failure.message


def test_upstream_error():
    error = failure_from_response(503, {"x-request-id": "r"}).upstream_error()
    assert isinstance(error, UpstreamError)
    assert (error.status, error.request_id, error.retryable) == (503, "r", True)
    assert not failure_from_response(401).upstream_error().retryable


def test_status_for_a_caller():
    assert Failure.timeout().http_status == 504
    assert Failure.connection().http_status == 502
    assert Failure.invalid_response("no JSON").http_status == 502
    assert failure_from_response(429).http_status == 429


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "busy", "code": 503}, "unavailable"),
        ({"message": "slow", "code": "429"}, "rate_limit"),
        ({"message": "no", "code": 403}, "forbidden"),
        ({"message": "died", "code": "server_error"}, "unavailable"),
        ({"message": "odd", "code": 7}, "unavailable"),
        ("worker died", "unavailable"),
        (None, "unavailable"),
    ],
)
def test_errors_with_status_200(error: object, kind: str):
    assert failure_from_event(error).kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["error", "message", "daily_limit", "detail", "code"]), JSON),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text()),
)
def test_any_response_is_read(status: int, body: object, headers: dict[str, str]):
    failure = failure_from_response(status, headers, body)
    assert failure.status == status
    assert failure.message
    assert failure.retry_after_s is None or failure.retry_after_s >= 0
    json.dumps(failure.to_openai())


@given(st.binary())
def test_any_bytes_are_read(body: bytes):
    assert failure_from_response(503, None, body).kind == "unavailable"
