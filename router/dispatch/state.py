"""What requests share: circuit breaker, refusals of keys, conversations, the live list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from router.dispatch.access import KeyAccess
from router.dispatch.breaker import CircuitBreaker
from router.dispatch.conversations import Conversations, ConversationStore
from router.dispatch.live import LiveModels

__all__ = ["SharedState"]


@dataclass(frozen=True, slots=True)
class SharedState:
    """What outlives a request, and a change of the router. Thread-safe.

    Attributes
    ----------
    clock : callable
        Monotonic seconds.
    rng : Random
        For the jitter of waits.
    breaker : CircuitBreaker
        Health of the models.
    access : KeyAccess
        What keys may not do.
    conversations : ConversationStore
        Models of conversations.
    live : LiveModels
        Models that the API serves.
    """

    clock: Callable[[], float] = time.monotonic
    rng: Random = field(default_factory=Random)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    access: KeyAccess = field(default_factory=KeyAccess)
    conversations: ConversationStore = field(default_factory=Conversations)
    live: LiveModels = field(default_factory=LiveModels)
