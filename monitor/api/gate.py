"""The gate before every route: a request id, the bearer token, the body limit, and the last word on errors.

It is ASGI middleware and not a dependency, because dependencies are only asked on routes that exist, and after the
body has been read.
"""

from __future__ import annotations

import hmac
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.problems import problem
from monitor.telemetry import Metrics

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger(__name__)


class Gate:
    """Answers 401 and 413 itself, before anything of the body is read, and turns a crash of a route into a 500.

    Args:
        token: bearer token that every request must carry; None lets everybody in.
        max_body_bytes: also enforced while reading, for bodies that do not tell their length.
    """

    def __init__(self, app: ASGIApp, token: str | None, max_body_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._token = token
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                refusal = self._refusal(headers, request_id)
                await (refusal or self._app)(scope, self._limited(receive), answer.send)
            except ClientDisconnect:
                log.info("client_left", path=scope["path"])
            except Exception:
                log.exception("request_failed", path=scope["path"])
                if answer.status is not None:
                    raise
                await problem(500, _CRASHED, request_id)(scope, receive, answer.send)
        self._count(scope, answer.status, time.perf_counter() - started)

    def _refusal(self, headers: Headers, request_id: str) -> Response | None:
        if self._token is not None and not _carries(headers, self._token):
            detail = "send the header Authorization: Bearer TOKEN with the token of the setting web.token"
            return problem(401, detail, request_id, headers={"WWW-Authenticate": 'Bearer realm="vedette"'})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body_bytes:
            return problem(413, self._too_large(), request_id)
        return None

    def _limited(self, receive: Receive) -> Receive:
        n_bytes = 0

        async def limited() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_body_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return limited

    def _too_large(self) -> str:
        return f"the body is larger than {self._max_body_bytes} bytes (setting web.max_body_bytes); send it in parts"

    def _count(self, scope: Scope, status: int | None, elapsed_s: float) -> None:
        """Addresses without a route share one label, so that strangers cannot add labels."""
        operation = getattr(scope.get("route"), "operation_id", None) or "none"
        self._metrics.http_requests.labels(operation, str(status or "none")).inc()
        self._metrics.http_request_seconds.labels(operation).observe(elapsed_s)


_CRASHED = "the service failed at this request; its log tells more under the request id"


class _Answer:
    """Passes an answer on with the request id in its head, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self._request_id
        await self._send(message)


def _request_id(headers: Headers) -> str:
    """The caller's own id where it is a plain one, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _carries(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode("utf-8"))
    return scheme.lower() == "bearer" and same
