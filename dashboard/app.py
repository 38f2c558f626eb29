"""The ASGI application: pages outside, the API inside.

Dash owns the outer application because it cannot live inside another one; it serves its page for one address only, so
every address of ours is answered with that page and the browser picks the layout. An address that is none of ours gets
the same page with status 404.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dash import Dash
from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import routing, shell
from dashboard.actions import AlertActions
from dashboard.pages import alert, alerts, model, overview
from dashboard.security import SecurityHeaders
from dashboard.session import LOGIN, Gate
from dashboard.settings import DashboardSettings
from monitor.queries import Queries

_INDEX = """<!doctype html>
<html lang="en">
  <head>
    {%metas%}
    <title>{%title%}</title>
    <link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
    <script src="/assets/scheme.js"></script>
    {%css%}
  </head>
  <body>
    <noscript>This dashboard needs JavaScript. The same data is served by the API under /api/v1.</noscript>
    {%app_entry%}
    <footer>{%config%}{%scripts%}{%renderer%}</footer>
  </body>
</html>"""
_DASH_PATHS = ("/_dash-", "/_reload-hash", "/_favicon.ico", "/assets/")


def create_app(
    queries: Queries,
    actions: AlertActions,
    api: FastAPI | None,
    settings: DashboardSettings,
    routes: APIRouter | None = None,
) -> FastAPI:
    """Build the application to serve.

    Args:
        api: mounted under ``/api``; does its own authentication.
        routes: extra routes at the root (health, metrics); they win over the pages and need no session.
    """
    server = FastAPI(title="Vedette", docs_url=None, redoc_url=None, openapi_url=None)
    if api is not None:
        server.mount("/api", api)
    if routes is not None:
        server.include_router(routes)
    _add_dash(server, queries, actions, settings)
    root_paths = _paths(routes.routes if routes is not None else [])
    others = root_paths | ({"/api"} if api is not None else set()) | ({LOGIN} if settings.token is not None else set())
    prefixes = (*_DASH_PATHS, "/api/") if api is not None else _DASH_PATHS
    server.add_middleware(PageAddresses, others=others, prefixes=prefixes)
    if settings.token is not None:
        server.add_middleware(Gate, settings=settings, open_paths=root_paths, open_prefixes=("/api/", "/assets/"))
    server.add_middleware(SecurityHeaders)
    server.add_middleware(GZipMiddleware, minimum_size=1_024, compresslevel=5)
    return server


class PageAddresses:
    """ASGI middleware: answers every page address with Dash's one page; an unknown address also gets status 404.

    Args:
        others: paths that are not pages.
        prefixes: what begins so is not a page.
    """

    def __init__(self, app: ASGIApp, others: frozenset[str], prefixes: tuple[str, ...]) -> None:
        self._app = app
        self._others = others
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or self._is_other(scope["path"]):
            await self._app(scope, receive, send)
            return
        status = 404 if routing.match(scope["path"]) is None else 200

        async def send_page(message: Message) -> None:
            found = message["type"] == "http.response.start" and message["status"] == 200
            await send({**message, "status": status} if found else message)

        await self._app({**scope, "path": "/", "raw_path": b"/"}, receive, send_page)

    def _is_other(self, path: str) -> bool:
        return path in self._others or path.startswith(self._prefixes)


def _add_dash(server: FastAPI, queries: Queries, actions: AlertActions, settings: DashboardSettings) -> None:
    options: Any = {"server": server, "update_title": None}
    dash = Dash(
        "dashboard",
        assets_folder=str(Path(__file__).parent / "assets"),
        assets_ignore=r"^scheme\.js$",
        index_string=_INDEX,
        title="Vedette",
        suppress_callback_exceptions=True,
        serve_locally=True,
        add_log_handler=False,
        enable_mcp=False,
        **options,
    )
    dash.backend.websocket_capability = False  # else each page opens a socket that nothing uses
    dash.layout = shell.layout(settings)
    shell.register(dash, queries, actions)
    for page in (overview, alerts, alert, model):
        page.register(dash, queries)


def _paths(routes: list[BaseRoute]) -> frozenset[str]:
    return frozenset(path for route in routes if (path := getattr(route, "path", None)) is not None)
