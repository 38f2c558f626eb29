"""The dashboard in a real browser: served by uvicorn on a free loopback port, watched for every complaint."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboard import DashboardSettings, create_app

CHROMIUM = Path("/usr/bin/chromium")
ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
)
SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
REFRESH_S = 0.5
SLOW_MACHINE_MS = 20_000
"""How long a page may take where other work goes on beside the browser."""
expect.set_options(timeout=SLOW_MACHINE_MS)


def _fakes() -> ModuleType:
    if "fake_queries" in sys.modules:
        return sys.modules["fake_queries"]
    path = Path(__file__).parents[1] / "dashboard" / "fake_queries.py"
    spec = importlib.util.spec_from_file_location("fake_queries", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_queries"] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Site:
    """A served dashboard and the rows behind it."""

    url: str
    queries: Any
    server: uvicorn.Server
    thread: threading.Thread

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)


@dataclass
class Watched:
    """A page, and everything the browser complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.page.wait_for_selector("#page .page")
        settle(self.page)
        return self.page


def settle(page: Page) -> None:
    """Until the page has had its first answer and draws no more grey bars."""
    page.wait_for_function("() => !document.querySelector('#page .state-loading')")


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    return _fakes()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while it is open, an event loop runs in this thread and others could not run theirs."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is not there: install Chromium, or leave out the tests marked browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGS))
        yield chromium
        chromium.close()


def serve(queries: Any, settings: DashboardSettings) -> Site:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(queries, queries, None, settings)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the dashboard did not start"
        assert thread.is_alive(), "the dashboard stopped while it started"
        thread.join(timeout=0.02)
    return Site(f"http://127.0.0.1:{listener.getsockname()[1]}", queries, server, thread)


@pytest.fixture(scope="module")
def shared_site(fakes: ModuleType) -> Iterator[Site]:
    """Rich rows, for tests that only look."""
    site = serve(fakes.rich(datetime.now(UTC)), DashboardSettings(refresh_s=REFRESH_S))
    yield site
    site.close()


@pytest.fixture
def make_site() -> Iterator[Any]:
    """Makes a site of one's own: ``make_site(queries, **settings)``."""
    sites: list[Site] = []

    def make(queries: Any, **settings: Any) -> Site:
        sites.append(serve(queries, DashboardSettings(**{"refresh_s": REFRESH_S, **settings})))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    """Makes a watched page: ``open_page(width=1440, scheme="light")``."""
    contexts = []

    def make(width: int = 1440, scheme: Any = "light") -> Watched:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(SLOW_MACHINE_MS)
        page = context.new_page()
        watched = Watched(page)
        page.on("console", lambda m: watched.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda r: None if _is_own(r.url) else watched.outside.append(r.url))
        return watched

    yield make
    for context in contexts:
        context.close()


def _is_own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))


def shoot(page: Page, name: str) -> None:
    """Keep a picture for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=True)


@pytest.fixture
def screenshot() -> Any:
    return shoot


@pytest.fixture
def settled() -> Any:
    return settle
