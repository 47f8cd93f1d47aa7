"""The guard of conftest.py, which keeps the tests off the network."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("address", ["192.0.2.1", "8.8.8.8", "2001:db8::1"])
def test_other_machines_are_refused(address: str):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as connection, pytest.raises(RuntimeError, match="network"):
        connection.connect((address, 80))
    with pytest.raises(RuntimeError, match="network"):
        socket.create_connection((address, 80), timeout=1)


def test_names_are_not_looked_up():
    with pytest.raises(RuntimeError, match=r"look-up of 'example\.org'"):
        socket.create_connection(("example.org", 80), timeout=1)


def test_this_machine_may_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("localhost", port), timeout=5) as client:
            client.sendall(b"hello")
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(5) == b"hello"
