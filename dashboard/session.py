"""One token, asked for once: a login page in front of every page, and a session cookie after it.

The cookie says when the session ends and carries an HMAC of that under the token, so there is nothing to store and a
changed token ends every session. It is SameSite=Strict: a page opened from a link elsewhere (a chat message) comes
without it, and is answered with a page that asks again from here, this time with the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import time
from collections.abc import Callable, Collection
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.settings import DashboardSettings

COOKIE = "vedette_session"
LOGIN = "/login"
_MAX_FORM_BYTES = 8_192


class Gate:
    """ASGI middleware: lets through whoever holds a session, and what needs none.

    Args:
        open_paths: exact paths that need no session (health, metrics).
        open_prefixes: what begins so needs none (the API, which has its own check, and the style sheet).
        clock: epoch seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: DashboardSettings,
        open_paths: Collection[str],
        open_prefixes: tuple[str, ...],
        clock: Callable[[], float] = time.time,
    ) -> None:
        if settings.token is None:
            raise ValueError("a gate needs a token")
        self._app = app
        self._token = settings.token.get_secret_value().encode()
        self._session_s = settings.session_s
        self._open_paths = frozenset(open_paths)
        self._open_prefixes = open_prefixes
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._refuse_websocket(scope, receive, send)
            return
        request = Request(scope, receive)
        if scope["path"] == LOGIN:
            await (await self._login(request))(scope, receive, send)
        elif is_valid(request.cookies.get(COOKIE, ""), self._token, self._clock()):
            await self._app(scope, receive, send)
        else:
            await _ask(request)(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or path.startswith(self._open_prefixes)

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": "the pages do not use websockets"})

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _login_page(safe_next(request.query_params.get("next", "/")), "")
        form = parse_qs((await _short_body(request)).decode("utf-8", "replace"), max_num_fields=10)
        given, target = form.get("token", [""])[0], safe_next(form.get("next", ["/"])[0])
        if not hmac.compare_digest(_digest(given.encode()), _digest(self._token)):
            return _login_page(target, "That is not the token. It is web.token in Vedette's settings.", status=401)
        return self._welcome(request, target)

    def _welcome(self, request: Request, target: str) -> Response:
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(
            COOKIE,
            session_value(self._token, self._clock() + self._session_s),
            max_age=self._session_s,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            path="/",
        )
        return answer


def session_value(token: bytes, ends_at: float) -> str:
    """Cookie value of a session that ends at ``ends_at`` (epoch seconds)."""
    end = str(int(ends_at))
    return f"{end}.{_signature(token, end)}"


def is_valid(value: str, token: bytes, now: float) -> bool:
    """Whether a cookie value was made with this token and has not ended."""
    end, _, signature = value.partition(".")
    if not end.isascii() or not end.isdigit() or len(end) > 12:
        return False
    return hmac.compare_digest(_signature(token, end).encode(), signature.encode()) and int(end) > now


def safe_next(target: str) -> str:
    """Where to go after the login: a path of this site, or the first page.

    >>> safe_next("/alerts?status=open"), safe_next("//elsewhere"), safe_next("https://elsewhere")
    ('/alerts?status=open', '/', '/')
    """
    inside = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if inside and not target.startswith(LOGIN) else "/"


def _signature(token: bytes, end: str) -> str:
    return hmac.new(token, f"vedette-session:{end}".encode(), hashlib.sha256).hexdigest()


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


async def _short_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return b""
    return bytes(body)


def _ask(request: Request) -> Response:
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not wants_page:
        return Response("Log in first: open this site in a browser.", 401, media_type="text/plain")
    target = safe_next(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(_PAGE.format(head=_refresh(target), body='<p class="login-note">One moment …</p>'))
    return RedirectResponse(f"{LOGIN}?next={quote(target, safe='')}", status_code=303)


def _refresh(target: str) -> str:
    return f'<meta http-equiv="refresh" content="0;url={html.escape(target, quote=True)}">'


def _login_page(target: str, error: str, status: int = 200) -> HTMLResponse:
    alert = f'<p class="login-error" role="alert">{html.escape(error)}</p>' if error else ""
    return HTMLResponse(_PAGE.format(head="", body=_FORM.format(error=alert, next=html.escape(target))), status)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · Vedette</title><link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
<script src="/assets/scheme.js"></script>
<link rel="stylesheet" href="/assets/vedette.css">{head}</head>
<body class="login-body"><main class="login">{body}</main></body></html>"""

_FORM = """<div class="brand"><span class="brand-mark" aria-hidden="true"></span>Vedette</div>
<form method="post" action="/login"><label for="token">Access token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input type="hidden" name="next" value="{next}">{error}
<button type="submit">Log in</button></form>
<p class="login-note">Whoever set Vedette up chose the token: <code>web.token</code> in its settings.</p>"""
