"""One guarded POST: no redirects, no proxies, no cookies, a total time limit and a bounded answer."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpcore
import httpx

from monitor.delivery.address_guard import (
    Deadline,
    ForbiddenAddress,
    GuardedBackend,
    Reach,
    Resolve,
    resolve_with_system,
)
from monitor.delivery.base import LONGEST_ANSWER, DeliveryOutcome, Receipt
from monitor.errors import SettingsError
from monitor.telemetry import product_version, redact_text

TIMEOUT_S = 15.0
_MASK = "**********"
_SHORTEST_SECRET = 6
_BUSY = {408, 425, 429}
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (httpcore.TimeoutException, "the receiver did not answer in time"),
    (httpcore.ConnectError, "the receiver cannot be reached"),
    (httpcore.ProtocolError, "the receiver does not speak HTTP"),
    (httpcore.NetworkError, "the connection broke"),
    (OSError, "the receiver's name cannot be resolved"),
)
_FAILING = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    OSError,
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts to one URL. ``secrets`` are masked in every answer it gives back."""

    url: str = field(repr=False)
    reach: Reach
    secrets: Sequence[str] = field(default=(), repr=False)
    timeout_s: float = TIMEOUT_S
    resolve: Resolve = resolve_with_system
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context, repr=False)

    def post(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Receipt:
        """One attempt; a failing receiver is an answer, not an error."""
        try:
            return self._attempt(headers, body, now)
        except ForbiddenAddress as error:
            return Receipt(DeliveryOutcome.RETRY, answer=str(error))
        except _FAILING as error:
            return Receipt(DeliveryOutcome.RETRY, answer=self._masked(_failure(error)))

    def _attempt(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Receipt:
        backend = GuardedBackend(self.reach, self.resolve, Deadline.after(self.timeout_s))
        sent = {"User-Agent": f"vedette/{product_version()}", "Accept": "*/*", "Connection": "close", **headers}
        with (
            httpcore.ConnectionPool(ssl_context=self.tls, network_backend=backend, max_connections=1) as pool,
            pool.stream("POST", self.url, headers=list(sent.items()), content=body) as response,
        ):
            answer = self._read(response)
            asked = retry_after_s(_header(response, b"retry-after"), now)
        outcome = outcome_of(response.status)
        return Receipt(outcome, response.status, answer, asked if outcome is DeliveryOutcome.RETRY else None)

    def _read(self, response: httpcore.Response) -> str:
        """The beginning of the answer; the status stands even if the rest never comes."""
        kept = b""
        try:
            for chunk in response.iter_stream():
                kept += chunk[: 2 * LONGEST_ANSWER]
                if len(kept) >= 2 * LONGEST_ANSWER:
                    break
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            pass
        return self._masked(kept[: 2 * LONGEST_ANSWER].decode("utf-8", "replace"))

    def _masked(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = _without_cut_secret(text.replace(secret, _MASK), secret)
        masked = redact_text(text).encode("utf-8", "replace")[:LONGEST_ANSWER]
        return masked.decode("utf-8", "ignore")


def outcome_of(status: int) -> DeliveryOutcome:
    """Only 2xx is delivered. 4xx is final, except time-outs and rate limits; everything else may pass."""
    if 200 <= status < 300:
        return DeliveryOutcome.DELIVERED
    if 400 <= status < 500 and status not in _BUSY:
        return DeliveryOutcome.PERMANENT
    return DeliveryOutcome.RETRY


def retry_after_s(value: str, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header (delta or HTTP date), ≥ 0; None when it says nothing readable.

    >>> retry_after_s("30", datetime(2026, 1, 1, tzinfo=UTC))
    30.0
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def checked_url(url: str, schemes: frozenset[str], name: str) -> str:
    """``url`` when a destination may have it; faults never quote it, since it may be a secret.

    Raises:
        SettingsError: another scheme, user information, or no host.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError([f"destinations.{name}.url: not a URL"]) from None
    if parts.scheme not in schemes:
        hint = "; set allow_http to send in the clear" if parts.scheme == "http" else ""
        raise SettingsError([f"destinations.{name}.url: must start with {' or '.join(sorted(schemes))}://{hint}"])
    if parts.username is not None or parts.password is not None:
        raise SettingsError([f"destinations.{name}.url: must not carry a user name or password"])
    if not host or not url.isascii() or any(c.isspace() for c in url):
        raise SettingsError([f"destinations.{name}.url: needs a host, and ASCII without spaces"])
    return url


def url_secrets(url: str) -> tuple[str, ...]:
    """Parts of a URL that may let somebody else post: the query, and each long part of the path."""
    parts = urlsplit(url)
    found = (url, parts.path, parts.query, *parts.path.split("/"))
    return tuple(dict.fromkeys(part for part in found if len(part) >= _SHORTEST_SECRET))


def _failure(error: Exception) -> str:
    if isinstance(error, httpcore.ConnectError) and isinstance(error.__context__, ssl.SSLError):
        return f"TLS failed: {error.__context__.reason or 'handshake'}"
    return next((words for kind, words in _FAILURES if isinstance(error, kind)), "the receiver's name is not valid")


def _without_cut_secret(text: str, secret: str) -> str:
    """``text`` without a beginning of ``secret`` at its end, where the answer was cut."""
    for size in range(len(secret) - 1, 3, -1):
        if text.endswith(secret[:size]):
            return text[:-size]
    return text


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")
