"""Security headers on every answer, and a content security policy that names each inline script by its hash.

Dash writes two small inline scripts into its page; which ones is known only once the page is rendered. HTML answers are
therefore held back, hashed, and sent with a policy that allows exactly what they hold.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def content_security_policy(page: bytes = b"") -> str:
    """The policy for a page: own files only, plus the inline scripts it holds; styles may be inline."""
    return "; ".join(
        [
            "default-src 'none'",
            " ".join(["script-src 'self'", *script_hashes(page)]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def script_hashes(page: bytes) -> Sequence[str]:
    """CSP source expressions of the page's inline scripts, in order.

    >>> script_hashes(b'<script src="a.js"></script>')
    []
    """
    digests = [hashlib.sha256(match).digest() for match in _INLINE_SCRIPT.findall(page)]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


class SecurityHeaders:
    """ASGI middleware: adds the headers to each HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, _Answer(send).send)
        else:
            await self._app(scope, receive, send)


class _Answer:
    """One answer on its way out; an HTML one is kept until it is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._on_html(self._start, message)
        else:
            await self._send(message)

    async def _on_start(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if headers.get("content-type", "").startswith("text/html"):
            headers["cache-control"] = "no-store"
            self._start = message
        else:
            headers.setdefault("content-security-policy", content_security_policy())
            await self._send(message)

    async def _on_html(self, start: Message, message: Message) -> None:
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            MutableHeaders(scope=start)["content-security-policy"] = content_security_policy(bytes(self._body))
            await self._send(start)
            await self._send({"type": "http.response.body", "body": bytes(self._body)})
