"""Which headers pass through the proxy, and in whose name."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from router.serve.problems import Problem
from router.serve.settings import Settings, is_loopback

__all__ = [
    "bearer_key",
    "check_access",
    "check_origin",
    "downstream_headers",
    "header",
    "upstream_headers",
    "upstream_key",
    "without_keys",
]

Headers = Sequence[tuple[bytes, bytes]]

# those of one connection only (RFC 9110, section 7.6.1)
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_UPSTREAM = _HOP_BY_HOP | {b"accept-encoding", b"content-length", b"cookie", b"expect", b"host"}
_KEYS = frozenset({b"authorization", b"api-key", b"x-api-key"})
_NOT_DOWNSTREAM = _HOP_BY_HOP | {b"content-length", b"date", b"server"}
_OWN = b"x-wattroute-"
# what web pages may do is for the proxy to say, and it lets them do nothing
_CROSS_ORIGIN = b"access-control-"
# a shorter one would black out ordinary words
_LEAST_KEY = 6


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first header of a name in lower case, or None.

    Parameters
    ----------
    headers : sequence of tuple of bytes
        The headers.
    name : bytes
        The name.
    """
    for candidate, value in headers:
        if candidate == name:
            return value
    return None


def bearer_key(headers: Headers) -> str | None:
    """Return the API key that a request came with, or None.

    Parameters
    ----------
    headers : sequence of tuple of bytes
        Its headers.
    """
    value = header(headers, b"authorization")
    if value is None:
        return None
    scheme, _, key = value.decode("latin-1").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def upstream_key(settings: Settings, headers: Headers) -> str | None:
    """Return the key that the upstream gets with a request, or None.

    Parameters
    ----------
    settings : Settings
        Whether the proxy holds the key, or takes the client's for itself.
    headers : sequence of tuple of bytes
        The client's headers.
    """
    if settings.key is not None or settings.access_key is not None:
        return settings.key
    return bearer_key(headers)


def check_access(settings: Settings, headers: Headers) -> None:
    """Refuse a client that did not send the key that the proxy asks for.

    Parameters
    ----------
    settings : Settings
        Whether it asks for one.
    headers : sequence of tuple of bytes
        The request's headers.

    Raises
    ------
    Problem
        401.
    """
    if settings.access_key is None:
        return
    given = bearer_key(headers) or ""
    if not hmac.compare_digest(given.encode("latin-1"), settings.access_key.encode()):
        raise Problem(
            401,
            "this proxy wants its own key in the Authorization header",
            code="invalid_api_key",
            headers=[(b"www-authenticate", b"Bearer")],
        )


def check_origin(settings: Settings, headers: Headers) -> None:
    """Refuse what a web page of another site has its visitor's browser send.

    The browser may be on the machine of the proxy, where nobody else reaches it. Programs that
    are no browser send neither header.

    Parameters
    ----------
    settings : Settings
        Where the proxy listens.
    headers : sequence of tuple of bytes
        The request's headers.

    Raises
    ------
    Problem
        403.
    """
    origin = header(headers, b"origin")
    foreign = header(headers, b"sec-fetch-site") == b"cross-site"
    if origin is not None and not foreign:
        own = (header(headers, b"host") or b"").lower()
        foreign = origin.lower().partition(b"://")[2] != own
        # a name that its owner lets point to this machine is no name of the proxy's
        foreign = foreign or (is_loopback(settings.host) and not is_loopback(_name_of(own)))
    if foreign:
        raise Problem(
            403,
            "this is a request of a web page of another site: the proxy answers programs, and "
            "pages of its own host",
            code="forbidden_origin",
        )


def _name_of(host: bytes) -> str:
    """Return the name in a Host header, which may have a port and brackets."""
    name = host.decode("latin-1")
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def upstream_headers(
    settings: Settings,
    headers: Headers,
    *,
    with_key: bool = True,
    encoding: bytes = b"identity",
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request as the upstream gets them.

    Parameters
    ----------
    settings : Settings
        Whether the proxy holds the key.
    headers : sequence of tuple of bytes
        The client's headers.
    with_key : bool
        Whether the server may see a key.
    encoding : bytes
        Encodings of the answer that may be used.

    Returns
    -------
    list of tuple of bytes
        All but those of the connection, cookies and the proxy's own; with the key that the
        proxy holds, or the client's unless that was for the proxy.
    """
    own_key = settings.key is not None or settings.access_key is not None
    dropped = _NOT_UPSTREAM | _KEYS if own_key or not with_key else _NOT_UPSTREAM
    passed = [
        (name, value)
        for name, value in headers
        if name not in dropped and not name.startswith(_OWN)
    ]
    passed.append((b"accept-encoding", encoding))
    if settings.key is not None and with_key:
        passed.append((b"authorization", b"Bearer " + settings.key.encode()))
    return passed


def downstream_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer as the client gets them.

    Parameters
    ----------
    headers : iterable of tuple of bytes
        The upstream's headers.

    Returns
    -------
    list of tuple of bytes
        All but those of the connection, those that the proxy sets itself, and those that open
        an answer to web pages.
    """
    return [
        (name, value)
        for name, value in headers
        if name not in _NOT_DOWNSTREAM and not name.startswith((_OWN, _CROSS_ORIGIN))
    ]


def without_keys(settings: Settings, headers: Headers, data: bytes) -> bytes:
    """Return what an upstream said, with the keys that it was sent blacked out.

    Parameters
    ----------
    settings : Settings
        Whether the proxy holds the key.
    headers : sequence of tuple of bytes
        The client's headers.
    data : bytes
        What it said.
    """
    for key in (settings.key, settings.access_key, bearer_key(headers)):
        if key is not None and len(key) >= _LEAST_KEY:
            data = data.replace(key.encode("latin-1"), b"***")
    return data
