"""Which addresses a destination may be on, checked where the connection is made.

A host name proves nothing: it may resolve to an internal address, to several addresses, or to another one at the next
look-up. So every attempt resolves the name anew, requires every address it has to be allowed, and connects to one of
exactly these; the Host header and the TLS server name stay the name's. IPv6 forms that carry an IPv4 address are
judged by that address.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpcore

from monitor.errors import VedetteError

CONNECT_S = 5.0
"""For one address, so that an unreachable one leaves time for the next."""

MOST_ADDRESSES = 8

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to every address of the host; raises OSError when there is none."""

SocketOptions = Iterable[Any] | None

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL = tuple(ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20"))


class Reach(StrEnum):
    """How near a destination may be."""

    PUBLIC = "public"
    ANYWHERE = "anywhere"
    """Loopback, private and link-local addresses too."""


class ForbiddenAddress(VedetteError):
    """A host has an address that its destination may not be on."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An end that all steps of one attempt share; ``at`` on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left(self, error: type[Exception]) -> float:
        """Seconds left, > 0; raises ``error`` when there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise error("deadline passed")
        return left


def resolve_with_system(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def allowed_addresses(host: str, port: int, reach: Reach, resolve: Resolve) -> Sequence[str]:
    """The addresses of ``host``, all of them allowed.

    Raises:
        ForbiddenAddress: at least one is not; a name with both kinds is not trusted at all.
        OSError: the name does not resolve.
    """
    addresses = resolve(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    for text in addresses:
        if not is_allowed(ipaddress.ip_address(text), reach):
            hint = "; set allow_private_addresses if that is intended" if reach is Reach.PUBLIC else ""
            raise ForbiddenAddress(f"{host} is at {text}, which is no public address{hint}")
    return addresses[:MOST_ADDRESSES]


def is_allowed(address: Address, reach: Reach) -> bool:
    """Whether a destination of that reach may be at ``address``.

    >>> is_allowed(ipaddress.ip_address("64:ff9b::7f00:1"), Reach.PUBLIC)
    False
    """
    judged = _carried(address) or address
    if judged.is_multicast or judged.is_unspecified:
        return False
    if isinstance(judged, ipaddress.IPv4Address) and judged.is_reserved:
        return False
    if reach is Reach.ANYWHERE:
        return True
    if isinstance(judged, ipaddress.IPv6Address) and judged not in _GLOBAL_UNICAST:
        return False
    return judged.is_global and not any(judged in net for net in _SPECIAL if net.version == judged.version)


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, translated, compatible, NAT64 or 6to4."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    plain = ipaddress.IPv6Address(int(address))
    if plain in _NAT64 or plain in _TRANSLATED or (plain in _COMPATIBLE and int(plain) > 1):
        return ipaddress.IPv4Address(int(plain) & 0xFFFF_FFFF)
    return None


class GuardedBackend(httpcore.NetworkBackend):
    """Network of one attempt: connects only to allowed addresses, and nothing outlives the deadline."""

    def __init__(self, reach: Reach, resolve: Resolve, deadline: Deadline) -> None:
        self._reach = reach
        self._resolve = resolve
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        addresses = allowed_addresses(host, port, self._reach, self._resolve)
        failure: Exception = httpcore.ConnectError(f"{host} cannot be reached")
        for address in addresses:
            left = min(CONNECT_S, self._deadline.left(httpcore.ConnectTimeout))
            try:
                stream = self._network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions = None
    ) -> httpcore.NetworkStream:
        raise ForbiddenAddress("a destination is never a Unix socket")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("attempts are repeated by the outbox, never here")


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose every step has only what is left of the whole, so that a slow drip cannot hold it open."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
