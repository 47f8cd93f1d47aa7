"""Settings of all tests: no network beyond this machine, the same examples on each run."""

from __future__ import annotations

import functools
import inspect
import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import settings

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when a test module imports MLflow
settings.register_profile("wattroute", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("wattroute")

if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click 8.1 mixes by default
    CliRunner.__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Fail whatever connects to, or looks up, anything but this machine."""
    patch = pytest.MonkeyPatch()

    def guarded(name: str) -> None:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *args: Any) -> Any:
            address = args[-1]
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                raise RuntimeError(f"tests must not use the network: {name} {address!r}")
            return original(self, *args)

        patch.setattr(socket.socket, name, call)

    for name in ("connect", "connect_ex", "sendto"):
        guarded(name)
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise RuntimeError(f"tests must not use the network: look-up of {host!r}")
        return look_up(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    patch.undo()
