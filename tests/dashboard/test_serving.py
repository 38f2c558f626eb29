"""The application as it is served: routes, headers, policy, sessions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from dashboard import DashboardSettings, create_app
from dashboard.session import COOKIE, is_valid, session_value

HTML = {"accept": "text/html"}


class Client:
    """Asks the application itself, without a socket; keeps cookies as a browser does."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.cookies = httpx.Cookies()

    def get(self, path, **options):
        return asyncio.run(self._ask("GET", path, options))

    def post(self, path, **options):
        return asyncio.run(self._ask("POST", path, options))

    async def _ask(self, method, path, options):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://vedette", cookies=self.cookies) as client:
            answer = await client.request(method, path, **options)
            self.cookies.update(client.cookies)
            return answer


def build(queries, **settings):
    api = FastAPI()

    @api.get("/v1/ping")
    def ping() -> dict[str, bool]:
        return {"pong": True}

    routes = APIRouter()

    @routes.get("/livez")
    def livez() -> dict[str, str]:
        return {"status": "ok"}

    return create_app(queries, queries, api, DashboardSettings(**settings), routes)


@pytest.fixture
def client(rich):
    return Client(build(rich))


@pytest.fixture
def guarded(rich):
    return Client(build(rich, token=SecretStr("s3cret-token")))


@pytest.mark.parametrize("path", ["/", "/alerts", "/alerts/b2e4theft", "/models/a%2Fb?version=1"])
def test_page_addresses_answer_with_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert 'id="react-entry-point"' in answer.text


@pytest.mark.parametrize("path", ["/nope", "/models", "/wp-login.php", "/login", "/metrics"])
def test_unknown_addresses_answer_404_with_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'id="react-entry-point"' in answer.text


def test_the_api_and_extra_routes_win_over_the_pages(client):
    assert client.get("/api/v1/ping").json() == {"pong": True}
    assert client.get("/livez").json() == {"status": "ok"}
    missing = client.get("/api/v1/typo")
    assert missing.status_code == 404
    assert missing.json() == {"detail": "Not Found"}


def test_without_an_api_its_addresses_are_unknown(rich):
    client = Client(create_app(rich, rich, None, DashboardSettings()))
    assert client.get("/api/v1/ping").status_code == 404


def test_the_policy_allows_each_inline_script_and_no_other(client):
    answer = client.get("/alerts")
    policy = answer.headers["content-security-policy"]
    scripts = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "frame-ancestors 'none'" in policy


def test_nothing_comes_from_another_host(client):
    page = client.get("/").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith("/") for source in sources)


@pytest.mark.parametrize("path", ["/", "/assets/vedette.css", "/api/v1/ping", "/livez", "/nope"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_dev_tools_and_the_machine_protocol_server_are_off(client):
    config = re.search(r'id="_dash-config"[^>]*>(.*?)</script>', client.get("/").text)[1]
    assert '"ui":false' in config
    assert '"hot_reload"' not in config
    assert client.post("/_mcp").status_code in (404, 405)


def test_callbacks_ignore_forms_from_elsewhere(client):
    body = '{"output": "request.data", "inputs": []}'
    answer = client.post("/_dash-update-component", content=body, headers={"content-type": "text/plain"})
    assert answer.status_code >= 400


@pytest.mark.parametrize("path", ["/", "/alerts/x", "/nope", "/_dash-layout", "/_dash-dependencies"])
def test_with_a_token_every_page_asks_for_it(guarded, path):
    answer = guarded.get(path, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")


def test_with_a_token_callbacks_are_refused(guarded):
    answer = guarded.post("/_dash-update-component", json={})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/livez", "/api/v1/ping", "/assets/vedette.css", "/login"])
def test_what_has_its_own_check_or_none_stays_open(guarded, path):
    assert guarded.get(path, headers=HTML).status_code == 200


def test_the_right_token_opens_a_session_and_leads_on(guarded):
    answer = guarded.post("/login", data={"token": "s3cret-token", "next": "/alerts?status=all"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts?status=all")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "s3cret" not in cookie
    assert guarded.get("/").status_code == 200


def test_a_wrong_token_opens_nothing(guarded):
    answer = guarded.post("/login", data={"token": "s3cret", "next": "/"})
    assert answer.status_code == 401
    assert "That is not the token" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/login", "javascript:1"]
)
def test_the_login_leads_nowhere_else(guarded, target):
    answer = guarded.post("/login", data={"token": "s3cret-token", "next": target})
    assert answer.headers["location"] == "/"


def test_the_login_page_escapes_where_it_leads(guarded):
    page = guarded.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script>" not in page


def test_a_long_login_form_is_refused(guarded):
    body = "token=s3cret-token&x=" + "a" * 20_000
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert guarded.post("/login", content=body, headers=headers).status_code == 401


def test_a_link_from_elsewhere_asks_again_from_here(guarded):
    answer = guarded.get("/alerts/x?range=day", headers={**HTML, "sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/alerts/x?range=day">' in answer.text


def test_a_cookie_lasts_until_its_end_and_belongs_to_one_token():
    value = session_value(b"token", 1_000)
    assert is_valid(value, b"token", 999)
    assert not is_valid(value, b"token", 1_000)
    assert not is_valid(value, b"other", 999)


@pytest.mark.parametrize("value", ["", ".", "1e9.x", "99999999999.", "١٢٣.x", "9" * 400, "2000.é"])
def test_a_forged_cookie_is_refused(value):
    assert not is_valid(value, b"token", 1)


def test_a_forged_cookie_opens_no_page(guarded):
    guarded.cookies = httpx.Cookies({COOKIE: "99999999999.abc"})
    assert guarded.get("/", headers=HTML).status_code == 303


def test_an_empty_token_is_a_mistake():
    with pytest.raises(ValueError, match="empty"):
        DashboardSettings(token=SecretStr(""))


def test_settings_do_not_show_their_token():
    assert "s3cret" not in repr(DashboardSettings(token=SecretStr("s3cret")))
