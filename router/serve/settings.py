"""What the operator of a proxy decides."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, field
from pathlib import Path

from router.dispatch import RetryPolicy, RoutingOptions
from router.errors import ConfigError
from router.serve.upstream import Timeouts

__all__ = ["Settings"]

_MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a proxy.

    Attributes
    ----------
    upstream : str
        Base URL of the OpenAI-compatible server, such as ``https://api.oxlo.ai/v1``.
    model_upstreams : dict of str to str
        Base URLs of models that have a server of their own. No key is sent there.
    router : str or Path, optional
        Folder of a router, its URI in an MLflow store, or a TOML file of task rules; the bundled
        router where absent.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    workers : int
        Processes that serve.
    quality : float
        Quality bar of requests that name none.
    min_probability : float, optional
        Least probability of a good answer.
    confidence : float, optional
        Chance with which the bar is to be promised; the router's own where absent.
    group : str, optional
        Kind of the prompts that the bar is promised for; all traffic where absent.
    uncertified : {"reference", "estimate"}, optional
        What serves a bar that the router does not promise.
    default_model : str, optional
        Where requests go if the router fails; its reference model where absent.
    plan : str, optional
        Plan of the API, whose token caps are kept.
    key : str, optional
        Key for the upstream; the clients' own keys are passed on where absent.
    access_key : str, optional
        Key that clients must send to the proxy.
    log : Path, optional
        The decision log.
    log_prompts : bool
        Whether prompts are in it.
    max_body_bytes : int
        Largest request.
    max_prompt_characters : int
        Longest prompt that is routed.
    max_in_flight : int
        Requests that one worker answers at a time.
    drain_s : float
        Seconds that answers may take to finish after a signal to stop.
    timeouts : Timeouts
        How long to wait for the upstream.
    retry : RetryPolicy
        How often and after what wait a request is tried again.

    Raises
    ------
    ConfigError
        If a setting is out of its range, or one needs another.
    """

    upstream: str
    model_upstreams: dict[str, str] = field(default_factory=dict)
    router: str | Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    quality: float = 0.98
    min_probability: float | None = None
    confidence: float | None = None
    group: str | None = None
    uncertified: str | None = None
    default_model: str | None = None
    plan: str | None = None
    key: str | None = field(default=None, repr=False)
    access_key: str | None = field(default=None, repr=False)
    log: Path | None = None
    log_prompts: bool = False
    max_body_bytes: int = 20 * 2**20
    max_prompt_characters: int = 4_000_000
    max_in_flight: int = 1_000
    drain_s: float = 30.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}: use a number from 0 to 65535")
        if not 1 <= self.workers <= _MAX_WORKERS:
            raise ConfigError(f"workers is {self.workers}: use a number from 1 to {_MAX_WORKERS}")
        RoutingOptions(
            self.quality, self.min_probability, self.confidence, self.group, self.uncertified
        )
        for name in ("max_body_bytes", "max_prompt_characters", "max_in_flight"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: use at least 1")
        waits = ("connect_s", "first_byte_s", "idle_s")
        seconds = {name: getattr(self.timeouts, name) for name in waits} | {"drain_s": self.drain_s}
        for name, value in seconds.items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value!r}: use a number of seconds above 0")
        for name in ("key", "access_key"):
            value = getattr(self, name)
            if value is not None and not (
                value.isascii() and value.isprintable() and value.strip()
            ):
                # without the value: it is a secret
                raise ConfigError(f"the {name} must be printable ASCII text, and not blank")
        if self.log_prompts and self.log is None:
            raise ConfigError("prompts are logged to the decision log: name its file with --log")
        if self.key and not self.access_key and not is_loopback(self.host):
            raise ConfigError(
                f"anyone who reaches {self.host} could spend the key that the proxy holds: set "
                "--access-key-env, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's alone.

    Parameters
    ----------
    host : str
        Without a port or brackets.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
