"""Dispatching: from a chat request to the models to try, the waits and the record of it.

The client and the proxy share it. It sends nothing, sleeps never and knows neither HTTP library:
a `Dispatcher` makes a `Plan` of a request, the plan says what to send next, and is told what
became of it.
"""

from __future__ import annotations

from router.dispatch.access import KeyAccess, key_fingerprint
from router.dispatch.breaker import CircuitBreaker
from router.dispatch.capabilities import (
    ModelCapabilities,
    PlanLimits,
    capabilities_of,
    plan_limits,
)
from router.dispatch.conversations import Conversations, ConversationStore, session_key
from router.dispatch.dispatcher import Dispatcher
from router.dispatch.failure import (
    Failure,
    FailureKind,
    failure_from_event,
    failure_from_response,
)
from router.dispatch.live import LiveModels, parse_models
from router.dispatch.names import RoutingName, parse_routing_name
from router.dispatch.options import RoutingOptions
from router.dispatch.plan import Plan, Step
from router.dispatch.profile import RequestProfile, profile_request
from router.dispatch.record import Attempt, Dispatched, Exclusion
from router.dispatch.retry import RetryPolicy
from router.dispatch.routes import Routes, load_router
from router.dispatch.stream import StreamWatch
from router.dispatch.usage import Usage, usage_of

__all__ = [
    "Attempt",
    "CircuitBreaker",
    "ConversationStore",
    "Conversations",
    "Dispatched",
    "Dispatcher",
    "Exclusion",
    "Failure",
    "FailureKind",
    "KeyAccess",
    "LiveModels",
    "ModelCapabilities",
    "Plan",
    "PlanLimits",
    "RequestProfile",
    "RetryPolicy",
    "Routes",
    "RoutingName",
    "RoutingOptions",
    "Step",
    "StreamWatch",
    "Usage",
    "capabilities_of",
    "failure_from_event",
    "failure_from_response",
    "key_fingerprint",
    "load_router",
    "parse_models",
    "parse_routing_name",
    "plan_limits",
    "profile_request",
    "session_key",
    "usage_of",
]
